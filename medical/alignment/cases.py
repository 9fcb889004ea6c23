"""Known cases that travel with a served model: their vectors and ids, and the search among them."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from core.files import atomic_directory, read_json, write_json
from medical.alignment.evaluate import embed
from medical.alignment.objective import MODALITIES
from medical.alignment.prepared import Prepared
from medical.alignment.scores import unit
from medical.alignment.space import Space


@dataclass(frozen=True)
class Cases:
    """``vectors``: (n, d) unit rows, one a case; ``ids`` and ``present`` (names of the modalities) beside them."""

    vectors: np.ndarray = field(repr=False)
    ids: list[str]
    present: list[str]

    def nearest(self, vector: np.ndarray, top: int) -> list[dict[str, Any]]:
        """The ``top`` most similar cases by cosine: ``[{"id", "score", "modalities"}]``."""
        scores = self.vectors @ vector
        order = np.argsort(-scores, kind="stable")[:top]
        return [{"id": self.ids[k], "score": float(scores[k]), "modalities": self.present[k]} for k in order]


def fuse(rows: np.ndarray, present: np.ndarray) -> np.ndarray:
    """(n, 3, d) unit rows and (n, 3) -> (n, d): the unit mean of what each item has.

    >>> fuse(np.ones((1, 3, 2)), np.array([[True, False, True]])).round(3).tolist()
    [[0.707, 0.707]]
    """
    return unit((rows * present[..., None]).sum(axis=1))


def save_cases(space: Space, prepared: Prepared, folder: str | os.PathLike[str], *, split: str) -> Path:
    """Write the cases of a split; returns the folder."""
    import torch

    from core.tracking.weights import save_weights

    rows = prepared.rows(split)
    rows = rows[prepared.present[rows].any(axis=1)]
    found = embed(space, prepared, rows)
    names = ["+".join(m for m, on in zip(MODALITIES, one, strict=True) if on) for one in found.present]
    with atomic_directory(folder) as target:
        vectors = torch.from_numpy(fuse(found.stack(), found.present))
        digest = save_weights(target / "cases.safetensors", {"vectors": vectors})
        ids = prepared.table["id"].iloc[rows].tolist()
        write_json(target / "cases.json", {"ids": ids, "present": names, "weights_sha256": digest})
    return Path(folder)


def load_cases(folder: str | os.PathLike[str]) -> Cases:
    """Read what `save_cases` wrote."""
    from core.tracking.weights import load_weights

    home = Path(folder)
    facts = read_json(home / "cases.json")
    vectors = load_weights(home / "cases.safetensors", facts["weights_sha256"])["vectors"].numpy()
    return Cases(vectors, facts["ids"], facts["present"])
