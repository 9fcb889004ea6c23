"""Cost of contrastive losses, forward and backward: ours, lightly, open_clip, pytorch-metric-learning, MONAI, floor.

    python benchmarks/objectives.py                      # the table of docs/benchmarks.md, about ten minutes
    python benchmarks/objectives.py --sizes 1024 --widths 128
    python benchmarks/objectives.py --growth docs/images/objectives_growth.png

CPU seconds are process time of one step (best of several), so that other jobs on the machine matter little.
Memory is how far the process grows above its inputs (VmHWM), loss, graph and gradients included. Every cell
is a process of its own. The floor is the three products that no exact loss can do without, S = X Y^T, S Y,
S^T X, with S kept.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from torch import Tensor

from core.objectives import contrast, siglip

SCALE, CLASSES = 1 / 0.07, 32
Step = Callable[[Tensor, Tensor], Tensor]


def _floor(x: Tensor, y: Tensor) -> Tensor:
    with torch.no_grad():
        s = x @ y.T
        return (s @ y).sum() + (s.T @ x).sum()


def _unit(x: Tensor) -> Tensor:
    return torch.nn.functional.normalize(x, dim=1)


def _classes(x: Tensor) -> Tensor:
    return torch.arange(len(x)) // 4


def _sets(x: Tensor) -> Tensor:
    """(N, 32) multi-hot with about three classes a row."""
    return (torch.rand(len(x), CLASSES, generator=torch.Generator().manual_seed(1)) < 0.1).float()


def _weights(x: Tensor) -> Tensor:
    return torch.rand(len(x), len(x), generator=torch.Generator().manual_seed(1))


def _open_clip() -> Step:
    from open_clip.loss import ClipLoss

    loss = ClipLoss()
    return lambda x, y: loss(_unit(x), _unit(y), torch.tensor(SCALE))


def _open_clip_siglip() -> Step:
    from open_clip.loss import SigLipLoss

    loss = SigLipLoss()
    return lambda x, y: loss(_unit(x), _unit(y), torch.tensor(10.0), torch.tensor(-10.0))


def _lightly() -> Step:
    from lightly.loss import NTXentLoss

    return NTXentLoss(temperature=0.07)


def _monai() -> Step:
    from monai.losses import ContrastiveLoss

    return ContrastiveLoss(temperature=0.07)


def _pml(name: str) -> Step:
    from pytorch_metric_learning import losses

    loss = getattr(losses, name)(temperature=0.07)
    labels = _classes if name == "SupConLoss" else lambda x: torch.arange(len(x))
    return lambda x, y: loss(torch.cat([x, y]), labels(x).repeat(2))


def _ours(function: Callable[..., Tensor], *, scale: float = SCALE, **options: object) -> Callable[[], Step]:
    return lambda: lambda x, y: function(x, y, scale=scale, **options)


def _with_labels(make: Callable[[Tensor], Tensor], symmetric: bool, **options: object) -> Callable[[], Step]:
    def step(x: Tensor, y: Tensor) -> Tensor:
        return contrast(x, y, row_labels=make(x), symmetric=symmetric, scale=SCALE, method="tiled", **options)

    return lambda: step


def _supcon(method: str) -> Callable[[], Step]:
    return lambda: (
        lambda x, y: contrast(
            torch.cat([x, y]), row_labels=_classes(x).repeat(2), exclude_self=True, scale=SCALE, method=method
        )
    )


def _gram(method: str) -> Callable[[], Step]:
    def step(x: Tensor, y: Tensor) -> Tensor:
        partner = torch.arange(2 * len(x)).roll(len(x))
        return contrast(torch.cat([x, y]), positives=partner, exclude_self=True, scale=SCALE, method=method)

    return lambda: step


CODES: dict[str, dict[str, Callable[[], Step]]] = {
    "floor": {"three products": lambda: _floor},
    "one-sided": {
        "ours, dense": _ours(contrast, method="dense"),
        "ours, tiled": _ours(contrast, method="tiled"),
    },
    "symmetric (CLIP)": {
        "ours, dense": _ours(contrast, symmetric=True, method="dense"),
        "ours, tiled": _ours(contrast, symmetric=True, method="tiled"),
        "ours, tiled, t = 0.01": _ours(contrast, scale=100.0, symmetric=True, method="tiled"),
        "open_clip ClipLoss": _open_clip,
    },
    "NT-Xent (2N rows)": {
        "ours, dense": _gram("dense"),
        "ours, tiled": _gram("tiled"),
        "lightly NTXentLoss": _lightly,
        "MONAI ContrastiveLoss": _monai,
        "PML NTXentLoss": lambda: _pml("NTXentLoss"),
    },
    "SupCon (2N rows)": {
        "ours, dense": _supcon("dense"),
        "ours, tiled": _supcon("tiled"),
        "PML SupConLoss": lambda: _pml("SupConLoss"),
    },
    "soft targets, one-sided": {
        "ours, tiled, cosine of 32 classes": _with_labels(_sets, False),
        "ours, tiled, Jaccard of 32 classes": _with_labels(_sets, False, label_weights="jaccard"),
        "ours, tiled, N x N weights given": lambda: (
            lambda x, y: contrast(x, y, positives=_given(x), scale=SCALE, method="tiled")
        ),
    },
    "soft targets, symmetric": {
        "ours, tiled, classes": _with_labels(_classes, True),
        "ours, tiled, cosine of 32 classes": _with_labels(_sets, True),
        "ours, tiled, shared of 32 classes": _with_labels(_sets, True, label_weights="shared"),
    },
    "sigmoid (SigLIP)": {
        "ours, dense": lambda: lambda x, y: siglip(x, y, method="dense"),
        "ours, tiled": lambda: lambda x, y: siglip(x, y, method="tiled"),
        "open_clip SigLipLoss": _open_clip_siglip,
    },
}
"""Loss -> code -> what makes its step."""

GIVEN: dict[int, Tensor] = {}


def _given(x: Tensor) -> Tensor:
    """Weights count as input: they are made once, before the measurement."""
    if len(x) not in GIVEN:
        GIVEN[len(x)] = _weights(x)
    return GIVEN[len(x)]


def _memory(field: str) -> float:
    """VmRSS or VmHWM of this process in MiB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024


