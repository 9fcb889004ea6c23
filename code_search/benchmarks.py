"""Public retrieval benchmarks as tasks: CodeSearchNet and CodeXGLUE language folders."""

from __future__ import annotations

import os
from pathlib import Path

from code_search.data.codesearchnet import read_benchmark
from code_search.evaluate import Task, resampling_groups


def benchmark_task(folder: str | os.PathLike[str]) -> Task:
    """The test split of a CodeSearchNet or CodeXGLUE language folder over its whole codebase.

    Reciprocal ranks beyond 1,000 count 0, as in the published scripts.

    Raises:
        DataError: the folder holds no such split.
    """
    found = read_benchmark(folder)
    home = Path(folder)
    name = f"{home.parent.name}_{home.name}".lower().replace("-", "_")
    asked = [found.candidates[row] for row in found.relevant]
    label = f"{home.parent.name} {home.name}, {len(found.candidates):,} candidates"
    return Task(name, label, found.queries, found.relevant, found.candidates, resampling_groups(asked), 1000)
