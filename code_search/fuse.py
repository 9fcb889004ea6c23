"""Two rankings into one: similarity and BM25, each brought to 0..1 within a query, added with one weight.

The weight of the dense part is the only number to choose, and it is chosen on validation queries; a weight
that was swept on the queries it is then reported on says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.errors import ConfigError, DataError

DENSE_WEIGHT = 0.7
"""Used where an encoder carries no weight of its own."""
WEIGHTS = tuple(round(0.05 * step, 2) for step in range(21))


def unit_range(scores: np.ndarray) -> np.ndarray:
    """Min-max of each row: 0 for the lowest score, 1 for the highest; float32, same shape.

    A row whose scores are all equal says nothing and becomes 0.

    Raises:
        DataError: NaN or infinity.

    >>> unit_range(np.array([2.0, 4.0, 3.0])).tolist()
    [0.0, 1.0, 0.5]
    >>> unit_range(np.array([3.0, 3.0])).tolist()
    [0.0, 0.0]
    """
    values = np.asarray(scores, dtype=np.float32)
    if not np.isfinite(values).all():
        raise DataError("scores", seen="NaN or infinity", expected="finite numbers")
    if values.shape[-1] == 0:
        return values
    low = values.min(axis=-1, keepdims=True)
    span = values.max(axis=-1, keepdims=True) - low
    return np.divide(values - low, span, out=np.zeros_like(values), where=span > 0)


def hybrid(
    dense: np.ndarray, lexical: np.ndarray, weight: float = DENSE_WEIGHT, has_dense: np.ndarray | None = None
) -> np.ndarray:
    """``weight * unit_range(dense) + (1 - weight) * unit_range(lexical)`` along the last axis, float32.

    Args:
        dense: cosine similarities, (N,) or (Q, N).
        lexical: BM25, same shape.
        weight: share of the dense part, 0..1.
        has_dense: (N,) bool; documents without a vector yet are ranked by their words alone.

    Raises:
        ConfigError: a weight outside 0..1.  DataError: shapes that differ, NaN or infinity.

    >>> hybrid(np.array([0.0, 4.0, 2.0]), np.array([8.0, 0.0, 0.0]), weight=0.5).tolist()
    [0.5, 0.5, 0.25]
    """
    if not 0 <= weight <= 1:
        raise ConfigError("dense weight", seen=weight, expected="a number from 0 to 1")
    if np.shape(dense) != np.shape(lexical):
        raise DataError(
            "dense and lexical scores", seen=(np.shape(dense), np.shape(lexical)), expected="one shape"
        )
    by_words = unit_range(lexical)
    if has_dense is None or has_dense.all():
        by_meaning = unit_range(dense)
    else:
        by_meaning = by_words.copy()
        by_meaning[..., has_dense] = unit_range(np.asarray(dense)[..., has_dense])
    return np.float32(weight) * by_meaning + np.float32(1 - weight) * by_words


def choose_weight(
    dense: np.ndarray,
    lexical: np.ndarray,
    relevant: Sequence[int] | np.ndarray,
    weights: Sequence[float] = WEIGHTS,
) -> tuple[float, dict[float, float]]:
    """The dense weight with the highest MRR on validation queries, and the MRR of every weight tried.

    Of equal weights the one nearest `DENSE_WEIGHT` wins, so that a flat curve moves nothing. Ties in rank
    count as their average.

    Args:
        dense: (Q, C) similarities of validation queries.
        lexical: (Q, C) BM25 of the same.
        relevant: (Q,) column of the right answer.

    >>> weight, curve = choose_weight(np.eye(3), 1 - np.eye(3), [0, 1, 2], weights=(0.0, 0.5, 1.0))
    >>> weight, curve[0.0] < curve[1.0]
    (1.0, True)
    """
    from core.evaluation.retrieval import ranks

    dense, lexical = unit_range(dense), unit_range(lexical)
    target = np.asarray(relevant, dtype=np.int64)
    if dense.shape != lexical.shape or dense.ndim != 2 or target.shape != dense.shape[:1]:
        raise DataError(
            "validation scores",
            seen=(dense.shape, lexical.shape, target.shape),
            expected="(Q, C), (Q, C) and (Q,)",
        )
    curve = {
        float(weight): float(
            np.mean(1.0 / np.asarray(ranks(weight * dense + (1 - weight) * lexical, target)))
        )
        for weight in weights
    }
    best = max(curve, key=lambda weight: (curve[weight], -abs(weight - DENSE_WEIGHT)))
    return best, curve
