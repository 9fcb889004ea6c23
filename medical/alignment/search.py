"""Search across modalities: a sentence, a film or an ECG asks for the films, ECGs or reports that fit it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from core.errors import DataError
from medical.alignment.evaluate import Embedded, embed
from medical.alignment.objective import MODALITIES
from medical.alignment.prepared import Prepared
from medical.alignment.space import Space

if TYPE_CHECKING:
    import pandas as pd


class Library:
    """Items of a collection, embedded once, to be searched by any modality for any other.

    Args:
        space: a trained space. prepared: the collection. split: which of its items; None for all.
    """

    def __init__(self, space: Space, prepared: Prepared, *, split: str | None = None) -> None:
        self.space, self.prepared = space, prepared
        self.rows = np.arange(len(prepared)) if split is None else prepared.rows(split)
        self.embedded: Embedded = embed(space, prepared, self.rows)

    def by_text(self, text: str, target: str, top: int = 5) -> pd.DataFrame:
        """Films (``xray``) or ECGs (``ecg``) that a sentence describes, the best first."""
        return self._answer({"text": self.space.embed_texts([text])}, target, top)

    def by_item(self, row: int, source: str, target: str, top: int = 5) -> pd.DataFrame:
        """What fits one modality of an item of the collection (by its row there); the item itself counts too.

        Raises:
            DataError: the item lacks the modality, or lies in another split.
        """
        place = np.flatnonzero(self.rows == row)
        if not len(place) or not self.embedded.present[place[0], MODALITIES.index(source)]:
            raise DataError(f"item {row}", seen=f"no {source} here", expected="an item that has it")
        return self._answer({source: self.embedded.rows[source][place]}, target, top)

    def _answer(self, query: dict[str, np.ndarray], target: str, top: int) -> pd.DataFrame:
        there = self.embedded.of((target,))
        if not len(there):
            raise DataError(f"search for {target}", seen="no item that has it", expected="at least one")
        scores = self.space.score(query, target, self.embedded.rows[target][there])[0]
        order = np.argsort(-scores, kind="stable")[:top]
        rows = self.rows[there[order]]
        found = self.prepared.table.iloc[rows][["id", "subject", "text"]].copy()
        found.insert(0, "score", scores[order])
        found.insert(0, "row", rows)
        for column, name in enumerate(self.prepared.labels):
            found[name] = self.prepared.targets[rows, column]
        return found.reset_index(drop=True)
