"""Retrieval: rank of the right candidate, MRR, recall at k, mean average precision, with stated tie rules.

Ties. A rank counts the candidates that score higher, and of those that tie with the right one half
(``average``), none (``optimistic``) or all (``pessimistic``). Average precision puts ties in the order
that is worst for the query. A constant scorer therefore never looks good.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np

from core.errors import ConfigError, DataError
from core.evaluation.bootstrap import bootstrap_interval

__all__ = [
    "average_precision",
    "bootstrap_interval",
    "map_at_r",
    "ranks",
    "ranks_streaming",
    "reciprocal",
    "retrieval_metrics",
]

Ties = Literal["average", "optimistic", "pessimistic"]
CHUNK_BYTES = 2**26  # 64 MiB of similarities at a time


def ranks(similarity: Any, relevant: Any, ties: Ties = "average") -> np.ndarray:
    """Rank (from 1) of the relevant candidate of each query.

    Args:
        similarity: (Q, C) scores, higher is better; an array or a tensor, finite.
        relevant: (Q,) index of the right candidate; -1 where it is not among the candidates (rank inf).
        ties: see the module.

    Returns:
        (Q,) float64 ranks; halves under ``average``.

    Raises:
        DataError: shapes that do not fit, an index out of range, NaN scores.

    >>> ranks([[0.9, 0.1, 0.5], [0.2, 0.2, 0.1]], [2, 0]).tolist()
    [2.0, 1.5]
    """
    scores, target = _array(similarity), _array(relevant).astype(np.int64)
    if scores.ndim != 2 or target.shape != scores.shape[:1]:
        raise DataError(
            "retrieval: (similarity, relevant)", seen=(scores.shape, target.shape), expected="(Q, C) and (Q,)"
        )
    if target.size and (target.max() >= scores.shape[1] or target.min() < -1):
        raise DataError(
            "retrieval: relevant index", seen=(int(target.min()), int(target.max())),
            expected=f"-1 (absent) to {scores.shape[1] - 1}",
        )  # fmt: skip
    if np.isnan(scores).any():
        raise DataError(
            "retrieval: similarity", seen=f"{int(np.isnan(scores).sum())} NaN", expected="numbers"
        )
    if ties not in ("average", "optimistic", "pessimistic"):
        raise ConfigError("retrieval: ties", seen=ties, expected="average, optimistic or pessimistic")
    if not scores.size:
        return np.full(target.shape, np.inf)
    own = np.take_along_axis(scores, np.maximum(target, 0)[:, None], axis=1)
    higher = np.count_nonzero(scores > own, axis=1)
    equal = np.count_nonzero(scores == own, axis=1) - 1
    result = 1.0 + higher + {"average": 0.5, "optimistic": 0.0, "pessimistic": 1.0}[ties] * equal
    result[target < 0] = np.inf
    return result


def ranks_streaming(
    queries: Any, candidates: Any, relevant: Any, ties: Ties = "average", *, chunk: int | None = None
) -> np.ndarray:
    """``ranks`` of the dot products of (Q, d) queries and (C, d) candidates, without the (Q, C) matrix.

    ``chunk`` queries at a time; by default as many as keep the similarities within 64 MiB (15,000 x
    44,000 runs in about 100 MiB). Give unit rows for cosine.

    >>> ranks_streaming(np.eye(3), np.eye(3), [0, 1, 0]).tolist()
    [1.0, 1.0, 2.5]
    """
    left, right = _pair(queries, candidates)
    target = _array(relevant)
    parts = [
        ranks(block, target[start : start + len(block)], ties) for start, block in _blocks(left, right, chunk)
    ]
    return np.concatenate(parts) if parts else np.empty(0)


def reciprocal(rank: Any, cutoff: int | None = None) -> np.ndarray:
    """1 / rank, and 0 where the rank is infinite or beyond ``cutoff``.

    >>> reciprocal([1, 4, float("inf")], cutoff=3).tolist()
    [1.0, 0.0, 0.0]
    """
    values = np.asarray(rank, dtype=np.float64)
    return np.where(values <= (np.inf if cutoff is None else cutoff), 1.0 / values, 0.0)


def retrieval_metrics(
    rank: Any, cutoffs: Sequence[int] = (1, 5, 10), *, mrr_cutoff: int | None = None
) -> dict[str, float]:
    """Mean reciprocal rank and recall at each cutoff: ``{"mrr": ..., "r@1": ..., ...}``, all in [0, 1].

    A query without its candidate (rank inf) counts as 0 and stays in the mean. ``mrr_cutoff`` sets
    reciprocal ranks beyond it to 0 (CodeSearchNet's scripts: 1000).

    >>> retrieval_metrics([1, 2, 20], cutoffs=(1, 10))
    {'mrr': 0.5166666666666667, 'r@1': 0.3333333333333333, 'r@10': 0.6666666666666666}
    """
    values = np.asarray(rank, dtype=np.float64)
    if values.size == 0:
        raise DataError("retrieval: no query", expected="at least one", remedy="check the evaluation split")
    result = {"mrr": float(reciprocal(values, mrr_cutoff).mean())}
    return result | {f"r@{k}": float((values <= k).mean()) for k in cutoffs}


def average_precision(similarity: Any, relevance: Any) -> np.ndarray:
    """Average precision of each query; candidates that tie are ordered worst first.

    Args:
        similarity: (Q, C) scores.
        relevance: (Q, C) bool; a query with no relevant candidate gets NaN (leave it out of the mean, and
            say so).

    >>> average_precision([[0.9, 0.8, 0.1]], [[True, False, True]]).round(3).tolist()
    [0.833]
    """
    scores, right = _array(similarity), _array(relevance).astype(bool)
    if scores.ndim != 2 or scores.shape != right.shape:
        raise DataError(
            "retrieval: (similarity, relevance)", seen=(scores.shape, right.shape), expected="both (Q, C)"
        )
    hits = np.take_along_axis(right, _order(scores, right), axis=1)
    precision = np.cumsum(hits, axis=1) / np.arange(1, hits.shape[1] + 1)
    count = right.sum(axis=1)
    with np.errstate(invalid="ignore"):
        return np.where(count > 0, (precision * hits).sum(axis=1) / count, np.nan)


def map_at_r(vectors: Any, labels: Any, *, chunk: int | None = None) -> np.ndarray:
    """Average precision within the top R of each item among the others, R = number of others of its label.

    AP@R = 1/R sum_{k<=R} hit_k precision@k (Musgrave et al., "A Metric Learning Reality Check", 2020; the
    POJ-104 score). The item itself is left out; ties are ordered worst first.

    Args:
        vectors: (N, d), unit rows for cosine.
        labels: (N,).

    Returns:
        (N,) float64 in [0, 1]; NaN for an item that is alone in its class. The mean that ignores NaN is
        MAP@R.

    >>> map_at_r([[1, 0], [1, 0.1], [0, 1]], ["a", "a", "b"]).tolist()
    [1.0, 1.0, nan]
    """
    rows, _ = _pair(vectors, vectors)
    classes = _array(labels)
    if classes.shape != rows.shape[:1]:
        raise DataError(
            "retrieval: (vectors, labels)", seen=(rows.shape, classes.shape), expected="(N, d) and (N,)"
        )
    code = np.unique(classes, return_inverse=True)[1]
    others = np.bincount(code)[code] - 1
    result = np.full(len(rows), np.nan)
    for start, block in _blocks(rows, rows, chunk):
        index = np.arange(start, start + len(block))
        same = code[index][:, None] == code[None, :]
        block[np.arange(len(block)), index] = -np.inf
        same[np.arange(len(block)), index] = False
        hits = np.take_along_axis(same, _order(block, same), axis=1)
        within = np.arange(hits.shape[1]) < others[index][:, None]
        precision = np.cumsum(hits, axis=1) / np.arange(1, hits.shape[1] + 1)
        total = (precision * (hits & within)).sum(axis=1)
        known = others[index] > 0
        result[index[known]] = total[known] / others[index][known]
    return result


def _order(scores: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Columns by falling score; among equals the wrong ones first."""
    return np.lexsort((right, -scores), axis=1)


def _blocks(left: np.ndarray, right: np.ndarray, chunk: int | None) -> Iterator[tuple[int, np.ndarray]]:
    size = chunk or max(1, CHUNK_BYTES // max(1, len(right) * left.dtype.itemsize))
    for start in range(0, len(left), size):
        yield start, left[start : start + size] @ right.T


def _pair(queries: Any, candidates: Any) -> tuple[np.ndarray, np.ndarray]:
    left, right = _array(queries), _array(candidates)
    if left.ndim != 2 or right.ndim != 2 or left.shape[1] != right.shape[1]:
        raise DataError(
            "retrieval: (queries, candidates)", seen=(left.shape, right.shape), expected="(Q, d) and (C, d)"
        )
    if left.dtype.kind != "f" or left.dtype.itemsize < 4:
        left, right = left.astype(np.float32), right.astype(np.float32)
    return left, right.astype(left.dtype, copy=False)


def _array(value: Any) -> np.ndarray:
    """A numpy view of an array, a list or a tensor on any device."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = value.float() if str(value.dtype) in ("torch.bfloat16", "torch.float16") else value
    return np.asarray(value)
