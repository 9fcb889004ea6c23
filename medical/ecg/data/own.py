"""Own data: a CSV of recordings with their patients and labels.

    ecg_id,patient_id,path,labels,split
    a1,p7,signals/a1.hea,AFIB;LVH,train

``labels`` are separated by ";" or written as a dictionary; an empty cell is a recording without any.
``split`` may be left out. Forms of the files: `medical.ecg.data.recording.read_recording`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from core.data.manifest import FRACTIONS, read_manifest
from core.errors import DataError
from medical.ecg.data.items import Items
from medical.ecg.data.scp import parse_codes

ALIASES = {"ecg_id": "id", "patient_id": "group"}


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
    import pandera.pandas as pa

    table = read_manifest(
        manifest,
        root=root,
        columns={"labels": pa.Column(str)},
        aliases=ALIASES,
        fractions=fractions,
        seed=seed,
    )
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
