"""Exact and near-duplicate code: shingles of tokens, MinHash to find candidates, exact Jaccard to decide."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SHINGLE = 5
_BANDS, _ROWS = 10, 4
_BATCH = 2048
_END = b"\0" * SHINGLE  # five end tokens, so that the shortest code has a shingle
_BASE, _MIX = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9)
_BLANK, _WORD, _SIGN = 0, 1, 2
_KIND = np.full(256, _SIGN, dtype=np.uint8)  # of a byte; those above 127 belong to words
_KIND[list(b" \t\n\r\f\v")] = _BLANK
_KIND[[b for b in range(256) if b > 127 or chr(b).isalnum() or chr(b) == "_"]] = _WORD
_VALUE = np.where(_KIND == _BLANK, 0, np.arange(1, 257)).astype(np.uint64)


def exact_key(code: str) -> str:
    """The code without any whitespace: equal for functions that differ in layout only."""
    return "".join(code.split())


def near_duplicates(codes: Sequence[str], threshold: float = 0.8, *, keep: int = 0) -> np.ndarray:
    """Mark the codes that repeat an earlier one.

    Two codes are near-duplicates when the Jaccard similarity of their sets of 5-token shingles is at least
    ``threshold``. Candidates come from MinHash with 10 bands of 4 rows (finds 99.5 % of the pairs at
    similarity .8 and all identical ones); the decision is made on the sets themselves.

    Args:
        codes: in the order of priority.
        threshold: in (0, 1].
        keep: the first ``keep`` codes are never marked.

    Returns:
        bool (n,): True where an earlier, unmarked code is a near-duplicate.

    >>> a = " ".join(f"x{i} = {i}" for i in range(20))
    >>> near_duplicates([a, a + " + 1", "y = 3", "y=3"]).tolist()
    [False, True, False, True]
    """
    marked = np.zeros(len(codes), dtype=bool)
    if not len(codes):
        return marked
    shingles, offsets = _shingles(codes)
    bands = _band_hashes(shingles, offsets)
    buckets: list[dict[int, list[int]]] = [{} for _ in range(_BANDS)]
    shared = _in_shared_bucket(bands)
    sets: dict[int, set[int]] = {}
    for index in np.flatnonzero(shared).tolist():
        hashes = bands[index].tolist()
        found = [bucket.get(value) for bucket, value in zip(buckets, hashes)]
        candidates = sorted({other for members in found if members for other in members})
        if candidates and index >= keep:
            own = set(shingles[offsets[index] : offsets[index + 1]].tolist())
            for other in candidates:
                theirs = sets.get(other)
                if theirs is None:
                    theirs = sets[other] = set(shingles[offsets[other] : offsets[other + 1]].tolist())
                common = len(own & theirs)
                if common >= threshold * (len(own) + len(theirs) - common):
                    marked[index] = True
                    break
        if not marked[index]:
            for bucket, value in zip(buckets, hashes):
                bucket.setdefault(value, []).append(index)
    return marked


def _shingles(codes: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of all shingles one code after the other, uint64, and where each code starts, (n + 1,)."""
    hashes, counts = [], []
    for first in range(0, len(codes), _BATCH):
        encoded = [code.encode() + _END for code in codes[first : first + _BATCH]]
        tokens, starts = _token_hashes(b"".join(encoded))
        ends = np.searchsorted(starts, np.cumsum([len(code) for code in encoded]))
        rolled = np.zeros(len(tokens) - SHINGLE + 1, dtype=np.uint64)
        for position in range(SHINGLE):
            rolled = rolled * _BASE + tokens[position : position + len(rolled)]
        inside = np.ones(len(tokens), dtype=bool)
        for back in range(1, SHINGLE):
            inside[ends - back] = False  # windows that would run into the next code
        hashes.append(rolled[inside[: len(rolled)]])
        counts.append(np.diff(ends, prepend=0) - (SHINGLE - 1))
    return np.concatenate(hashes), np.concatenate([[0], *counts]).cumsum()


def _token_hashes(text: bytes) -> tuple[np.ndarray, np.ndarray]:
    """A hash of every token (a run of word characters, or one other visible character) and where it starts.

    The hash is polynomial modulo 2^64: the sum of byte * base^position, divided by base^start.
    """
    data = np.frombuffer(text, dtype=np.uint8)
    word = _KIND[data] == _WORD
    start = _KIND[data] == _SIGN
    start[0] |= word[0]
    start[1:] |= word[1:] & ~word[:-1]
    starts = np.flatnonzero(start)
    values = _VALUE[data]
    values *= np.cumprod(np.full(len(data), _BASE, dtype=np.uint64))
    inverse = np.cumprod(np.full(len(data), pow(int(_BASE), -1, 2**64), dtype=np.uint64))
    hashes = np.add.reduceat(values, starts) * inverse[starts]
    hashes ^= hashes >> np.uint64(31)
    return hashes * _MIX, starts


def _band_hashes(shingles: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """MinHash signatures folded to one hash a band, uint64 (n, bands)."""
    odd = np.random.default_rng(1).integers(0, 2**63, (_BANDS, _ROWS, 2), dtype=np.uint64) * 2 + 1
    bands = np.zeros((len(offsets) - 1, _BANDS), dtype=np.uint64)
    for first in range(0, len(bands), _BATCH // 4):  # a batch stays in the processor's cache
        starts = offsets[first : min(first + _BATCH // 4, len(bands))]
        stop = offsets[min(first + _BATCH // 4, len(bands))]
        values = shingles[starts[0] : stop]
        for band, row in np.ndindex(_BANDS, _ROWS):
            mixed = values * odd[band, row, 0]
            mixed ^= mixed >> np.uint64(32)
            mixed *= odd[band, row, 1]
            low = np.minimum.reduceat(mixed, starts - starts[0])
            target = bands[first : first + len(starts), band]
            target *= _BASE
            target += low
    return bands


def _in_shared_bucket(bands: np.ndarray) -> np.ndarray:
    """True for the codes that share a band's hash with another one."""
    shared = np.zeros(len(bands), dtype=bool)
    for band in bands.T:
        _, inverse, counts = np.unique(band, return_inverse=True, return_counts=True)
        shared |= counts[inverse] > 1
    return shared