def measure(loss: str, code: str, n: int, d: int, threads: int, cap_gib: float) -> dict[str, float | str]:
    """CPU seconds and memory growth of one step, in this process."""
    torch.set_num_threads(threads)
    try:
        step = CODES[loss][code]()
    except ImportError:
        return {"error": "not installed (pip install -e .[bench])"}
    torch.manual_seed(0)
    x, y = (torch.randn(n, d, requires_grad=True) for _ in "xy")

    def run() -> None:
        x.grad = y.grad = None
        value = step(x, y)
        if value.requires_grad:
            value.backward()

    def small() -> None:
        a, b = (torch.randn(96, d, requires_grad=True) for _ in "ab")
        value = step(a, b)
        if value.requires_grad:
            value.backward()

    small()  # loads the libraries
    if "given" in code:
        _given(x)
    limit = int((cap_gib + 1) * 2**30) + int(_memory("VmSize") * 2**20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
    before = _memory("VmRSS")
    try:
        times = [_timed(run)]
        growth = _memory("VmHWM") - before
        while len(times) < 9 and sum(times) < 4.0:
            times.append(_timed(run))
    except (RuntimeError, MemoryError) as error:
        return {
            "error": f"out of memory above {cap_gib:g} GiB" if "alloc" in str(error) else repr(error)[:60]
        }
    return {"cpu": min(times), "peak": growth}


def _timed(run: Callable[[], None]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def cell(loss: str, code: str, n: int, d: int, options: argparse.Namespace) -> dict[str, float | str]:
    """`measure` in a process of its own."""
    asked = json.dumps([loss, code, n, d, options.threads, options.cap])
    command = [*shlex.split(options.prefix), sys.executable, __file__, "--cell", asked]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"error": "killed" if done.returncode < 0 else done.stderr.strip().splitlines()[-1][:60]}
    return json.loads(done.stdout.splitlines()[-1])


def table(options: argparse.Namespace) -> None:
    """Prints one line a cell, as a Markdown table."""
    print("| loss | code | N | d | CPU s | x floor | memory growth, MiB |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for d in options.widths:
        for n in options.sizes:
            floor = 0.0
            for loss, codes in CODES.items():
                if options.only and options.only not in loss and loss != "floor":
                    continue
                for code in codes:
                    found = cell(loss, code, n, d, options)
                    if "error" in found:
                        print(f"| {loss} | {code} | {n} | {d} | {found['error']} | | |", flush=True)
                        continue
                    cpu, peak = float(found["cpu"]), float(found["peak"])
                    floor = cpu if loss == "floor" else floor
                    ratio = f"{cpu / floor:.2f}" if floor else ""
                    print(f"| {loss} | {code} | {n} | {d} | {cpu:.3f} | {ratio} | {peak:.0f} |", flush=True)


GROWING = {
    "three products (floor)": ("floor", "three products", 16384),
    "ours, one-sided, tiled": ("one-sided", "ours, tiled", 65536),
    "ours, symmetric, tiled": ("symmetric (CLIP)", "ours, tiled", 65536),
    "ours, symmetric, dense": ("symmetric (CLIP)", "ours, dense", 8192),
    "open_clip ClipLoss": ("symmetric (CLIP)", "open_clip ClipLoss", 16384),
}
"""Curve -> (loss, code, largest N)."""


def growth(options: argparse.Namespace) -> None:
    """Draws CPU seconds and memory from N = 1024 to 65536 at d = 128."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4.2), constrained_layout=True)
    print("| code | N | CPU s | memory growth, MiB |\n| --- | --- | --- | --- |")
    for name, (loss, code, largest) in GROWING.items():
        points = []
        for n in (1024 * 2**k for k in range(7)):
            if n <= largest:
                found = cell(loss, code, n, 128, options)
                if "error" in found:
                    print(f"| {name} | {n} | {found['error']} | |", flush=True)
                    break
                points.append((n, float(found["cpu"]), float(found["peak"])))
                print(f"| {name} | {n} | {points[-1][1]:.3f} | {points[-1][2]:.0f} |", flush=True)
        sizes, cpu, peak = zip(*points, strict=True)
        left.plot(sizes, cpu, marker="o", label=name)
        right.plot(sizes, [max(value, 1.0) for value in peak], marker="o", label=name)
    for axes, title in ((left, "CPU seconds, forward and backward"), (right, "memory growth, MiB")):
        axes.set(xscale="log", yscale="log", xlabel="rows N (d = 128)", title=title)
        axes.set_xticks([1024 * 4**k for k in range(4)], ["1k", "4k", "16k", "65k"])
        axes.grid(alpha=0.3)
    left.legend(frameon=False)
    Path(options.growth).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.growth, dpi=120)


def _described(threads: int) -> str:
    names = ["torch", "lightly", "open_clip_torch", "pytorch-metric-learning", "monai"]
    found = []
    for name in names:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} not installed")
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next(
        (line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine()
    )
    return f"{model}, {threads} thread(s), Python {platform.python_version()}, float32; {', '.join(found)}"


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1024, 4096, 16384], help="rows N")
    parser.add_argument("--widths", type=int, nargs="+", default=[128, 512], help="embedding widths d")
    parser.add_argument("--only", default="", help="losses whose name holds this")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cap", type=float, default=9.0, help="memory a cell may take, GiB")
    parser.add_argument("--prefix", default="", help='command to run each cell under, such as "taskset -c 0"')
    parser.add_argument("--growth", default="", help="draw the growth of cost with N into this PNG instead")
    parser.add_argument("--cell", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cell:
        print(json.dumps(measure(*json.loads(options.cell))))
        return
    print(_described(options.threads), flush=True)
    growth(options) if options.growth else table(options)


if __name__ == "__main__":
    main()
