"""How alike items are, in the way the space was trained: cosine, multilinear product, or volume."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from core.errors import DataError
from medical.alignment.objective import MODALITIES

Rows = Mapping[str, np.ndarray]


def score(
    method: str, query: Rows, target: str, candidates: np.ndarray, *, missing: np.ndarray | None = None
) -> np.ndarray:
    """Scores of candidates of one modality for queries that have one or both of the others, (N, C).

    ``more`` and ``pairwise``: the sum of the cosines with what the query has. ``symile``: the sum over the space of
    the product of all three, with the learned embedding of absence for a modality that the query lacks. ``gram``:
    minus the volume that query and candidate span.

    Args:
        method: the objective of the space.
        query: modality -> (N, d) unit rows, all for the same N items.
        target: the modality of the candidates. candidates: (C, d) unit rows.
        missing: (3, d) unit rows, for ``symile``.

    Raises:
        DataError: no modality in the query, or the target among them.

    >>> eye = np.eye(2)
    >>> score("more", {"xray": eye, "ecg": eye}, "text", eye).tolist()
    [[2.0, 0.0], [0.0, 2.0]]
    """
    names = [name for name in MODALITIES if name in query]
    if not names or target in names or target not in MODALITIES or len(names) != len(query):
        raise DataError(
            "query modalities", seen=list(query), expected=f"one or two of {MODALITIES}, not {target}"
        )
    if method in ("more", "pairwise"):
        return np.asarray(sum(query[name] @ candidates.T for name in names))
    if method == "symile":
        if missing is None:
            raise DataError("symile: embeddings of absence", seen=None, expected="(3, d)")
        product = np.ones_like(candidates[:1])
        for place, name in enumerate(MODALITIES):
            if name != target:
                product = product * (query[name] if name in query else missing[place][None])
        # unit vectors of width d have products of about 1 / sqrt(d)
        return np.asarray(product @ candidates.T * np.sqrt(candidates.shape[1]))
    return -volumes(candidates, [query[name] for name in names])


def volumes(candidates: np.ndarray, parts: list[np.ndarray]) -> np.ndarray:
    """(N, C) volume of each tuple (parts_i) with each candidate; see `core.objectives.gram.gram_volume`."""
    import torch

    from core.objectives.gram import gram_volume

    rows = [torch.from_numpy(np.ascontiguousarray(part, dtype=np.float32)) for part in (candidates, *parts)]
    return gram_volume(rows[0], rows[1:]).T.numpy()


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1; a zero row stays zero."""
    length = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / np.where(length > 0, length, 1.0))
