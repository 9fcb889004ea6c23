"""How well queries find their functions: plain BM25 and our rankings by words, vectors and both, on equal tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Protocol

import numpy as np

from code_search.data.functions import Function
from code_search.data.sample import evaluation_sample
from code_search.fuse import fit_weights, weighted
from code_search.lexical import WordIndex, count_words, named_text
from code_search.ranker import Ranker, WordScores
from code_search.translate import Translation

RANKINGS = ("bm25", "lexical", "dense", "hybrid")
"""``bm25`` is the plain baseline, over the code as it is; ``lexical`` is the ranking by words of the product."""
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


def rank_task(task: Task, vectors: Vectors, ranker: Ranker) -> dict[str, np.ndarray]:
    """The rank (from 1, ties averaged) of the right candidate of each query, by ranking."""
    from core.evaluation.retrieval import ranks

    plain = WordIndex.from_texts(function.code for function in task.candidates)
    words = word_scores(task.candidates, ranker)
    asked, offered = vectors.queries(task.queries), vectors.functions(task.candidates)
    found: dict[str, list[np.ndarray]] = {name: [] for name in RANKINGS}
    step = max(1, _CHUNK_SCORES // len(task.candidates))
    for start in range(0, len(task.queries), step):
        part = slice(start, start + step)
        parts = words.part_matrix(task.queries[part])
        dense = asked[part] @ offered.T
        scores = {
            "bm25": plain.score_matrix(task.queries[part]),
            "lexical": ranker.by_words(parts),
            "dense": dense,
            "hybrid": ranker.by_all(parts, dense),
        }
        for name, values in scores.items():
            found[name].append(ranks(values, task.relevant[part]))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def word_scores(functions: Sequence[Function], ranker: Ranker) -> WordScores:
    """The scores by words over functions without their documentation."""
    return WordScores(count_words(named_text(f.name, f.code) for f in functions), ranker)


def fit_ranker(
    functions: Sequence[Function],
    vectors: Vectors,
    *,
    translation: Translation | None = None,
    n: int = 1000,
    seed: int = 0,
) -> tuple[Ranker, dict[str, float]]:
    """The weights of all scores, fitted on a validation sample, and the validation MRR they reach.

    Each query counts twice, with its function's name shown and hidden.

    Args:
        functions: of the validation split; none of them may be tested on.
        vectors: of the encoder.
        translation: learnt from training pairs.

    Returns:
        (ranker, MRR): ``all`` and ``words`` (all but the vectors) are the two rankings, ``without <score>`` is
        what is left of the former when its weights are fitted without that score. Measured where it was fitted.
    """
    shown, hidden, _ = sample_tasks(functions, n, seed)
    asked = vectors.queries(shown.queries)
    ranker = Ranker(translation=translation)
    pools = []
    for task in (shown, hidden):
        offered = vectors.functions(task.candidates)
        words = word_scores(task.candidates, ranker).part_matrix(task.queries)
        pools.append({"dense": asked @ offered.T, **words})
    relevant = [shown.relevant, hidden.relevant]

    def fitted(names: Sequence[str]) -> tuple[dict[str, float], float]:
        weights = fit_weights(pools, relevant, names=names)
        return weights, _mean_reciprocal(pools, relevant, weights)

    names = list(pools[0])
    by_words, mrr_words = fitted(names[1:])
    by_all, mrr_all = fitted(names)
    mrr = {"all": mrr_all, "words": mrr_words}
    mrr |= {f"without {name}": fitted([other for other in names if other != name])[1] for name in names[1:]}
    if not any(by_words.values()):  # nothing to learn from: as without a fit
        by_words = {"bm25": 1.0}
    return Ranker(by_words, by_all, translation), mrr


def _mean_reciprocal(
    pools: Sequence[dict[str, np.ndarray]], relevant: Sequence[Sequence[int]], weights: dict[str, float]
) -> float:
    from core.evaluation.retrieval import ranks

    found = [1.0 / ranks(weighted(weights, pool), target) for pool, target in zip(pools, relevant)]
    return float(np.mean(np.concatenate(found)))
