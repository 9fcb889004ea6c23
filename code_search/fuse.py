"""Several scores of the same functions into one.

Where validation queries were at hand, the scores are added as they are, with one weight each
(`fit_weights`, a multinomial regression: the right function against the others). Weights that were fitted on
the queries they are then reported on would say nothing. Where there were none, similarity and BM25 are each
brought to 0..1 within a query and added with a general weight (`hybrid`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from core.errors import ConfigError, DataError

DENSE_WEIGHT = 0.7
"""Share of the dense part where nothing was fitted."""
Scores = Mapping[str, np.ndarray]


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
        lexical: scores by words, same shape.
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


def weighted(weights: Mapping[str, float], scores: Scores) -> np.ndarray:
    """The sum of the scores, each times its weight; float32, their common shape.

    Raises:
        DataError: a weight without its scores.

    >>> weighted({"a": 2.0, "b": -1.0}, {"a": np.array([1.0, 0.0]), "b": np.array([0.5, 0.5])}).tolist()
    [1.5, -0.5]
    """
    missing = sorted(set(weights) - set(scores))
    if missing or not weights:
        raise DataError("scores", seen=f"none of {', '.join(missing)}", expected="a score for each weight")
    total: np.ndarray = np.zeros((), dtype=np.float32)
    for name, weight in weights.items():
        total = total + np.float32(weight) * np.asarray(scores[name], dtype=np.float32)
    return total.astype(np.float32, copy=False)


def fit_weights(
    pools: Sequence[Scores],
    relevant: Sequence[Sequence[int] | np.ndarray],
    *,
    names: Sequence[str] | None = None,
    ridge: float = 1e-3,
) -> dict[str, float]:
    """The weights under which the right function is likeliest: ``softmax(weighted(weights, scores))``.

    Args:
        pools: validation pools, each with scores (Q, C).
        relevant: for each pool, (Q,) the column of the right answer.
        names: which scores; default all of the first pool.
        ridge: pull towards 0 of the weights, in units of each score's standard deviation.

    Returns:
        Weights by name, none below 0; a score that is constant gets 0.

    Raises:
        DataError: no pool, shapes that differ, NaN or infinity.

    >>> good, noise = np.eye(3), np.array([[0.0, 1, 0], [1, 0, 0], [0, 0, 0]])
    >>> weights = fit_weights([{"good": good, "noise": noise}], [[0, 1, 2]])
    >>> weights["good"] > 1, weights["noise"]
    (True, 0.0)
    """
    from scipy.optimize import minimize

    names = list(pools[0]) if names is None and pools else list(names or ())
    arrays = [_checked(pool, names, rows) for pool, rows in zip(pools, relevant, strict=True)]
    if not names or not arrays:
        raise DataError("validation scores", seen="none", expected="at least one pool with one score")
    spread = np.sqrt(
        [np.mean([float(np.var(a[f], axis=1).mean()) for a, _ in arrays]) for f in range(len(names))]
    )
    scale = np.where(spread > 0, 1 / np.where(spread > 0, spread, 1), 0.0)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = ridge * float(weights @ weights), 2 * ridge * weights
        for array, target in arrays:
            rows = np.arange(len(target))
            logits = np.einsum("f,fqc->qc", (weights * scale).astype(np.float32), array)
            logits -= logits.max(axis=1, keepdims=True)
            share = np.exp(logits)
            total = share.sum(axis=1, keepdims=True)
            value += float(np.mean(np.log(total[:, 0]) - logits[rows, target])) / len(arrays)
            share /= total
            share[rows, target] -= 1
            slope = np.einsum("qc,fqc->f", share, array) / len(target)
            gradient = gradient + slope * scale / len(arrays)
        return value, np.asarray(gradient, dtype=np.float64)

    start = np.zeros(len(names))
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0.0, None)] * len(names))
    return {name: float(value) for name, value in zip(names, found.x * scale)}


def _checked(
    pool: Scores, names: Sequence[str], relevant: Sequence[int] | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The scores of one pool as float32 (F, Q, C), and the right columns (Q,)."""
    target = np.asarray(relevant, dtype=np.int64)
    shapes = [np.shape(pool[name]) for name in names]
    if len(set(shapes)) != 1 or len(shapes[0]) != 2 or target.shape != shapes[0][:1]:
        raise DataError("validation scores", seen=(shapes, target.shape), expected="(Q, C) each, and (Q,)")
    array = np.stack([np.asarray(pool[name], dtype=np.float32) for name in names])
    if not np.isfinite(array).all():
        raise DataError("validation scores", seen="NaN or infinity", expected="finite numbers")
    return array, target
