"""How alike items are, in the way the space was trained: cosine, multilinear product, or volume.

A space says nothing by any other measure: GRAM's volume is blind to signs, so that vectors of one item may point in
opposite directions, and Symile's vectors need not be alike at all. Everything that compares vectors of a space goes
through these functions, by way of the methods of `medical.alignment.space.Space` with the same names.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np

from core.errors import DataError
from medical.alignment.objective import MODALITIES

Rows = Mapping[str, np.ndarray]


def score(
    method: str,
    query: Rows,
    target: str,
    candidates: np.ndarray,
    *,
    missing: np.ndarray | None = None,
    signs: np.ndarray | None = None,
) -> np.ndarray:
    """Scores of candidates of one modality for queries that have one or both of the others, (N, C).

    ``more`` and ``pairwise``: the sum of the cosines with what the query has. ``symile``: the sum over the space of
    the product of all three, with the learned embedding of absence for a modality that the query lacks. ``gram``: the
    length of the candidate's projection on what the query spans, which falls as their volume grows; negative where
    ``signs`` says that the candidate points the wrong way.

    Args:
        method: the objective of the space.
        query: modality -> (N, d) unit rows, all for the same N items.
        target: the modality of the candidates. candidates: (C, d) unit rows.
        missing: (3, d) unit rows, for ``symile``. signs: (3, 3), for ``gram``, see `pair_signs`.

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
    known = {} if signs is None else dict(zip(MODALITIES, signs[MODALITIES.index(target)], strict=True))
    lean = sum(known.get(name, 0) * (query[name] @ candidates.T) for name in names)
    return np.where(lean < 0, -1.0, 1.0) * projections(candidates, [query[name] for name in names])


def pair_signs(rows: np.ndarray, present: np.ndarray, *, agree: float = 0.9, least: int = 8) -> np.ndarray:
    """(3, 3) of 1, -1 and 0: which way two modalities of one item point, where nearly all items say the same.

    GRAM's loss leaves it open, training settles it, and it matters for what is no report: a sentence alone lies
    elsewhere than whole reports, its cosines may all have the other sign, and the smallest volume is then the worst
    fit.

    Args:
        rows: (N, 3, d) unit rows of items. present: (N, 3) bool.
        agree: share of the items that must have the sign. least: fewest items to tell from.

    >>> pair_signs(np.eye(8)[:, None] * np.array([1, 1, -1])[:, None], np.ones((8, 3), dtype=bool)).tolist()
    [[0, 1, -1], [1, 0, -1], [-1, -1, 0]]
    """
    found = np.zeros((3, 3), dtype=np.int64)
    for a, b in combinations(range(3), 2):
        both = present[:, a] & present[:, b]
        cosines = np.einsum("nd,nd->n", rows[both, a], rows[both, b])
        for sign in (1, -1):
            if len(cosines) >= least and (sign * cosines > 0).mean() >= agree:
                found[a, b] = found[b, a] = sign
    return found


def likeness(
    method: str,
    query: Rows,
    cases: np.ndarray,
    present: np.ndarray,
    *,
    missing: np.ndarray | None = None,
    signs: np.ndarray | None = None,
) -> np.ndarray:
    """How alike items are to whole cases, whatever either has, (N, C).

    The mean over the modalities of a case: one that the query has too is compared with its own kind by the cosine
    (for ``gram`` without its sign, as long as that means nothing), any other by `score`, divided by its terms.

    Args:
        query: modality -> (N, d) unit rows. cases: (C, 3, d) unit rows, anything where missing. present: (C, 3) bool,
            at least one True a row. method, missing, signs: see `score`.

    >>> eye = np.eye(3)
    >>> cases = np.stack([eye, eye, eye], axis=1)
    >>> likeness("pairwise", {"text": eye[:1]}, cases, np.ones((3, 3), dtype=bool)).tolist()
    [[1.0, 0.0, 0.0]]
    """
    total = np.zeros((len(next(iter(query.values()))), len(cases)))
    for place, name in enumerate(MODALITIES):
        rows = cases[:, place]
        if name in query:
            found = query[name] @ rows.T
            if method == "gram" and (signs is None or not signs[place].any()):
                found = np.abs(found)
        else:
            terms = len(query) if method in ("more", "pairwise") else 1
            found = score(method, query, name, rows, missing=missing, signs=signs) / terms
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
    signs: np.ndarray | None = None,
) -> np.ndarray:
    """(d,) that an embedding of ``name`` is multiplied with to see how well it fits a vector of ``other``.

    What maps and attributions explain is linear in the embedding: the cosine itself; for ``symile`` the product with
    the embedding of absence in the third place; for ``gram`` the cosine with the sign of these two modalities, or,
    where they have none, with the one that makes it positive for ``own``.

    >>> towards("gram", "xray", "text", np.array([1.0, 0.0]), own=np.array([-0.6, 0.8])).tolist()
    [-1.0, -0.0]
    """
    if method == "symile":
        if missing is None:
            raise DataError("symile: embeddings of absence", seen=None, expected="(3, d)")
        (third,) = (place for place, one in enumerate(MODALITIES) if one not in (name, other))
        return np.asarray(vector * missing[third] * np.sqrt(len(vector)))
    if method != "gram":
        return vector
    sign = 0 if signs is None else int(signs[MODALITIES.index(name), MODALITIES.index(other)])
    if sign == 0 and own is not None:
        sign = -1 if float(own @ vector) < 0 else 1
    return -vector if sign < 0 else vector


def projections(candidates: np.ndarray, parts: list[np.ndarray]) -> np.ndarray:
    """(N, C) length of each candidate's projection on the span of each tuple (parts_i), in 0..1.

    With V the volume of tuple and candidate and W that of the tuple alone it is sqrt(1 - (V / W)^2).
    """
    basis: list[np.ndarray] = []
    total = np.zeros((len(parts[0]), len(candidates)))
    for part in parts:
        rest = part - sum((part * one).sum(1, keepdims=True) * one for one in basis)
        length = np.linalg.norm(rest, axis=1, keepdims=True)
        basis.append(np.where(length > 1e-4, rest / np.maximum(length, 1e-12), 0.0))
        total += np.square(basis[-1] @ candidates.T)
    return np.asarray(np.sqrt(total.clip(0, 1)))


def products(candidates: np.ndarray, parts: list[np.ndarray]) -> np.ndarray:
    """(N, C) multilinear product of each tuple with each candidate; see `core.objectives.symile.symile_similarity`."""
    import torch

    from core.objectives.symile import symile_similarity

    first, *rest = (torch.from_numpy(np.array(part, dtype=np.float32)) for part in (candidates, *parts))
    return symile_similarity(first, rest).numpy()


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1; a zero row stays zero."""
    length = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / np.where(length > 0, length, 1.0))
