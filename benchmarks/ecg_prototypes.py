"""How fast ECGs are read, prepared, scored and explained on this machine, beside wfdb and a plain loop.

    python benchmarks/ecg_prototypes.py [--root PTB-XL-FOLDER] [--model FOLDER] [--records 1000]

Without ``--root`` generated recordings in PTB-XL's layout are used; without ``--model`` a network of the default
size with random weights, which takes as long as a trained one. The comparison reads each record with
``wfdb.rdsamp`` (skipped where wfdb is not installed), filters it lead by lead, and scores it alone. Prints a
table; ``--json FILE`` keeps the numbers.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from core.machine import machine

# Started as a file, this folder leads the search path, and this file would pass for the package of its name.
sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]

PACKAGES = ("torch", "numpy", "scipy")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, help="a PTB-XL folder; generated where left out")
    parser.add_argument("--model", type=Path, help="folder of a fused model")
    parser.add_argument("--records", type=int, default=600)
    parser.add_argument("--repeats", type=int, default=30, help="served requests")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    import torch

    torch.set_num_threads(options.threads)
    print(f"{machine(*PACKAGES)}, {options.threads} thread(s)\n\n| measure | value |\n|---|---:|", flush=True)
    numbers: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="kindred-bench-") as folder:
        for name, value in measure(options, Path(folder)):
            numbers[name] = value
            print(f"| {name} | {value:,.0f} |" if value >= 100 else f"| {name} | {value:,.2f} |", flush=True)
    if options.json:
        from core.files import write_json

        write_json(options.json, {"machine": machine(*PACKAGES), **numbers})


def measure(options: argparse.Namespace, scratch: Path) -> Iterator[tuple[str, float]]:
    """Prepare, inference and served explanations, each beside the plain way."""
    from medical.ecg.data.conform import Form
    from medical.ecg.data.ptbxl import read_ptbxl
    from medical.ecg.data.sources import load_signals
    from medical.ecg.demo import write_demo
    from medical.ecg.preprocess import Preprocessing
    from medical.ecg.serve import EcgPrototypes, input_example

    root = options.root or write_demo(scratch / "demo", records=options.records)
    folds = {"train": list(range(1, 11))}
    paths = read_ptbxl(root, folds=folds).table["path"].tolist()[: options.records]
    preprocessing = Preprocessing()

    def prepare() -> np.ndarray:
        signals = load_signals(paths, Form())
        for start in range(0, len(signals), 256):
            signals[start : start + 256] = preprocessing(signals[start : start + 256])
        return signals

    load_signals(paths, Form())  # the files are in the page cache from here on
    signals, seconds = timed(prepare)
    yield "prepare: records/s", len(paths) / seconds
    try:
        import wfdb  # noqa: F401

        _, plain = timed(lambda: [plain_prepare(path) for path in paths[:200]])
        yield "prepare, wfdb and a loop: records/s", min(200, len(paths)) / plain
    except ImportError:
        print("wfdb is not installed: no comparison of reading", file=sys.stderr)
    network = load_or_make(options.model)
    network.predict(signals[:64], raw=False)
    _, seconds = timed(lambda: network.predict(signals, raw=False))
    yield "inference: records/s", len(signals) / seconds
    _, plain = timed(lambda: [network.predict(one[None], raw=False) for one in signals[:100]])
    yield "inference, one by one: records/s", min(100, len(signals)) / plain
    model, request = EcgPrototypes(network), input_example().iloc[:1]
    model.predict(None, request)
    times = [timed(lambda: model.predict(None, request))[1] * 1000 for _ in range(options.repeats)]
    yield "served explanation ms, median", float(np.percentile(times, 50))
    yield "served explanation ms, 95 %", float(np.percentile(times, 95))


def plain_prepare(path: str) -> np.ndarray:
    """What a short script does: wfdb, then the filter lead by lead."""
    import wfdb
    from scipy.signal import butter, filtfilt

    signal, fields = wfdb.rdsamp(path)
    numerator, denominator = butter(1, 0.5, btype="highpass", fs=fields["fs"])
    return np.stack([filtfilt(numerator, denominator, signal[:, lead]) for lead in range(signal.shape[1])])


def load_or_make(folder: Path | None) -> Any:
    """The model of a folder, or resnet18 branches with as many prototypes as published for 71 labels."""
    import torch

    from medical.ecg.data.branches import read_branches
    from medical.ecg.model.branch import BranchConfig, PrototypeBranch
    from medical.ecg.model.folder import load_network
    from medical.ecg.model.network import PrototypeNetwork
    from medical.ecg.preprocess import Preprocessing

    if folder is not None:
        return load_network(folder)
    torch.manual_seed(0)
    sizes = {"rhythm": (5, 0), "morphology": (18, 3), "global": (7, -1)}
    branches, facts = {}, []
    for name, labels in read_branches().items():
        count, window = sizes[name]
        branch = PrototypeBranch(BranchConfig(name, tuple(labels), (count,) * len(labels), window)).eval()
        branch.projected.fill_(True)
        branches[name] = branch
        facts += [
            {"branch": name, "classes": [label], "ecg_id": "0", "patient_id": "0", "start": 0, "length": 1000}
            for label in labels
            for _ in range(count)
        ]
    labels = [label for group in read_branches().values() for label in group]
    network = PrototypeNetwork(branches, labels, Preprocessing(), facts).eval()
    network.weight.normal_()
    return network


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """Result and seconds."""
    start = time.perf_counter()
    found = call()
    return found, time.perf_counter() - start


if __name__ == "__main__":
    main()
