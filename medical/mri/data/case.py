"""What every reader gives: cases (a volume, perhaps with its mask) and the structures that masks may hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from core.data.splits import group_split
from core.errors import DataError

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Case:
    """One volume.

    Attributes:
        id: unique name.
        group: the patient; all volumes of a group lie in one split.
        image: NIfTI file.
        label: NIfTI mask, or "" where there is none (it can still be pretrained on).
        split: train, valid or test; "" where it is to be drawn.
        channel: which entry of a 4D file's last axis; None for 3D files.
        row: in the manifest, for messages.
    """

    id: str
    group: str
    image: str
    label: str = ""
    split: str = ""
    channel: int | None = None
    row: int | None = None


@dataclass(frozen=True)
class Listing:
    """What a reader found.

    Attributes:
        cases: in the order of their ids.
        structures: names of classes 1, 2, ...
        label_map: value in a mask file -> class; values not named are strays.
        facts: what else is worth knowing, for the validation report.
    """

    cases: tuple[Case, ...]
    structures: tuple[str, ...]
    label_map: Mapping[int, int]
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def classes(self) -> int:
        """Number of classes, the background included."""
        return len(self.structures) + 1


def identity_map(structures: int) -> dict[int, int]:
    """The label map of masks that hold the classes themselves.

    >>> identity_map(2)
    {0: 0, 1: 1, 2: 2}
    """
    return {value: value for value in range(structures + 1)}


def draw_splits(listing: Listing, fractions: Mapping[str, float], seed: int = 0) -> Listing:
    """Give each case the split of its group, where the reader named none.

    Groups without any mask go to train, where they are pretrained on; the others are cut by
    `core.data.splits.group_split`.

    Raises:
        DataError: fewer labelled groups than splits.

    >>> cases = tuple(Case(str(i), str(i), "x", "y" if i else "") for i in range(7))
    >>> drawn = draw_splits(Listing(cases, ("a",), {}), {"train": 0.5, "valid": 0.25, "test": 0.25})
    >>> drawn.cases[0].split, len({case.split for case in drawn.cases})
    ('train', 3)
    """
    if all(case.split for case in listing.cases):
        return listing
    labelled = sorted({case.group for case in listing.cases if case.label})
    if len(labelled) < len(fractions):
        raise DataError(
            "patients with a mask",
            seen=len(labelled),
            expected=f"at least one for each of {', '.join(fractions)}",
            remedy="add masks, or check that the reader finds them (data.source, data.root)",
        )
    drawn = dict(zip(labelled, group_split(labelled, fractions, seed)))
    cases = tuple(replace(case, split=case.split or drawn.get(case.group, "train")) for case in listing.cases)
    return replace(listing, cases=cases)


def require_folder(root: str | Path, what: str) -> Path:
    """``root`` as a path. Raises DataError where it is no folder."""
    folder = Path(root)
    if not folder.is_dir():
        raise DataError(
            f"data.root {folder}", seen="no such folder", expected=what, remedy="set data.root to that folder"
        )
    return folder
