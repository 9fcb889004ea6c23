"""How alike items are, in the way the space was trained: cosine, multilinear product, or volume.

A space says nothing by any other measure: GRAM's volume is blind to signs, so that vectors of one item may point in
opposite directions, and Symile's vectors need not be alike at all. Everything that compares vectors of a space goes
through these functions, by way of the methods of `medical.alignment.space.Space` with the same names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from core.errors import DataError
from medical.alignment.objective import MODALITIES

if TYPE_CHECKING:
    from torch import Tensor

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
        shape = (len(query[names[0]]), candidates.shape[1])
        parts = [
            query[name] if name in query else np.broadcast_to(missing[place], shape)
            for place, name in enumerate(MODALITIES)
            if name != target
        ]
        # unit vectors of width d have products of about 1 / sqrt(d)
        return products(candidates, parts) * np.sqrt(candidates.shape[1])
    return -volumes(candidates, [query[name] for name in names])


def likeness(
    method: str, query: Rows, cases: np.ndarray, present: np.ndarray, *, missing: np.ndarray | None = None
) -> np.ndarray:
    """How alike items are to whole cases, whatever either has, (N, C).

    The mean over the modalities of a case: one that the query has too is compared with its own kind (cosine; for
    ``gram`` minus the volume), any other by `score`, divided by the terms that it sums.

    Args:
        query: modality -> (N, d) unit rows. cases: (C, 3, d) unit rows, anything where missing. present: (C, 3) bool,
            at least one True a row. method, missing: see `score`.

    >>> eye = np.eye(3)
    >>> cases = np.stack([eye, eye, eye], axis=1)
    >>> likeness("pairwise", {"text": eye[:1]}, cases, np.ones((3, 3), dtype=bool)).tolist()
    [[1.0, 0.0, 0.0]]
    """
    total = np.zeros((len(next(iter(query.values()))), len(cases)))
    for place, name in enumerate(MODALITIES):
        rows = cases[:, place]
        if name in query:
            found = -volumes(rows, [query[name]]) if method == "gram" else query[name] @ rows.T
        else:
            terms = len(query) if method in ("more", "pairwise") else 1
            found = score(method, query, name, rows, missing=missing) / terms
        total += np.where(present[:, place], found, 0.0)
    return np.asarray(total / present.sum(axis=1))


def towards(
    method: str,
    name: str,
    other: str,
    vector: np.ndarray,
    *,
    own: np.ndarray | None = None,
    missing: np.ndarray | None = None,
) -> np.ndarray:
    """(d,) that an embedding of ``name`` is multiplied with to see how well it fits a vector of ``other``.

    What maps and attributions explain is linear in the embedding: the cosine itself; for ``symile`` the product with
    the embedding of absence in the third place; for ``gram`` the cosine with the sign that makes it positive for
    ``own``, because a small volume says no more than that.

    >>> towards("gram", "xray", "text", np.array([1.0, 0.0]), own=np.array([-0.6, 0.8])).tolist()
    [-1.0, -0.0]
    """
    if method == "symile":
        if missing is None:
            raise DataError("symile: embeddings of absence", seen=None, expected="(3, d)")
        (third,) = (place for place, one in enumerate(MODALITIES) if one not in (name, other))
        return np.asarray(vector * missing[third] * np.sqrt(len(vector)))
    if method == "gram" and own is not None and float(own @ vector) < 0:
        return -vector
    return vector


def volumes(candidates: np.ndarray, parts: list[np.ndarray]) -> np.ndarray:
    """(N, C) volume of each tuple (parts_i) with each candidate; see `core.objectives.gram.gram_volume`."""
    from core.objectives.gram import gram_volume

    first, *rest = _tensors([candidates, *parts])
    return gram_volume(first, rest).T.numpy()


def products(candidates: np.ndarray, parts: list[np.ndarray]) -> np.ndarray:
    """(N, C) multilinear product of each tuple with each candidate; see `core.objectives.symile.symile_similarity`."""
    from core.objectives.symile import symile_similarity

    first, *rest = _tensors([candidates, *parts])
    return symile_similarity(first, rest).numpy()


def _tensors(parts: list[np.ndarray]) -> list[Tensor]:
    import torch

    return [torch.from_numpy(np.array(part, dtype=np.float32)) for part in parts]


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1; a zero row stays zero."""
    length = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / np.where(length > 0, length, 1.0))
