"""How fast code search is on this machine, beside a plain MiniLM search over the same functions.

    python benchmarks/code_search.py --model models:/code_search@champion [--root FOLDER] [--functions 100000]

Copies Python files of ``--root`` (by default the installed distributions) until they hold ``--functions``
functions, indexes the copy and asks it ``--queries`` questions. The comparison is what a short script with
sentence-transformers does: MiniLM, mean pooling, 256 tokens, batches of 32, a query against all vectors.
Its vectors are computed for a sample only; its search runs over as many random ones, which takes as long.
Prints a table; ``--json FILE`` keeps the numbers.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from core.machine import machine

# Started as a file, this folder leads the search path, and this file would pass for the package of its name.
sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]

PACKAGES = ("torch", "transformers", "numpy", "bm25s", "tree-sitter")
QUERIES = (
    "read a csv file into rows",
    "open a socket with a timeout",
    "escape html entities in a string",
    "compute the gradient of a loss",
    "walk a directory tree recursively",
    "parse command line arguments",
    "convert a date to iso format",
    "merge two sorted lists",
    "retry a request after an error",
    "hash a password with a salt",
)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", help="folder or models:/ reference; words only when left out")
    parser.add_argument("--root", type=Path, default=Path(sysconfig.get_path("purelib")))
    parser.add_argument("--functions", type=int, default=100_000, help="about how many to index")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--minilm", default="minilm", help="a sentence-transformers folder")
    parser.add_argument("--sample", type=int, default=128, help="functions that MiniLM embeds")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    print(f"{machine(*PACKAGES)}\n\n| measure | value |\n|---|---:|", flush=True)
    numbers: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="kindred-bench-") as folder:
        for name, value in chain(
            measure_kindred(options, Path(folder) / "index"), measure_minilm(options, Path(folder) / "index")
        ):
            numbers[name] = value
            print(f"| {name} | {value:,.0f} |" if value >= 100 else f"| {name} | {value:,.2f} |", flush=True)
    if options.json:
        from core.files import write_json

        write_json(options.json, {"machine": machine(*PACKAGES), **numbers})


def measure_kindred(options: argparse.Namespace, folder: Path) -> Iterator[tuple[str, float]]:
    """Index from nothing, again without a change, and query in every mode."""
    from code_search.index import build_index, open_index

    root = repository(options.root, folder.parent / "repository", options.functions)
    first: list[float] = []
    start = time.perf_counter()

    def note(message: str) -> None:
        first.append(time.perf_counter() - start)

    report = build_index(root, index_dir=folder, model=options.model or "none", say=note, progress=show)
    total = time.perf_counter() - start
    yield "files", report.files
    yield "functions", report.functions
    yield "seconds until the first search can be answered", first[0]
    yield "functions/s, read and words", report.functions / report.seconds_read
    if report.embedded:
        yield "functions/s, vectors", report.embedded / report.seconds_embed
    yield "functions/s, all", report.functions / total
    # Twice: the first run after indexing hashes the files that were too new to trust their times.
    build_index(root, index_dir=folder)
    start = time.perf_counter()
    assert not build_index(root, index_dir=folder).changed
    seconds = time.perf_counter() - start
    yield "seconds to index again, unchanged", seconds
    yield "the same for 10,000 files", seconds * 10_000 / report.files
    index = open_index(index_dir=folder)
    yield "MiB of index", sum(file.stat().st_size for file in index.snapshot.folder.iterdir()) / 2**20
    for mode in ("lexical", "dense", "hybrid") if report.vectors else ("lexical",):
        times = timed(lambda query, mode=mode: index.search(query, 10, mode=mode), options.queries)
        yield f"query ms, {mode}, median", times[0]
        yield f"query ms, {mode}, 95 %", times[1]
    yield "peak MiB", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    start = time.perf_counter()
    command = [sys.executable, "-m", "core.cli", "search", QUERIES[0], "--index-dir", str(folder), "--json"]
    subprocess.run(command, check=True, capture_output=True)
    yield "seconds of `kindred search` in a shell", time.perf_counter() - start


def repository(source: Path, target: Path, functions: int) -> Path:
    """Copy Python files of ``source`` to ``target`` until they hold ``functions``, at 900 bytes each."""
    left = functions * 900
    for file in sorted(source.rglob("*.py")):
        if left <= 0:
            break
        if file.is_file() and not file.is_symlink():
            copy = target / file.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
            left -= file.stat().st_size
    return target


def measure_minilm(options: argparse.Namespace, folder: Path) -> Iterator[tuple[str, float]]:
    """The same functions and questions with MiniLM: throughput of a sample, and search over all."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    from code_search.index import open_index
    from code_search.index.compose import embedded_text
    from core.encoders.text import model_home
    from core.errors import KindredError

    try:
        place = model_home(options.minilm)
    except KindredError as error:
        print(f"no comparison: {error}", file=sys.stderr)
        return
    tokenizer, model = AutoTokenizer.from_pretrained(place), AutoModel.from_pretrained(place).eval()

    def encode(texts: list[str]) -> np.ndarray:
        rows = []
        with torch.inference_mode():
            for begin in range(0, len(texts), 32):
                batch = tokenizer(
                    texts[begin : begin + 32],
                    padding=True,
                    truncation=True,
                    max_length=256,
                    return_tensors="pt",
                )
                mask = batch["attention_mask"][..., None]
                mean = (model(**batch).last_hidden_state * mask).sum(1) / mask.sum(1)
                rows.append(torch.nn.functional.normalize(mean).numpy())
        return np.concatenate(rows)

    snapshot = open_index(index_dir=folder).snapshot
    functions = len(snapshot)
    chosen = np.random.default_rng(0).choice(functions, min(options.sample, functions), replace=False)
    texts = [embedded_text(snapshot, int(row)) for row in chosen]
    encode(texts[:32])
    start = time.perf_counter()
    width = encode(texts).shape[1]
    seconds = time.perf_counter() - start
    matrix = np.random.default_rng(0).standard_normal((functions, width), dtype=np.float32)
    times = timed(lambda query: np.argsort(-(matrix @ encode([query])[0]))[:10], options.queries)
    yield "MiniLM: functions/s", len(texts) / seconds
    yield "MiniLM: query ms, median", times[0]
    yield "MiniLM: query ms, 95 %", times[1]


def timed(ask: Any, repeats: int) -> tuple[float, float]:
    """(median, 95th percentile) of the milliseconds of one question, after a warm-up."""
    for query in QUERIES:
        ask(query)
    times = []
    for number in range(repeats):
        start = time.perf_counter()
        ask(f"{QUERIES[number % len(QUERIES)]} {number}")
        times.append(1000 * (time.perf_counter() - start))
    return float(np.percentile(times, 50)), float(np.percentile(times, 95))


def show(progress: Any) -> None:
    """Progress on stderr, for whoever waits."""
    if progress.done % 1000 < 40 and sys.stderr.isatty():
        print(f"\r{progress.what}: {progress.done:,} of {progress.total:,}   ", end="", file=sys.stderr)


if __name__ == "__main__":
    main()
