"""How fast CT reduction is on this machine, beside imagehash in a loop and imagededup.

    python benchmarks/ct_reduction.py [--hashes 1000000] [--images 2000] [--json FILE] [--figure FILE]

Measures, each in a process of its own so that peaks of memory are its own: hashes a second of (512, 512)
slices with `medical.ct.hashing`, serial and in processes, and with imagehash in a loop; the exact reduction
of ``--hashes`` 64-bit hashes, per volume of 608 slices and over the whole set (threshold 6), on random hashes
and on hashes that drift from slice to slice; imagededup (brute force, one worker) on growing sizes while it
stays below ``--patience`` seconds. imagehash and imagededup come with the extra ``bench``; what is not
installed is left out. Prints a table; ``--figure`` draws seconds against sizes.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from core.machine import machine

# Started as a file, this folder leads the search path, and this file would pass for the pipeline of its name.
sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]

PACKAGES = ("numpy", "faiss-cpu", "pillow", "imagehash", "imagededup")
SLICES, THRESHOLD = 608, 6
ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hashes", type=int, default=1_000_000)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--patience", type=float, default=60.0, help="seconds for a size of imagededup")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--task", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.task:
        print(json.dumps(TASKS[options.task.split(":")[0]](*options.task.split(":")[1:])))
        return
    print(
        f"{machine(*PACKAGES)}\n\n| measure | size | seconds | peak MiB | kept or rate |\n|---|---:|---:|---:|---:|",
        flush=True,
    )
    rows: list[dict[str, Any]] = []
    for how in ("serial", "processes", "imagehash"):
        rows.append(measured(f"hash:{how}:{options.images}", f"hash, {how}", options.images))
    sizes = [size for size in (10_000, 30_000, 100_000, 300_000) if size < options.hashes] + [options.hashes]
    for kind in ("drifting", "random"):
        for size in sizes:
            rows.append(measured(f"reduce:{kind}:volume:{size}", f"per volume, {kind}", size))
            rows.append(measured(f"reduce:{kind}:dataset:{size}", f"whole set, {kind}", size))
    for size in (1000, 3000, 10_000, 30_000, 100_000):
        row = measured(f"imagededup:{size}", "imagededup, whole set, drifting", size, limit=options.patience)
        rows.append(row)
        if row["seconds"] is None:
            break
    if options.json:
        from core.files import write_json

        write_json(options.json, {"machine": machine(*PACKAGES), "rows": rows})
    if options.figure:
        draw(options.figure, rows)


def measured(task: str, name: str, size: int, limit: float | None = None) -> dict[str, Any]:
    """Run a task in a new process and print its row."""
    command = [sys.executable, str(Path(__file__).resolve()), "--task", task]
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    row: dict[str, Any] = {"name": name, "size": size, "seconds": None, "peak_mib": None, "note": ""}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=limit and limit + 30,
            env=environment,
            check=False,
        )
        if done.returncode == 0:
            row |= json.loads(done.stdout.strip().splitlines()[-1])
        else:
            row["note"] = (done.stderr.strip().splitlines() or ["failed"])[-1][:80]
    except subprocess.TimeoutExpired:
        row["note"] = f"not within {limit:g} s"
    seconds = "" if row["seconds"] is None else f"{row['seconds']:.2f}"
    peak = "" if row["peak_mib"] is None else f"{row['peak_mib']:.0f}"
    print(f"| {name} | {size:,} | {seconds} | {peak} | {row['note']} |", flush=True)
    return row


def result(seconds: float, note: str) -> dict[str, Any]:
    """What a task prints."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    return {"seconds": round(seconds, 3), "peak_mib": round(peak, 1), "note": note}


def hash_task(how: str, count: str) -> dict[str, Any]:
    """Hash so many (512, 512) images, made beforehand."""
    from core.data.parallel import parallel_map
    from medical.ct.hashing import dhash

    rng = np.random.default_rng(0)
    pool = [rng.integers(0, 256, (512, 512), dtype=np.uint8) for _ in range(16)]
    images = [pool[number % len(pool)] for number in range(int(count))]
    if how == "imagehash":
        import imagehash
        from PIL import Image

        start = time.perf_counter()
        codes: Any = [imagehash.dhash(Image.fromarray(image)) for image in images]
        expected = codes[0].hash.ravel()
        assert np.array_equal(np.unpackbits(dhash(images[0])).astype(bool), expected)
    else:
        start = time.perf_counter()
        codes = parallel_map(partial(dhash, hash_size=8), images, scheduler=how)
    seconds = time.perf_counter() - start
    return result(seconds, f"{len(codes) / seconds:,.0f} slices/s")


def hashes(kind: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(codes, volumes) of volumes of 608 slices."""
    rng = np.random.default_rng(0)
    volumes = np.arange(count) // SLICES
    values = rng.integers(0, 2**63, count, dtype=np.uint64)
    if kind == "drifting":  # each slice changes two bits of the one before
        flips = np.bitwise_xor.reduce(
            np.uint64(1) << rng.integers(0, 64, (count, 2)).astype(np.uint64), axis=1
        )
        for start in range(0, count, SLICES):
            part = flips[start : start + SLICES]
            part[0] = values[start]
            values[start : start + SLICES] = np.bitwise_xor.accumulate(part)
    return values.view(np.uint8).reshape(count, 8), volumes


def reduce_task(kind: str, scope: str, count: str) -> dict[str, Any]:
    """The exact greedy reduction."""
    from medical.ct.hamming import hamming, reduce_hashes

    codes, volumes = hashes(kind, int(count))
    hamming(codes[:1], codes[:1])  # loads faiss
    start = time.perf_counter()
    found = reduce_hashes(codes, THRESHOLD, volumes if scope == "volume" else None)
    seconds = time.perf_counter() - start
    return result(seconds, f"kept {len(found.keep):,}")


def imagededup_task(count: str) -> dict[str, Any]:
    """The same question to imagededup: which of these hashes to remove, at distance 6."""
    from imagededup.methods import DHash

    codes, _ = hashes("drifting", int(count))
    named = {f"{row:07d}": code.tobytes().hex() for row, code in enumerate(codes)}
    start = time.perf_counter()
    removed = DHash(verbose=False).find_duplicates_to_remove(
        encoding_map=named, max_distance_threshold=THRESHOLD, num_dist_workers=0
    )
    return result(time.perf_counter() - start, f"kept {len(named) - len(removed):,}")


TASKS: dict[str, Any] = {"hash": hash_task, "reduce": reduce_task, "imagededup": imagededup_task}


def draw(path: Path, rows: list[dict[str, Any]]) -> None:
    """Seconds against sizes, both logarithmic."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.add_subplot()
    for name in dict.fromkeys(row["name"] for row in rows if not row["name"].startswith("hash")):
        line = [(row["size"], row["seconds"]) for row in rows if row["name"] == name and row["seconds"]]
        if line:
            axes.loglog(*zip(*line), "o-", markersize=4, label=name)
    axes.set_xlabel("hashes")
    axes.set_ylabel("seconds")
    axes.set_title("Exact reduction at distance 6 by number of hashes", fontsize=10)
    axes.grid(color="#e5e5e5")
    axes.legend(frameon=False, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
