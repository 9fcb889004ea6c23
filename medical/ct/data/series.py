"""A series of parallel slices, wherever its pixels lie, and the tables that series are listed in."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from core.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["dicom", "nifti", "image"]
UNLABELLED = -1
GAP = 1.5
"""A distance above so many times the median one is a gap."""


@dataclass(frozen=True)
class Slice:
    """Where one slice lies: its file below the root (posix), the frame or plane in it, its place in mm."""

    path: str
    frame: int
    z_mm: float


@dataclass(frozen=True)
class Series:
    """Slices of one acquisition in one orientation, from feet to head.

    Attributes:
        uid: SeriesInstanceUID, or a name made from the path.
        patient: who must not straddle splits.
        kind: how the pixels are read: ``dicom``, ``nifti``, or ``image`` (eight bits already).
        oriented: whether the file says which side is which; see `medical.ct.data.pixels`.
        labels: one number a slice, -1 where unknown; empty where nothing is labelled.
        split: "" where it is to be drawn.
        facts: scanner, region, thickness_mm and such, for the report.
        channel: of a 4-D NIfTI file.
    """

    uid: str
    patient: str
    kind: Kind
    slices: tuple[Slice, ...] = field(repr=False)
    oriented: bool = True
    labels: tuple[int, ...] = field(default=(), repr=False)
    split: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    channel: int = -1

    @property
    def spacing_mm(self) -> float:
        """Median distance of neighbours, 0 where there is one slice."""
        steps = np.diff([one.z_mm for one in self.slices])
        return float(np.median(steps)) if len(steps) else 0.0


@dataclass(frozen=True)
class Problem:
    """Something that was found: the file or series, a short fixed word, the reason in words."""

    place: str
    kind: str
    reason: str


@dataclass
class Scan:
    """What the scan of a data set found: usable series, what was left out and why, what is worth knowing."""

    series: list[Series] = field(default_factory=list)
    rejected: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    checked: int = 0

    def extend(self, other: Scan) -> None:
        """Add what another scan found."""
        self.series += other.series
        self.rejected += other.rejected
        self.warnings += other.warnings
        self.checked += other.checked


def spacing_warnings(series: Series) -> list[Problem]:
    """Gaps and uneven distances of a series in order; hashing goes on, three-dimensional use must not."""
    steps = np.diff([one.z_mm for one in series.slices])
    if not len(steps):
        return []
    middle = float(np.median(steps))
    gaps = int((steps > GAP * middle).sum())
    found = []
    if gaps:
        missing = int(np.rint(steps[steps > GAP * middle] / middle - 1).sum())
        reason = f"{gaps} gap(s), about {missing} slice(s) missing; median distance {middle:g} mm"
        found.append(Problem(series.uid, "gap", reason))
    uneven = steps[steps <= GAP * middle]
    if len(uneven) and uneven.max() - uneven.min() > 0.1 * middle:
        reason = f"distances from {uneven.min():g} to {uneven.max():g} mm"
        found.append(Problem(series.uid, "variable_spacing", reason))
    return found


def slice_table(series: Sequence[Series]) -> pd.DataFrame:
    """One row a slice, in the order of series (by uid) and then of position.

    Columns: series, patient, split (str), slice (int, from 0 at the feet), z_mm (float), label (int), path
    (str, below the root), frame (int), kind (str), oriented (bool), channel (int).
    """
    import pandas as pd

    rows = [
        (one.uid, one.patient, one.split, number, place.z_mm, label, place.path, place.frame, one.kind,
         one.oriented, one.channel)
        for one in sorted(series, key=lambda one: one.uid)
        for number, (place, label) in enumerate(
            zip(one.slices, one.labels or (UNLABELLED,) * len(one.slices), strict=True)
        )
    ]  # fmt: skip
    names = ["series", "patient", "split", "slice", "z_mm", "label", "path", "frame", "kind", "oriented"]
    return pd.DataFrame(rows, columns=[*names, "channel"])


def series_table(series: Iterable[Series]) -> pd.DataFrame:
    """One row a series: uid, patient, split, kind, slices, spacing_mm, and the facts."""
    import pandas as pd

    return pd.DataFrame(
        [
            {
                "series": one.uid,
                "patient": one.patient,
                "split": one.split,
                "kind": one.kind,
                "slices": len(one.slices),
                "spacing_mm": round(one.spacing_mm, 4),
                "scanner": "",
                "region": "",
                **one.facts,
            }
            for one in sorted(series, key=lambda one: one.uid)
        ]
    )


def existing_folder(root: str | os.PathLike[str] | None) -> Path:
    """The folder as a path. Raises DataError where it is not one."""
    if root is None or not Path(root).is_dir():
        raise DataError("data.root", seen=root, expected="a folder", remedy="set data.root to your data")
    return Path(root)
