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
from medical.alignment.scores import Rows, unit
from medical.alignment.space import Space


@dataclass(frozen=True)
class Cases:
    """``vectors``: (n, 3, d) unit rows, three a case, 0 where missing; ``ids`` and ``present`` (n, 3) beside them."""

    vectors: np.ndarray = field(repr=False)
    present: np.ndarray = field(repr=False)
    ids: list[str]

    def nearest(self, space: Space, query: Rows, top: int) -> list[dict[str, Any]]:
        """The ``top`` most similar cases, as the space compares (`medical.alignment.scores.likeness`).

        Args:
            query: modality -> (1, d), one or more of the three.

        Returns:
            ``[{"id", "score", "modalities"}]``, the most similar first.
        """
        scores = space.likeness(query, self.vectors, self.present)[0]
        order = np.argsort(-scores, kind="stable")[:top]
        return [
            {
                "id": self.ids[k],
                "score": float(scores[k]),
                "modalities": "+".join(m for m, on in zip(MODALITIES, self.present[k], strict=True) if on),
            }
            for k in order
        ]


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
    with atomic_directory(folder) as target:
        tensors = {"vectors": torch.from_numpy(found.stack()), "present": torch.from_numpy(found.present)}
        digest = save_weights(target / "cases.safetensors", tensors)
        ids = prepared.table["id"].iloc[rows].tolist()
        write_json(target / "cases.json", {"ids": ids, "weights_sha256": digest})
    return Path(folder)


def load_cases(folder: str | os.PathLike[str]) -> Cases:
    """Read what `save_cases` wrote."""
    from core.tracking.weights import load_weights

    home = Path(folder)
    facts = read_json(home / "cases.json")
    tensors = load_weights(home / "cases.safetensors", facts["weights_sha256"])
    return Cases(tensors["vectors"].numpy(), tensors["present"].numpy(), facts["ids"])
