"""SemDeDup-style reduction: k-means over embeddings, then duplicates by cosine inside each cluster.

Abbas et al., "SemDeDup", 2023, arXiv 2303.09540. The paper keeps one item of each group of duplicates; its
published code removes every item that has an earlier neighbour above the threshold, even where that one is
itself removed, so that a chain of neighbours loses all but its first. Both are here, by name.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from core.errors import ConfigError, DataError
from medical.ct.greedy import Greedy, greedy
from medical.ct.hamming import members
from medical.ct.similarity import Cosine


def cosine_greedy(embeddings: Any, epsilon: float, clusters: Any = None, *, panel: int = 64) -> Greedy:
    """Keep an embedding where its cosine to every kept one (of its cluster) is at most 1 - epsilon.

    Args:
        embeddings: (n, d), made unit here.
        epsilon: in (0, 2).
        clusters: (n,) labels, compared within each; None compares all.

    Returns:
        keep, representative, score (the cosine to it).

    >>> cosine_greedy(np.array([[1.0, 0.0], [1.0, 0.01], [0.0, 1.0]]), 0.05).keep.tolist()
    [0, 2]
    """
    if not 0 < epsilon < 2:
        raise ConfigError("epsilon", seen=epsilon, expected="a number between 0 and 2")
    cosine = Cosine(embeddings)
    n = len(cosine.rows)
    parts = [np.arange(n)] if clusters is None else members(np.asarray(clusters))
    representative, score = np.empty(n, np.int64), np.empty(n)
    for rows in parts:
        found = greedy(
            len(rows),
            lambda a, b, rows=rows: cosine.measure(rows[a], rows[b]),  # type: ignore[misc]
            lambda values: values > 1 - epsilon,
            panel=panel,
        )
        representative[rows], score[rows] = rows[found.representative], found.score
    return Greedy(np.flatnonzero(representative == np.arange(n)), representative, score)


def chained_removal(embeddings: Any, clusters: Any, epsilon: float) -> np.ndarray:
    """What the published SemDeDup code removes, (n,) bool: any earlier neighbour in the cluster is enough.

    >>> line = np.array([[1.0, 0.0], [0.98, 0.2], [0.92, 0.39]])
    >>> chained_removal(line, [0, 0, 0], 0.05).tolist(), cosine_greedy(line, 0.05).keep.tolist()
    ([False, True, True], [0, 2])
    """
    cosine = Cosine(embeddings)
    removed = np.zeros(len(cosine.rows), bool)
    for rows in members(np.asarray(clusters)):
        for start in range(0, len(rows), 1024):
            part = np.arange(start, min(start + 1024, len(rows)))
            values = cosine.measure(rows[part], rows)
            earlier = np.arange(len(rows))[None] < part[:, None]
            removed[rows[part]] = (earlier & (values > 1 - epsilon)).any(axis=1)
    return removed


def spherical_clusters(embeddings: Any, count: int, seed: int = 0, rounds: int = 20) -> np.ndarray:
    """Cluster number of each embedding, (n,) int64: k-means on the unit sphere, by faiss.

    Args:
        count: clusters, cut to n / 2 so that clusters have something to compare.
    """
    import faiss

    rows = np.ascontiguousarray(Cosine(embeddings).rows, dtype=np.float32)
    if len(rows) == 0:
        raise DataError("clusters of no embeddings", expected="at least one row")
    count = max(1, min(count, len(rows) // 2))
    kmeans = faiss.Kmeans(
        rows.shape[1], count, niter=rounds, seed=seed, spherical=True, min_points_per_centroid=1
    )
    kmeans.train(rows)
    _, nearest = kmeans.index.search(rows, 1)
    return np.asarray(nearest[:, 0], dtype=np.int64)
