"""Runs functions of a test file on several gloo ranks, and compares a loss over ranks with the one-process loss.

In a test file (the functions must stand at the top level of the file, so that the ranks can load them):

    def my_loss(rows, columns, labels):                     # called on one process
        return supcon(rows, columns, labels)

    def my_loss_over_ranks(rows, columns, labels):          # called on each rank, with its part of the rows
        return across_ranks(supcon, rows, columns, rows={"labels": labels})

    def test_two_ranks():
        inputs = {"rows": torch.randn(8, 4), "columns": torch.randn(8, 4), "labels": torch.arange(8) // 2}
        assert_ranks_agree([Case(my_loss, my_loss_over_ranks, inputs)], split=[(4, 4), (5, 3)])

Floating inputs pass through a trained linear layer each, wrapped in DDP on the ranks; the gradients of these
layers are compared. All cases and splits share one start of the processes, which costs some seconds: put many
cases in one call.
"""

from __future__ import annotations

import contextlib
import datetime
import importlib.util
import os
import pickle
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


@dataclass
class Case:
    """One loss to compare.

    Args:
        alone: loss(**inputs) on one process.
        together: the same on a rank, called with that rank's rows of every input; it talks to the other
            ranks.
        inputs: tensors whose first axis is rows; floating ones are encoded first.
        whole: names of inputs that every rank gets unsplit and unencoded (a queue).
        name: for messages.
    """

    alone: Callable[..., Tensor]
    together: Callable[..., Tensor]
    inputs: dict[str, Tensor]
    whole: tuple[str, ...] = ()
    name: str = ""


class Encoders(nn.Module):
    """A linear layer for each floating input that is split; the same weights on every rank."""

    def __init__(self, case_inputs: dict[str, Tensor], whole: Sequence[str]) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(7)
        self.layers = nn.ModuleDict()
        for name, x in case_inputs.items():
            if x.is_floating_point() and name not in whole:
                layer = nn.Linear(x.shape[-1], x.shape[-1], bias=False, dtype=x.dtype)
                noise = torch.randn(layer.weight.shape, generator=generator, dtype=torch.float64)
                layer.weight.data = (torch.eye(len(noise)) + 0.2 * noise).to(x.dtype)
                self.layers[name] = layer

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: self.layers[name](x) if name in self.layers else x for name, x in inputs.items()}


def on_ranks(
    function: Callable[..., Any],
    *arguments: Any,
    world: int = 2,
    timeout: float = 60,
    may_fail: tuple[int, ...] = (),
) -> list[Any]:
    """Calls `function(*arguments)` on `world` gloo ranks and returns what each returned, in order.

    Args:
        function: stands at the top level of a test file; arguments and results must pickle.
        world: number of ranks.
        timeout: seconds until ranks that still run are killed.
        may_fail: ranks that are meant to die or hang: their result is None.

    Raises:
        RuntimeError: another rank failed (with its output) or did not end in time.
    """
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "arguments").write_bytes(pickle.dumps(arguments))
        source = sys.modules[function.__module__].__file__
        command = [sys.executable, __file__, folder, str(world), str(timeout), str(source), function.__name__]
        environment = {
            **os.environ,
            "GLOO_SOCKET_IFNAME": "lo",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": _path(),
        }
        logs = [Path(folder, f"log_{i}") for i in range(world)]
        ranks = [
            subprocess.Popen(
                [*command, str(i)], env=environment, stdout=logs[i].open("wb"), stderr=subprocess.STDOUT
            )
            for i in range(world)
        ]
        end = time.monotonic() + timeout
        for i, process in enumerate(ranks):
            if i not in may_fail:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(max(0.1, end - time.monotonic()))
        for process in ranks:
            process.kill()
            process.wait()
        results: list[Any] = [None] * world
        failures = []
        for i, process in enumerate(ranks):
            found = Path(folder, f"result_{i}")
            if found.is_file():
                results[i] = pickle.loads(found.read_bytes())
            elif i not in may_fail:
                output = logs[i].read_text(errors="replace")[-3000:]
                failures.append(f"rank {i} ended with {process.returncode} (-9: out of time):\n{output}")
        if failures:
            raise RuntimeError("\n".join(failures))
        return results


