"""What every reader returns: one row a recording, the labels in order, and facts about the source."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Items:
    """Recordings by name.

    Attributes:
        table: columns ``id``, ``patient``, ``split`` (train, valid or test), ``path``, ``labels`` (tuple of
            names), ``row`` (in the file that listed it), and whatever the source adds.
        labels: names of all labels, in order.
        facts: what the reading learned, for the validation report.
    """

    table: pd.DataFrame = field(repr=False)
    labels: list[str]
    facts: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.table)

    def targets(self) -> np.ndarray:
        """(N, C) uint8 of 0/1, columns as ``labels``."""
        place = {name: column for column, name in enumerate(self.labels)}
        found = np.zeros((len(self.table), len(self.labels)), dtype=np.uint8)
        for row, names in enumerate(self.table["labels"]):
            found[row, [place[name] for name in names]] = 1
        return found

    def only(self, ids: Collection[str]) -> Items:
        """The recordings with these ids, in the present order."""
        table = self.table[self.table["id"].isin(set(ids))].reset_index(drop=True)
        return replace(self, table=table)

    def label_counts(self) -> dict[str, dict[str, int]]:
        """Label -> positives in train, valid and test."""
        targets, splits = self.targets(), self.table["split"].to_numpy()
        parts = {split: targets[splits == split].sum(0) for split in ("train", "valid", "test")}
        return {
            label: {split: int(counts[c]) for split, counts in parts.items()}
            for c, label in enumerate(self.labels)
        }
