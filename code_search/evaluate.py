"""How well queries find their functions: BM25, dense and hybrid ranking on the same tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Protocol

import numpy as np

from code_search.data.functions import Function
from code_search.data.sample import evaluation_sample
from code_search.fuse import WEIGHTS, choose_weight, hybrid
from code_search.lexical import WordIndex

RANKINGS = ("bm25", "dense", "hybrid")
_CHUNK_SCORES = 2**23  # similarities held at a time, for each ranking


class Encoder(Protocol):
    """Unit rows of ``dim`` numbers for queries and functions."""

    @property
    def dim(self) -> int: ...

    def encode_queries(self, queries: list[str], /) -> np.ndarray: ...

    def encode_functions(self, functions: list[Function], /) -> np.ndarray: ...


@dataclass(frozen=True)
class Task:
    """Query ``i`` asks for candidate ``relevant[i]``; ``groups`` are resampled together by the bootstrap.

    ``cutoff`` is the rank beyond which a reciprocal rank counts 0, where a published protocol has one.
    """

    name: str
    label: str
    queries: list[str]
    relevant: list[int]
    candidates: list[Function] = field(repr=False)
    groups: list[str] = field(repr=False)
    cutoff: int | None = None


def sample_tasks(functions: Sequence[Function], n: int = 1000, seed: int = 0) -> list[Task]:
    """Three tasks with the same queries: the sample with names shown, with names hidden, and all functions.

    The sample is that of `evaluation_sample`: the first documentation line asks for its function. Under
    ``hidden`` the function's own name is replaced by ``f`` in its code; under ``full`` the candidates are all
    of ``functions``.

    >>> f = Function("python", "a/b.py", 1, 2, "area", "area", "def area(r)", "Area of a circle.", "", "a")
    >>> [(task.name, task.relevant, task.groups) for task in sample_tasks([f], n=1)]
    [('shown', [0], ['a']), ('hidden', [0], ['a']), ('full', [0], ['a'])]
    """
    shown = evaluation_sample(functions, n, seed)
    hidden = evaluation_sample(functions, n, seed, hide_name=True)
    place = {id(function): row for row, function in enumerate(functions)}
    groups = resampling_groups(shown.functions)
    rows = list(range(len(shown.queries)))
    size = f"{len(rows):,} candidates"
    among_all = [place[id(function)] for function in shown.functions]
    return [
        Task("shown", f"{size}, names shown", shown.queries, rows, shown.functions, groups),
        Task("hidden", f"{size}, names hidden", shown.queries, rows, hidden.functions, groups),
        Task("full", f"{len(functions):,} candidates", shown.queries, among_all, list(functions), groups),
    ]


def resampling_groups(functions: Sequence[Function]) -> list[str]:
    """What the bootstrap resamples: repositories; within a single one, its top-level packages and modules."""
    groups = [function.group for function in functions]
    if len(set(groups)) > 1:
        return groups
    return [PurePosixPath(function.path).parts[0].removesuffix(".py") for function in functions]


class Vectors:
    """An encoder that computes the vector of a function once, however many tasks it is a candidate of.

    It is handed functions without their documentation: a query must not meet itself in its candidate.
    """

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self._known: dict[tuple[str, str, str], np.ndarray] = {}

    def queries(self, queries: Sequence[str]) -> np.ndarray:
        """(n, dim) float32 unit rows."""
        return self.encoder.encode_queries(list(queries))

    def functions(self, functions: Sequence[Function]) -> np.ndarray:
        """(n, dim) float32 unit rows."""
        keys = [(function.language, function.name, function.code) for function in functions]
        new = {
            key: replace(function, documentation="", source=function.code)
            for key, function in zip(keys, functions)
            if key not in self._known
        }
        if new:
            self._known.update(zip(new, self.encoder.encode_functions(list(new.values()))))
        return np.stack([self._known[key] for key in keys])


def rank_task(task: Task, vectors: Vectors, weight: float) -> dict[str, np.ndarray]:
    """The rank (from 1, ties averaged) of the right candidate of each query, by ranking.

    Args:
        weight: share of the dense part in ``hybrid``, 0..1.
    """
    from core.evaluation.retrieval import ranks

    words = WordIndex.from_texts(function.code for function in task.candidates)
    asked, offered = vectors.queries(task.queries), vectors.functions(task.candidates)
    found: dict[str, list[np.ndarray]] = {name: [] for name in RANKINGS}
    step = max(1, _CHUNK_SCORES // len(task.candidates))
    for start in range(0, len(task.queries), step):
        part = slice(start, start + step)
        lexical = words.score_matrix(task.queries[part])
        dense = asked[part] @ offered.T
        scores = {"bm25": lexical, "dense": dense, "hybrid": hybrid(dense, lexical, weight)}
        for name, values in scores.items():
            found[name].append(ranks(values, task.relevant[part]))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def fusion_weight(
    functions: Sequence[Function], vectors: Vectors, n: int = 1000, seed: int = 0
) -> tuple[float, dict[float, float]]:
    """The dense weight with the highest MRR on a validation sample, and the MRR of every weight.

    Each query counts twice, with its function's name shown and hidden.

    Args:
        functions: of the validation split; none of them may be tested on.
    """
    shown, hidden, _ = sample_tasks(functions, n, seed)
    asked = vectors.queries(shown.queries)
    dense, lexical = [], []
    for task in (shown, hidden):
        dense.append(asked @ vectors.functions(task.candidates).T)
        lexical.append(WordIndex.from_texts(f.code for f in task.candidates).score_matrix(task.queries))
    relevant = shown.relevant + hidden.relevant
    return choose_weight(np.concatenate(dense), np.concatenate(lexical), relevant, WEIGHTS)
