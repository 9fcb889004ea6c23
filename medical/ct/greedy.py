"""The greedy choice that every reduction here makes: keep the first, drop what is like it, go on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Greedy(NamedTuple):
    """Outcome of a greedy choice over n items.

    Attributes:
        keep: (k,) int64, ascending.
        representative: (n,) int64, for each item the first kept one that it is like; itself where kept.
        score: (n,) float64, how like: the measure between the two.
    """

    keep: np.ndarray
    representative: np.ndarray
    score: np.ndarray


def greedy(
    n: int,
    measure: Callable[[np.ndarray, np.ndarray], np.ndarray],
    duplicate: Callable[[np.ndarray], np.ndarray],
    *,
    panel: int = 64,
) -> Greedy:
    """Items 0..n-1 in order: the first remaining one is kept, and all that are duplicates of it are dropped.

    An item is compared with kept ones only, so likeness does not chain: two kept items are never duplicates
    of each other, and every dropped one is a duplicate of its representative. The order matters.

    Args:
        measure: (rows, columns) int64 item numbers -> (len(rows), len(columns)) values, symmetric.
        duplicate: such values -> bool.
        panel: rows measured at a time. The result does not depend on it: 1 measures kept rows only, which
            is right for a costly measure; more saves calls where measuring is cheap.

    >>> greedy(4, lambda a, b: abs(a[:, None] - b[None]), lambda d: d <= 1).keep.tolist()
    [0, 2]
    """
    remaining = np.arange(n)
    representative = np.empty(n, np.int64)
    score = np.empty(n)
    kept: list[np.ndarray] = []
    while len(remaining):
        head = remaining[:panel]
        values = measure(head, remaining)
        near = duplicate(values)
        rows = np.asarray(_independent(near[:, : len(head)]))
        near = near[rows]
        near[np.arange(len(rows)), rows] = True  # even where an item is not like itself (NaN)
        first = near.argmax(axis=0)
        dropped = near[first, np.arange(len(remaining))]
        which, gone = rows[first[dropped]], remaining[dropped]
        representative[gone] = head[which]
        score[gone] = values[which, dropped.nonzero()[0]]
        kept.append(head[rows])
        remaining = remaining[~dropped]
    return Greedy(np.concatenate(kept) if kept else np.empty(0, np.int64), representative, score)


def _independent(near: Any) -> list[int]:
    """Rows of a square bool matrix that greedy keeps, by bit masks: the cost is of kept rows only."""
    count = len(near)
    if count == 1:
        return [0]
    packed = np.packbits(near, axis=1, bitorder="little")
    masks = [int.from_bytes(row.tobytes(), "little") for row in packed]
    alive, rows = (1 << count) - 1, []
    while alive:
        row = (alive & -alive).bit_length() - 1
        rows.append(row)
        alive &= ~(masks[row] | 1 << row)
    return rows