def assert_ranks_agree(
    cases: Sequence[Case], *, split: Sequence[Sequence[int]] = ((4, 4), (5, 3)), tolerance: float = 1e-6
) -> None:
    """Mean over ranks of loss and DDP-averaged gradients equal those of one process, for each case and split.

    `split` holds the number of rows of each rank; inputs must have their sum of rows.
    """
    parts = [[(case, counts) for counts in split] for case in cases]
    jobs = [job for part in parts for job in part]
    world = len(split[0])
    described = [
        (
            Path(sys.modules[c.together.__module__].__file__ or ""),
            c.together.__name__,
            c.inputs,
            c.whole,
            counts,
        )
        for c, counts in jobs
    ]
    found = on_ranks(_losses_on_this_rank, described, world=world, timeout=60 + 5 * len(jobs))
    wrong = []
    for at, (case, counts) in enumerate(jobs):
        loss, gradients = _loss_and_gradients(case.alone, case.inputs, case.whole)
        what = f"{case.name or case.together.__name__}, rows {tuple(counts)}"
        mean = sum(rank[at][0] for rank in found) / world
        if not abs(mean - loss) <= tolerance * max(1.0, abs(loss)):
            wrong.append(f"{what}: loss {mean!r} over ranks, {loss!r} alone")
        for name, alone in gradients.items():
            off = max(float((rank[at][1][name] - alone).abs().max()) for rank in found)
            if not off <= tolerance * max(1.0, float(alone.abs().max())):
                wrong.append(f"{what}: gradient of {name} off by {off:.3g} of {float(alone.abs().max()):.3g}")
    assert not wrong, "\n".join(wrong)


def _path() -> str:
    here = Path(__file__).parent
    return os.pathsep.join([str(here), str(here.parent), os.environ.get("PYTHONPATH", "")])


def _loss_and_gradients(
    loss_of: Callable[..., Tensor],
    inputs: dict[str, Tensor],
    whole: Sequence[str],
    wrap: Callable[[nn.Module], nn.Module] = lambda module: module,
) -> tuple[float, dict[str, Tensor]]:
    encoders = Encoders(inputs, whole)
    module = wrap(encoders)  # kept: what averages the gradients lives in it
    loss = loss_of(**module(inputs))
    loss.backward()
    gradients = {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in encoders.named_parameters()}
    return float(loss.detach()), gradients


def _losses_on_this_rank(jobs: list[Any]) -> list[Any]:
    from core.distributed import rank

    found = []
    for source, name, inputs, whole, counts in jobs:
        start = sum(counts[: rank()])
        mine = {key: x if key in whole else x[start : start + counts[rank()]] for key, x in inputs.items()}
        loss_of = getattr(_load(source), name)
        found.append(_loss_and_gradients(loss_of, mine, whole, nn.parallel.DistributedDataParallel))
    return found


def _load(source: Path) -> types.ModuleType:
    """Loads a test file under a name of its own, once."""
    name = f"on_rank_{source.stem}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, source)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


def _main(folder: str, world: str, timeout: str, source: str, function: str, number: str) -> None:
    from core.distributed import join

    torch.set_num_threads(1)
    join(
        int(number), int(world), f"file://{folder}/meeting",
        timeout=datetime.timedelta(seconds=float(os.environ.get("RANK_TIMEOUT", timeout))),
    )  # fmt: skip
    arguments = pickle.loads(Path(folder, "arguments").read_bytes())
    result = getattr(_load(Path(source)), function)(*arguments)
    half_written = Path(folder, f"half_{number}")
    half_written.write_bytes(pickle.dumps(result))
    half_written.rename(Path(folder, f"result_{number}"))
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    _main(*sys.argv[1:])
