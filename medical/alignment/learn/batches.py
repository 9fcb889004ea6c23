"""Batches of items whose modalities may be missing."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from medical.alignment.augment import Augmentation, vary_films, vary_signals
from medical.alignment.prepared import Prepared
from medical.alignment.tokens import ReportTokenizer


class AlignmentSet:
    """The items of a split that have at least two modalities, as the batches of `Towers`.

    Args:
        prepared: the items. rows: of them. tokenizer: texts are turned into ids once, here.
        augmentation: None for none.
    """

    def __init__(
        self,
        prepared: Prepared,
        rows: np.ndarray,
        tokenizer: ReportTokenizer,
        *,
        augmentation: Augmentation | None = None,
    ) -> None:
        self.prepared, self.augmentation = prepared, augmentation
        self.rows = rows[prepared.present[rows].sum(1) >= 2]
        texts = prepared.table["text"].to_numpy()[self.rows]
        there = prepared.present[self.rows, 2]
        known = np.flatnonzero(there)
        ids, mask = (
            tokenizer([str(text) for text in texts[known]])
            if len(known)
            else (np.zeros((0, 1), np.int64),) * 2
        )
        self.ids = np.full((len(self.rows), ids.shape[1]), tokenizer.pad, dtype=np.int64)
        self.mask = np.zeros(self.ids.shape, dtype=bool)
        self.ids[known], self.mask[known] = ids, mask
        self.films = prepared.table["film"].to_numpy()[self.rows]
        self.signals = prepared.table["signal"].to_numpy()[self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, indices: list[int]) -> dict[str, Tensor]:
        """The batch of some items; films and ECGs that are not there are left at 0, and never read."""
        prepared, chosen = self.prepared, np.asarray(indices)
        present = prepared.present[self.rows[chosen]]
        films = np.zeros((len(chosen), *prepared.films.shape[1:]), np.uint8)
        signals = np.zeros((len(chosen), *prepared.signals.shape[1:]), np.float32)
        with_film, with_ecg = np.flatnonzero(present[:, 0]), np.flatnonzero(present[:, 1])
        films[with_film] = prepared.films[self.films[chosen[with_film]]]
        signals[with_ecg] = prepared.signals[self.signals[chosen[with_ecg]]]
        film, signal = torch.from_numpy(films), torch.from_numpy(signals)
        if self.augmentation is not None:
            film, signal = vary_films(film, self.augmentation), vary_signals(signal, self.augmentation)
        mask = self.mask[chosen]
        longest = max(1, int(mask.sum(1).max(initial=0)))
        return {
            "film": film,
            "signal": signal,
            "ids": torch.from_numpy(self.ids[chosen][:, :longest]),
            "mask": torch.from_numpy(mask[:, :longest]),
            "present": torch.from_numpy(present),
            "groups": torch.from_numpy(prepared.groups[self.rows[chosen]]),
        }


def same(batch: Any) -> Any:
    """What `AlignmentSet` makes is a batch already."""
    return batch
