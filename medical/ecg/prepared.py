"""What the prepare stage writes and all later stages read: signals, targets, tables, branches."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.data.digest import digest_of
from core.errors import DataError
from core.files import atomic_directory, read_json, write_json
from medical.ecg.data.branches import assign_branches, label_slugs
from medical.ecg.data.items import Items
from medical.ecg.data.sources import load_signals
from medical.ecg.preprocess import Preprocessing, lead_statistics

if TYPE_CHECKING:
    import pandas as pd

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Prepared:
    """Attributes: signals (N, 12, T) preprocessed, a memory map; targets (N, C) uint8; table with id, patient,
    split and labels; labels of the model; branches: name -> its labels; left_out: labels without enough training
    recordings; preprocessing; facts: counts, digest, slugs.
    """

    signals: np.ndarray = field(repr=False)
    targets: np.ndarray = field(repr=False)
    table: pd.DataFrame = field(repr=False)
    labels: list[str]
    branches: dict[str, list[str]]
    left_out: list[str]
    preprocessing: Preprocessing
    facts: dict[str, Any]

    def rows(self, split: str) -> np.ndarray:
        """Row numbers of a split."""
        return np.flatnonzero(self.table["split"].to_numpy() == split)

    def subset(self, split: str, labels: Sequence[str] | None = None) -> Any:
        """A `SignalSet` of a split, with the targets of some labels (all by default)."""
        from medical.ecg.learn.batches import SignalSet

        columns = [self.labels.index(label) for label in (labels or self.labels)]
        return SignalSet(
            self.signals, self.targets[:, columns], self.table["patient"].tolist(), self.rows(split)
        )

    def truth(self, split: str) -> np.ndarray:
        """(n, C) targets of a split."""
        return self.targets[self.rows(split)]

    def of(self, split: str, column: str) -> list[Any]:
        """A column of the table for a split."""
        return self.table[column].iloc[self.rows(split)].tolist()


def prepare(
    items: Items,
    folder: str | os.PathLike[str],
    *,
    branches: dict[str, list[str]] | None,
    preprocessing: Preprocessing,
    standardise: bool = False,
    min_positives: int = 1,
    scheduler: str = "serial",
) -> None:
    """Read, conform and preprocess all items, and write the folder that `load_prepared` reads.

    Labels with fewer than ``min_positives`` training recordings cannot be learnt: they are left out and listed.

    Raises:
        DataError: no label is left, a split is empty, a label in no branch.
    """
    targets, splits = items.targets(), items.table["split"].tolist()
    empty = [split for split in SPLITS if split not in splits]
    if empty:
        raise DataError(
            f"no recording in split {', '.join(empty)}", remedy="set data.folds, or the split column"
        )
    counts = items.label_counts()
    kept = [label for label in items.labels if counts[label]["train"] >= min_positives]
    left_out = [label for label in items.labels if label not in kept]
    if not kept:
        raise DataError(
            "labels with training recordings",
            seen=0,
            expected="at least one",
            remedy="lower data.min_positives",
        )
    groups = assign_branches(kept, branches, kind=str(items.facts.get("label_set", "codes")))
    targets = targets[:, [items.labels.index(label) for label in kept]]
    with atomic_directory(folder) as target:
        shape = (len(items), 12, preprocessing.samples)
        signals = np.lib.format.open_memmap(target / "signals.npy", mode="w+", dtype=np.float32, shape=shape)
        load_signals(items.table["path"].tolist(), preprocessing.form, scheduler=scheduler, out=signals)
        for start in range(0, len(signals), 1024):
            signals[start : start + 1024] = preprocessing(signals[start : start + 1024])
        if standardise:
            train = np.flatnonzero(np.asarray(splits) == "train")
            mean, std = lead_statistics(signals[train])
            preprocessing = Preprocessing(**{**preprocessing.to_json(), "mean": mean, "std": std})
            for start in range(0, len(signals), 1024):
                block = signals[start : start + 1024]
                scaled = (block - np.array(mean, "f4")[:, None]) / np.array(std, "f4")[:, None]
                signals[start : start + 1024] = scaled
        signals.flush()
        np.save(target / "targets.npy", targets)
        table = items.table[["id", "patient", "split"]].copy()
        table["labels"] = [";".join(names) for names in items.table["labels"]]
        table.to_csv(target / "table.csv", index=False)
        facts = {
            "labels": kept,
            "left_out": {label: counts[label] for label in left_out},
            "counts": {label: counts[label] for label in kept},
            "slugs": label_slugs(kept),
            "branches": groups,
            "preprocessing": preprocessing.to_json(),
            "digest": digest_of(table, targets, preprocessing.to_json(), groups),
        }
        write_json(target / "prepared.json", facts)


def load_prepared(folder: str | os.PathLike[str]) -> Prepared:
    """Read what `prepare` wrote; signals stay on disk.

    Raises:
        DataError: files that do not belong together.
    """
    import pandas as pd

    home = Path(folder)
    facts = read_json(home / "prepared.json")
    signals = np.load(home / "signals.npy", mmap_mode="r")
    targets = np.load(home / "targets.npy")
    table = pd.read_csv(home / "table.csv", dtype=str, keep_default_na=False)
    if not len(signals) == len(targets) == len(table) or targets.shape[1] != len(facts["labels"]):
        raise DataError(
            f"{home}: signals, targets, table and labels",
            seen=(len(signals), targets.shape, len(table), len(facts["labels"])),
            expected="the same recordings and labels in all",
            remedy="run the prepare stage again",
        )
    table["labels"] = [tuple(filter(None, names.split(";"))) for names in table["labels"]]
    return Prepared(
        signals, targets, table, facts["labels"], facts["branches"], list(facts["left_out"]),
        Preprocessing.from_json(facts["preprocessing"]), facts,
    )  # fmt: skip
