"""Own data: a CSV of recordings with their patients and labels.

    id,path,group,split,labels
    a1,signals/a1.hea,p7,train,AFIB;LVH

The columns are those of ``FORM``. Forms of the files: `medical.ecg.data.recording.read_recording`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from core.data.form import ID, SPLIT, Column, ManifestForm, group
from core.data.manifest import FRACTIONS
from core.errors import DataError
from medical.ecg.data.items import Items
from medical.ecg.data.scp import parse_codes

FORM = ManifestForm(
    (
        replace(ID, aliases=("ecg_id",)),
        Column(
            "path",
            "a recording: WFDB header (.hea), .npy with a .json beside it, or .mat",
            "signals/a1.hea",
            needed=True,
            path=True,
        ),
        group("the patient", "p7", "patient_id"),
        SPLIT,
        Column(
            "labels",
            "names separated by ';', or a dictionary of SCP codes; empty where there is none",
            "AFIB;LVH",
            needed=True,
            blank=True,
        ),
    )
)


def read_own(
    manifest: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str],
    fractions: Mapping[str, float] = FRACTIONS,
    seed: int = 0,
) -> Items:
    """Read the manifest; ``id`` and ``group`` are understood in place of ``ecg_id`` and ``patient_id``.

    Raises:
        DataError: as `core.data.manifest.read_manifest`, or no label at all.
    """
    table = FORM.read(manifest, root=root, fractions=fractions, seed=seed)
    table["labels"] = [
        _labels(cell, f"{Path(manifest)} row {row}")
        for row, cell in zip(table.index, table["labels"], strict=True)
    ]
    table["patient"], table["row"] = table["group"], table.index
    names = sorted({name for found in table["labels"] for name in found})
    if not names:
        raise DataError(
            f"{manifest}: no label in any row", expected="names separated by ';' in column labels"
        )
    return Items(table.reset_index(drop=True), names, {})


def _labels(cell: str, where: str) -> tuple[str, ...]:
    if cell.startswith("{"):
        return tuple(parse_codes(cell, where=where))
    return tuple(dict.fromkeys(part.strip() for part in cell.split(";") if part.strip()))
