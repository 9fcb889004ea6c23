"""Intervals by resampling whole groups (patients, repositories), so that repeats inside one count once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from core.errors import ConfigError, DataError

_BLOCK_BYTES = 2**25


def bootstrap_interval(
    values: Any,
    groups: Sequence[Any] | None = None,
    samples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    statistic: Callable[[np.ndarray], float] | None = None,
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of ``values``, or of any ``statistic`` of its rows.

    Cluster bootstrap (Davison & Hinkley, 1997, ch. 3.8): groups are drawn with replacement, with all
    their rows.

    Args:
        values: (n,) numbers, or (n, ...) rows that ``statistic`` understands (columns truth and score,
            say). NaN rows are not accepted: drop them first.
        groups: (n,) labels; None treats each row as its own group.
        samples: number of resamples.
        level: coverage in (0, 1).
        statistic: rows -> number; None is the mean (fast path). Resamples on which it is NaN are left out.

    Returns:
        (low, high); both the value itself when there is one group.

    Raises:
        DataError: no rows, NaN, or groups of another length.

    >>> low, high = bootstrap_interval([0, 1, 1, 1, 0, 1, 0, 1], seed=1)
    >>> low < 5 / 8 < high
    True
    """
    rows = np.asarray(values, dtype=np.float64)
    if len(rows) == 0:
        raise DataError("bootstrap: no values", expected="at least one")
    if np.isnan(rows).any():
        raise DataError("bootstrap: values", seen=f"{int(np.isnan(rows).sum())} NaN", expected="numbers")
    if samples < 1 or not 0 < level < 1:
        raise ConfigError(
            "bootstrap (samples, level)", seen=(samples, level), expected="(>= 1, between 0 and 1)"
        )
    code = _codes(groups, len(rows))
    rng = np.random.default_rng(seed)
    if statistic is None:
        drawn = _means(rows, code, samples, rng)
    else:
        drawn = _statistics(rows, code, samples, rng, statistic)
    tail = (1 - level) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return float(low), float(high)


def bootstrap_difference(
    first: Any,
    second: Any,
    groups: Sequence[Any] | None = None,
    samples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float, float]:
    """(mean, low, high) of first - second, paired by row: both systems are resampled together.

    >>> bootstrap_difference([1.0, 2.0, 3.0], [0.5, 1.5, 2.5])
    (0.5, 0.5, 0.5)
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.shape != b.shape:
        raise DataError("bootstrap: paired values", seen=(a.shape, b.shape), expected="the same rows in both")
    difference = a - b
    low, high = bootstrap_interval(difference, groups, samples, seed, level)
    return float(difference.mean()), low, high


def _codes(groups: Sequence[Any] | None, n: int) -> np.ndarray:
    if groups is None:
        return np.arange(n)
    if len(groups) != n:
        raise DataError("bootstrap: groups", seen=len(groups), expected=f"one for each of {n} values")
    return np.unique(np.asarray(groups), return_inverse=True)[1]


def _means(rows: np.ndarray, code: np.ndarray, samples: int, rng: np.random.Generator) -> np.ndarray:
    flat = rows.reshape(len(rows), -1).mean(axis=1)
    sums, sizes = np.bincount(code, weights=flat), np.bincount(code).astype(np.float64)
    count = len(sums)
    drawn = np.empty(samples)
    step = max(1, _BLOCK_BYTES // (8 * count))
    for start in range(0, samples, step):
        size = min(step, samples - start)
        pick = rng.integers(0, count, size=(size, count))
        drawn[start : start + size] = sums[pick].sum(axis=1) / sizes[pick].sum(axis=1)
    return drawn


def _statistics(
    rows: np.ndarray,
    code: np.ndarray,
    samples: int,
    rng: np.random.Generator,
    statistic: Callable[[Any], float],
) -> np.ndarray:
    order = np.argsort(code, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(code))[:-1])
    drawn = np.array(
        [
            statistic(rows[np.concatenate([members[group] for group in pick])])
            for pick in (rng.integers(0, len(members), size=len(members)) for _ in range(samples))
        ],
        dtype=np.float64,
    )
    drawn = drawn[~np.isnan(drawn)]
    if not len(drawn):
        raise DataError(
            "bootstrap: the statistic is NaN on every resample", remedy="check that it is defined"
        )
    return drawn
