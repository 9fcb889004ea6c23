"""Exact greedy reduction of hashes by Hamming distance: per volume by brute force, over all by pigeonhole.

Over a whole data set the items are halved recursively: the first half is reduced, its kept hashes then drop
what they can from the second half, and the rest of that is reduced. Kept hashes meet candidates by a
pigeonhole join (Norouzi et al., "Fast exact search in Hamming space with multi-index hashing", TPAMI 2014,
section 3): with the bits dealt into t + k groups, two hashes within t bits agree on at least k whole groups,
so only those that share a key of k groups are compared. Which k is the cheapest is estimated from the sizes.
"""

from __future__ import annotations

from itertools import combinations
from math import comb
from typing import Any

import numpy as np

from core.errors import ConfigError, DataError
from medical.ct.greedy import Greedy, greedy

_LEAF = 2048  # items reduced by brute force
_TILE = 2**17  # distances computed at a time: they stay in the cache
_PAIR, _BUCKET, _ITEM = 0.6e-9, 8e-6, 2e-7  # seconds of a distance, of a bucket, of sorting an item


def hamming(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Distances (n, m) int32 between packed hashes (n, bytes) and (m, bytes), uint8.

    >>> hamming(np.array([[0, 1]], np.uint8), np.array([[0, 0], [255, 1]], np.uint8)).tolist()
    [[1, 8]]
    """
    from faiss import hammings, swig_ptr  # type: ignore[attr-defined]

    a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)
    found = np.empty((len(a), len(b)), np.int32)
    if found.size:
        hammings(swig_ptr(a), swig_ptr(b), len(a), len(b), a.shape[1], swig_ptr(found))
    return found


def reduce_hashes(codes: Any, threshold: int, volumes: Any = None) -> Greedy:
    """Greedy reduction: the first hash is kept, all within ``threshold`` bits of it are dropped, and so on.

    The published rule (Wolf et al. 2024, after the CEM500K data set): distances <= threshold, compared with
    the kept hash only, in the order given. The result is exact in every scope.

    Args:
        codes: (n, bytes) uint8 packed hashes, 8 or 32 bytes.
        threshold: bits, >= 0.
        volumes: (n,) labels: only slices of one volume are compared. None: all with all.

    Returns:
        keep, representative (the first kept hash within the threshold), score (the distance to it).

    Memory is O(n) with small constants; about 50 bytes an item over a whole data set with threshold 6.

    >>> codes = np.array([[0] * 8, [1] + [0] * 7, [255] * 8], np.uint8)
    >>> reduce_hashes(codes, 6).keep.tolist()
    [0, 2]
    """
    codes = _checked(codes, threshold)
    if volumes is None:
        return _reduce_all(codes, threshold)
    labels = np.asarray(volumes)
    if len(labels) != len(codes):
        raise DataError("volumes", seen=len(labels), expected=f"one for each of {len(codes)} hashes")
    representative, score = np.empty(len(codes), np.int64), np.empty(len(codes))
    for rows in members(labels):
        found = _reduce(codes[rows], threshold)
        representative[rows] = rows[found.representative]
        score[rows] = found.score
    return Greedy(np.flatnonzero(representative == np.arange(len(codes))), representative, score)


def members(labels: np.ndarray) -> list[np.ndarray]:
    """Row numbers of each distinct label, ascending.

    >>> [rows.tolist() for rows in members(np.array([1, 0, 1]))]
    [[1], [0, 2]]
    """
    if not len(labels):
        return []
    order = np.argsort(labels, kind="stable")
    inside = labels[order]
    return np.split(order, np.flatnonzero(inside[1:] != inside[:-1]) + 1)


def _checked(codes: Any, threshold: int) -> np.ndarray:
    array = np.asarray(codes)
    if array.dtype != np.uint8 or array.ndim != 2 or array.shape[1] not in (8, 32):
        raise DataError(
            "hashes",
            seen=f"{array.dtype} {array.shape}",
            expected="uint8 (n, 8) or (n, 32), as dhash packs them",
        )
    if threshold < 0:
        raise ConfigError("hash threshold", seen=threshold, expected="a number of bits >= 0")
    return array


def _reduce(codes: np.ndarray, threshold: int) -> Greedy:
    """Of any number of items; brute force where they are few."""
    if len(codes) > _LEAF:
        return _reduce_all(codes, threshold)
    return greedy(len(codes), lambda a, b: hamming(codes[a], codes[b]), lambda d: d <= threshold, panel=256)


def _reduce_all(codes: np.ndarray, threshold: int) -> Greedy:
    """Equal hashes share their fate with the first of them, so that only distinct ones are compared."""
    if len(codes) == 0:
        return Greedy(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
    whole = np.ascontiguousarray(codes).view(np.dtype((np.void, codes.shape[1]))).ravel()
    if codes.shape[1] == 8:
        whole = whole.view(np.uint64)
    _, first, inverse = np.unique(whole, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    rows = first[order]
    distinct = codes[rows]
    representative = np.full(len(rows), -1)
    if threshold == 0:
        representative = np.arange(len(rows))
    else:
        _halve(distinct, threshold, np.arange(len(rows)), representative, _Keys(distinct, threshold))
    representative = rows[representative][place[inverse]]
    score = _distance(codes, codes[representative])
    return Greedy(np.flatnonzero(representative == np.arange(len(codes))), representative, score)


def _halve(
    codes: np.ndarray, threshold: int, items: np.ndarray, representative: np.ndarray, keys: _Keys
) -> np.ndarray:
    """Fill in the representatives of ``items``, none of which is near a kept one before them; the kept ones."""
    if len(items) <= _LEAF:
        found = _reduce(codes[items], threshold)
        representative[items] = items[found.representative]
        return items[found.keep]
    middle = len(items) // 2
    kept = _halve(codes, threshold, items[:middle], representative, keys)
    later = items[middle:]
    near = _first_within(codes, kept, later, threshold, keys)
    hit = near >= 0
    representative[later[hit]] = kept[near[hit]]
    rest = _halve(codes, threshold, later[~hit], representative, keys)
    return np.concatenate([kept, rest])


class _Keys:
    """Keys of k of t + k groups of bits, for every choice of groups; made when first asked for.

    Bits are dealt to the groups by how evenly they split the data: the background of CT slices leaves many
    bits constant, and a group of such bits would put everything into one bucket.
    """

    def __init__(self, codes: np.ndarray, threshold: int) -> None:
        self.codes, self.threshold = codes, threshold
        sample = np.unpackbits(codes[:: max(1, len(codes) // 65536)], axis=1)
        share = sample.mean(axis=0)
        self.order = np.argsort(-share * (1 - share), kind="stable")
        self._made: dict[int, np.ndarray] = {}

    @property
    def bits(self) -> int:
        return len(self.order)

    def width(self, k: int) -> int:
        """Bits of the widest key."""
        return k * -(-self.bits // (self.threshold + k))

    def of(self, k: int) -> np.ndarray:
        """(choices, n) uint16."""
        if k not in self._made:
            groups = [self.order[start :: self.threshold + k] for start in range(self.threshold + k)]
            choices = list(combinations(groups, k))
            weights = np.zeros((self.bits, len(choices)), np.float32)
            for column, chosen in enumerate(choices):
                together = np.concatenate(chosen)
                weights[together, column] = 2.0 ** np.arange(len(together))
            found = np.empty((len(choices), len(self.codes)), np.uint16)
            for start in range(0, len(self.codes), 65536):
                part = np.unpackbits(self.codes[start : start + 65536], axis=1).astype(np.float32)
                found[:, start : start + 65536] = (part @ weights).T  # whole numbers below 2**16: exact
            self._made[k] = found
        return self._made[k]

    def cheapest(self, rows: int, columns: int) -> int:
        """The k with the lowest estimated cost of joining so many kept with so many others; 0: no keys."""
        usable = [k for k in (1, 2) if self.width(k) <= 16 and self.threshold + k <= self.bits]
        return min([0, *usable], key=lambda k: self._cost(k, rows, columns))

    def _cost(self, k: int, rows: int, columns: int) -> float:
        groups = self.threshold + k
        buckets, passes = (2.0 ** (self.bits * k / groups), comb(groups, k)) if k else (1.0, 1)
        calls = min(buckets, rows, columns) * _BUCKET
        return passes * (rows * columns / buckets * _PAIR + calls + (rows + columns) * _ITEM * (k > 0))


def _first_within(
    codes: np.ndarray, kept: np.ndarray, others: np.ndarray, threshold: int, keys: _Keys
) -> np.ndarray:
    """For each of ``others`` the place in ``kept`` of the first hash within the threshold; -1 where none is."""
    none = len(kept)
    found = np.full(len(others), none)
    k = keys.cheapest(len(kept), len(others))
    if k == 0:
        _compare(codes[kept], codes[others], np.arange(none), np.arange(len(others)), threshold, found)
    else:
        for column in keys.of(k):
            _join(codes, column, kept, others, threshold, found)
    return np.where(found == none, -1, found)


def _join(
    codes: np.ndarray,
    column: np.ndarray,
    kept: np.ndarray,
    others: np.ndarray,
    threshold: int,
    found: np.ndarray,
) -> None:
    """Compare what shares a key, bucket by bucket; stable sorts keep the order inside a bucket."""
    left, right = np.argsort(column[kept], kind="stable"), np.argsort(column[others], kind="stable")
    lefts, rights = column[kept][left], column[others][right]
    shared = np.intersect1d(lefts, rights)
    edges = [
        np.searchsorted(keys, shared, side).tolist() for keys in (lefts, rights) for side in ("left", "right")
    ]
    left_codes, right_codes = codes[kept[left]], codes[others[right]]
    for a, b, c, d in zip(*edges):
        _compare(left_codes[a:b], right_codes[c:d], left[a:b], right[c:d], threshold, found)


def _compare(
    kept: np.ndarray,
    others: np.ndarray,
    places: np.ndarray,
    rows: np.ndarray,
    threshold: int,
    found: np.ndarray,
) -> None:
    """Lower ``found[rows]`` to the first of ``places`` (ascending) whose hash is within the threshold."""
    wide = min(len(kept), _TILE)
    tall = max(1, _TILE // wide)
    for top in range(0, len(others), tall):
        for start in range(0, len(kept), wide):
            near = hamming(others[top : top + tall], kept[start : start + wide]) <= threshold
            hit = np.flatnonzero(near.any(axis=1))
            if len(hit):
                first, where = places[start + near[hit].argmax(axis=1)], rows[top + hit]
                found[where] = np.minimum(found[where], first)


def _distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Distances of the rows, pair by pair, float64."""
    return np.bitwise_count(a ^ b).sum(axis=1, dtype=np.int64).astype(np.float64)
