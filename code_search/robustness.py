"""Does the search survive other variable names? Variables of the right answer are renamed, the query stays.

After ContraBERT (Liu et al., ICSE 2023, robustness test), with what its figure leaves out: how many
functions each point rests on, several draws, intervals, and the same functions before renaming beside them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from code_search.data.functions import Function
from code_search.data.mutate import local_variables, rename_variables
from code_search.evaluate import RANKINGS, Task, Vectors
from code_search.lexical import WordCounts, WordIndex, count_bags, named_text, words
from code_search.ranker import Ranker, WordScores

COUNTS: tuple[int | None, ...] = (0, 1, 2, 4, 8, None)
"""Variables renamed a function; None: all of them."""
RATES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Shares of a function's variables that are renamed."""


@dataclass(frozen=True)
class Point:
    """One ranking at one amount of renaming.

    Attributes:
        task: name of the task (names shown or hidden).
        ranking: one of `code_search.evaluate.RANKINGS`.
        axis: ``count`` or ``rate``; level: variables renamed (None: all), or the share of them.
        n: functions that have so many variables (``count``), or any (``rate``).
        before: their mean reciprocal rank without renaming.
        mrr, low, high: after it, mean over the draws, with the 95 % interval over functions.
        first: how many of the n answers stood first before.
        stayed: share of those that still do, mean over the draws; None where none stood first.
    """

    task: str
    ranking: str
    axis: str
    level: float | None
    n: int
    before: float
    mrr: float
    low: float
    high: float
    first: int
    stayed: float | None


def robustness(
    task: Task,
    vectors: Vectors,
    ranker: Ranker,
    *,
    counts: Sequence[int | None] = COUNTS,
    rates: Sequence[float] = RATES,
    seeds: Sequence[int] = (0, 1, 2),
) -> list[Point]:
    """Measure every ranking at every amount of renaming.

    Only the right answer is renamed; the other candidates keep their names. A function with fewer than
    ``k`` variables is left out at ``k`` (see ``Point.n``).

    Args:
        task: with one candidate a query (query i asks for candidate i).
        vectors: of the encoder.
        ranker: of the model.
        seeds: one draw of the variables each.
    """
    variables = [len(local_variables(f.code, f.language)) for f in task.candidates]
    base = _Base(task, vectors, ranker)
    amounts: list[tuple[str, float | None]] = [("count", count) for count in counts]
    amounts += [("rate", rate) for rate in rates]
    points = []
    for axis, level in amounts:
        renamed = [_how_many(axis, level, number) for number in variables]
        rows = [row for row, many in enumerate(renamed) if many is not None]
        if not rows:
            continue
        many = [number or 0 for number in renamed]
        draws = [base.reciprocal(many, seed) for seed in (seeds[:1] if level == 0 else seeds)]
        points += [base.point(axis, level, rows, [draw[name] for draw in draws], name) for name in RANKINGS]
    return points


def _how_many(axis: str, level: float | None, variables: int) -> int | None:
    """How many variables of a function are renamed; None where it has too few to take part."""
    if axis == "rate":
        return round((level or 0) * variables) if variables else None
    wanted = max(variables, 1) if level is None else int(level)
    return wanted if variables >= wanted else None


class _Base:
    """Scores of the pool as it is, into which the scores of renamed answers are put."""

    def __init__(self, task: Task, vectors: Vectors, ranker: Ranker) -> None:
        self.task, self.vectors, self.ranker = task, vectors, ranker
        self.asked = vectors.queries(task.queries)
        self.dense = self.asked @ vectors.functions(task.candidates).T
        self._known: dict[tuple[str, ...], dict[str, np.ndarray]] = {}
        self._bags: dict[str, Counter[str]] = {}
        self.before = self.reciprocal([0] * len(task.queries), 0)

    def reciprocal(self, many: Sequence[int], seed: int) -> dict[str, np.ndarray]:
        """Reciprocal ranks (N,) with ``many[i]`` variables of answer i renamed, by ranking."""
        candidates = self.task.candidates
        answers = [_renamed(function, k, seed) for function, k in zip(candidates, many)]
        drawn = tuple(function.code for function in answers)
        if drawn not in self._known:  # none and all of the variables are the same in every draw
            self._known[drawn] = self._reciprocal(answers)
        return self._known[drawn]

    def _reciprocal(self, answers: Sequence[Function]) -> dict[str, np.ndarray]:
        from core.evaluation.retrieval import ranks

        candidates = self.task.candidates
        own = np.arange(len(candidates))
        similar = np.einsum("nd,nd->n", self.asked, self.vectors.functions(answers))
        dense = self._with(self.dense, similar)
        # Statistics of words are taken over the pool and the renamed answers together.
        both = [*candidates, *answers]
        plain = WordIndex(self._counted(f.code for f in both)).score_matrix(self.task.queries)
        counts = self._counted(named_text(f.name, f.code) for f in both)
        scored = WordScores(counts, self.ranker).part_matrix(self.task.queries)
        parts = {name: self._with(values, values[own, len(own) + own]) for name, values in scored.items()}
        found = {
            "bm25": self._with(plain, plain[own, len(own) + own]),
            "lexical": self.ranker.by_words(parts),
            "dense": dense,
            "hybrid": self.ranker.by_all(parts, dense),
        }
        return {name: 1.0 / ranks(values, own) for name, values in found.items()}

    def _counted(self, texts: Iterable[str]) -> WordCounts:
        """The words of the texts; most of these come again in the next draw."""
        bags = []
        for text in texts:
            if text not in self._bags:
                self._bags[text] = Counter(words(text))
            bags.append(self._bags[text])
        return count_bags(bags)

    def _with(self, scores: np.ndarray, answers: np.ndarray) -> np.ndarray:
        """The scores of the pool (N, N) out of the first columns, those of the right answers put in."""
        own = np.arange(len(answers))
        changed = np.array(scores[:, : len(own)], dtype=np.float32)
        changed[own, own] = answers
        return changed

    def point(
        self, axis: str, level: float | None, rows: list[int], draws: list[np.ndarray], ranking: str
    ) -> Point:
        """Sum up the draws of one ranking."""
        from core.evaluation.bootstrap import bootstrap_interval

        after = np.stack(draws)[:, rows]
        before = self.before[ranking][rows]
        low, high = bootstrap_interval(after.mean(axis=0), [self.task.groups[row] for row in rows])
        first = before >= 1
        return Point(
            task=self.task.name,
            ranking=ranking,
            axis=axis,
            level=level,
            n=len(rows),
            before=float(before.mean()),
            mrr=float(after.mean()),
            low=low,
            high=high,
            first=int(first.sum()),
            stayed=float((after[:, first] >= 1).mean()) if first.any() else None,
        )


def _renamed(function: Function, k: int, seed: int) -> Function:
    """The function with ``k`` of its variables renamed; each function has a draw of its own."""
    if k == 0:
        return function
    from core.learning.determinism import derive_seed

    code, _ = rename_variables(function.code, function.language, k, derive_seed(seed, "rename", function.id))
    return replace(function, code=code)
