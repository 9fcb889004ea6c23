"""Own data: a CSV with one row a case, any of film, ECG and reports blank.

The columns are those of ``FORM``; rows without ``id`` are numbered. Where both times are given, an ECG outside the
window of the linking rule is taken off its film, and listed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from core.data.form import ID, SPLIT, Column, ManifestForm, group
from core.errors import DataError
from medical.alignment.data.items import Items, make_items
from medical.alignment.data.link import Rule
from medical.alignment.data.report import usable, xray_report
from medical.alignment.data.tables import times

FORM = ManifestForm(
    (
        replace(ID, needed=False, meaning="a name for the row; rows without are numbered"),
        group("the patient", "p7", "subject_id", "patient_id"),
        SPLIT,
        Column("xray_path", "a film: png, jpg, DICOM or NIfTI", "films/a1.png", path=True),
        Column("xray_time", "when it was taken", "2024-03-01 08:00"),
        Column(
            "ecg_path",
            "an ECG: WFDB header (.hea), .npy with a .json beside it, or .mat",
            "ecgs/a1.hea",
            path=True,
        ),
        Column("ecg_time", "when it was recorded", "2024-03-01 09:30"),
        Column("report_xray", "the film's report", "Clear lungs, no effusion."),
        Column("report_ecg", "the ECG's report", "Sinus rhythm, normal axis."),
        Column(
            "labels",
            "findings separated by ';', '-' in front marks an uncertain one; empty: not known, none: there is none",
            "Edema;-Pneumonia",
        ),
    )
)


def read_own(
    manifest: str,
    *,
    root: str,
    rule: Rule,
    findings: Sequence[str] = (),
    fractions: Mapping[str, float],
    seed: int,
) -> Items:
    """Read the manifest; findings are those named, or all that occur.

    Raises:
        DataError: as `core.data.manifest.read_manifest`; a label that is not among ``findings``.
    """
    import pandas as pd

    lines = Path(manifest)
    table = _with_ids(lines, root, fractions, seed)
    named = [_labels(cell) for cell in table["labels"]]
    names = list(findings) or sorted({name for one in named if one for name in one})
    unknown = sorted({name for one in named if one for name in one} - set(names))
    if unknown:
        raise DataError(f"{manifest}: labels", seen=unknown[:10], expected=f"names among {names}")
    targets = np.full((len(table), len(names)), np.nan, dtype=np.float32)
    for row, one in enumerate(named):
        if one is not None:
            targets[row] = [one.get(name, 0.0) for name in names]
    hours = (times(table["ecg_time"]) - times(table["xray_time"])) / pd.Timedelta(hours=1)
    far = (hours.abs() > 24 * rule.days).to_numpy()
    rows: list[dict[str, Any]] = []
    for number, one in enumerate(table.itertuples()):
        rows.append(
            {
                "id": one.id, "subject": one.group, "split": one.split, "xray": one.xray_path,
                "ecg": "" if far[number] and one.xray_path else one.ecg_path,
                "xray_report": usable(xray_report(one.report_xray), "xray"),
                "ecg_report": "" if far[number] and one.xray_path else usable(" ".join(one.report_ecg.split()), "ecg"),
                "row": one.Index,
            }
        )  # fmt: skip
    facts = {"link": {"outside_window": int(far.sum())}}
    return make_items(rows, names, targets, fractions=fractions, seed=seed, facts=facts, where=manifest)


def _with_ids(path: Path, root: str, fractions: Mapping[str, float], seed: int) -> Any:
    """The manifest, with its row numbers as ids where it has none."""
    import csv
    import tempfile

    options: dict[str, Any] = {"root": root, "fractions": fractions, "seed": seed}
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            first = stream.readline()
            separator = max(",;\t", key=first.count)
            header = [cell.strip() for cell in first.strip().split(separator)]
            stream.seek(0)
            lines = list(csv.reader(stream, delimiter=separator))
    except (OSError, UnicodeDecodeError, csv.Error):
        header, lines = ["id"], []  # read_manifest says what is wrong
    if "id" in header:
        return FORM.read(path, **options)
    with tempfile.NamedTemporaryFile("w", suffix=".csv", encoding="utf-8", newline="") as numbered:
        writer = csv.writer(numbered, delimiter=separator)
        writer.writerows(
            [["id" if not n else f"row{n + 1}", *cells] for n, cells in enumerate(lines) if cells]
        )
        numbered.flush()
        try:
            return FORM.read(numbered.name, **options)
        except DataError as error:
            raise DataError(str(error).replace(numbered.name, str(path))) from None


def _labels(cell: str) -> dict[str, float] | None:
    """Name -> 1 or -1; None where nothing is known."""
    if not cell.strip():
        return None
    names = [one.strip() for one in cell.split(";") if one.strip()]
    if [name.lower() for name in names] == ["none"]:
        return {}
    return {name.removeprefix("-").strip(): -1.0 if name.startswith("-") else 1.0 for name in names}
