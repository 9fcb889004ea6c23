"""What every reader returns: one row an item with up to three modalities, labels, and facts about the source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from core.data.splits import check_splits, group_split
from core.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

CHEXPERT = (
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Enlarged Cardiomediastinum", "Fracture",
    "Lung Lesion", "Lung Opacity", "No Finding", "Pleural Effusion", "Pleural Other", "Pneumonia", "Pneumothorax",
    "Support Devices",
)  # fmt: skip
COLUMNS = ("id", "subject", "split", "xray", "ecg", "xray_report", "ecg_report", "row")
Uncertain = Literal["ignore", "one", "zero"]


@dataclass(frozen=True)
class Items:
    """Items by name.

    Attributes:
        table: columns ``id``, ``subject`` (patient), ``split``, ``xray`` and ``ecg`` (absolute paths, "" where
            missing), ``xray_report`` and ``ecg_report`` (cleaned texts, "" where missing), ``row`` (in the file
            that listed it).
        labels: names of the findings.
        targets: (N, C) float32: 1 present, 0 absent, -1 uncertain, NaN not known.
        facts: what the reading learned, for the validation report.
    """

    table: pd.DataFrame = field(repr=False)
    labels: list[str]
    targets: np.ndarray = field(repr=False)
    facts: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        missing = [name for name in COLUMNS if name not in self.table]
        if missing or self.targets.shape != (len(self.table), len(self.labels)):
            raise DataError("items", seen=(missing, self.targets.shape), expected=f"the columns {COLUMNS}")

    def __len__(self) -> int:
        return len(self.table)


def make_items(
    rows: Sequence[Mapping[str, Any]],
    labels: Sequence[str],
    targets: np.ndarray,
    *,
    fractions: Mapping[str, float],
    seed: int,
    facts: Mapping[str, Any],
    where: str,
) -> Items:
    """Items from rows; those of patients whose rows name no split get one by patient.

    Raises:
        DataError: no row, or a patient in two splits.
    """
    import pandas as pd

    if not rows:
        raise DataError(f"{where}: no item was found", expected="films, ECGs or reports of one patient")
    table = pd.DataFrame(list(rows))
    named = table["split"] != ""
    check_splits(table["subject"][named].tolist(), table["split"][named].tolist())
    known = dict(zip(table["subject"][named], table["split"][named]))
    free = sorted(set(table["subject"]) - set(known))
    if free and known and len(free) < len(fractions):
        known |= dict.fromkeys(free, next(iter(fractions)))
    elif free:
        known |= dict(zip(free, group_split(free, fractions, seed)))
    table["split"] = [known[subject] for subject in table["subject"]]
    return Items(table, list(labels), np.asarray(targets, dtype=np.float32), dict(facts))


def resolve_uncertain(targets: np.ndarray, policy: Uncertain) -> np.ndarray:
    """-1 (uncertain) as NaN, 1 or 0.

    >>> resolve_uncertain(np.array([[-1.0, 1.0]]), "zero").tolist()
    [[0.0, 1.0]]
    """
    value = {"ignore": np.nan, "one": 1.0, "zero": 0.0}[policy]
    return np.where(targets == -1, value, targets).astype(np.float32)
