"""Own data: a CSV with one row a case, any of film, ECG and reports blank.

The columns are those of ``FORM``; rows without ``id`` are numbered. Where both times are given, an ECG outside the
window of the linking rule is taken off its film, and listed. Times are ISO 8601: other ways to write a date mean
different days in different countries.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.data.form import ID, SPLIT, Column, ManifestForm, group
from core.errors import DataError
from medical.alignment.data.items import Items, make_items
from medical.alignment.data.link import Rule
from medical.alignment.data.report import usable, xray_report

if TYPE_CHECKING:
    import pandas as pd

_ISO = "ISO 8601, a date or date and time"
_DATE = re.compile(r"[0-9]{4}-?[0-9]{2}-?[0-9]{2}([T ].+)?")

FORM = ManifestForm(
    (
        replace(ID, needed=False, meaning="a name for the row; rows without are numbered"),
        group("the patient", "p7", "subject_id", "patient_id"),
        SPLIT,
        Column("xray_path", "a film: png, jpg, DICOM or NIfTI", "films/a1.png", path=True),
        Column("xray_time", f"when it was taken ({_ISO})", "2024-03-01 08:00"),
        Column(
            "ecg_path",
            "an ECG: WFDB header (.hea), .npy with a .json beside it, or .mat",
            "ecgs/a1.hea",
            path=True,
        ),
        Column("ecg_time", f"when it was recorded ({_ISO})", "2024-03-01 09:30"),
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
        DataError: as `core.data.manifest.read_manifest`; a label that is not among ``findings``; a time that is not
            ISO 8601.
    """
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
    far = np.abs(_hours(table, manifest)) > 24 * rule.days
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


def _hours(table: pd.DataFrame, where: str) -> np.ndarray:
    """(N,) hours from each film to its ECG; NaN where a time is not given."""
    films, ecgs = (_moments(table[name], where) for name in ("xray_time", "ecg_time"))
    hours = np.full(len(table), np.nan)
    for place, (film, ecg) in enumerate(zip(films, ecgs, strict=True)):
        if film is None or ecg is None:
            continue
        if (film.tzinfo is None) != (ecg.tzinfo is None):
            raise DataError(
                f"{where} row {table.index[place]}, columns xray_time and ecg_time",
                seen=[str(film), str(ecg)],
                expected="a zone in both or in neither",
                remedy="add the zone (as in 2024-03-12 14:05+01:00) to the other, or leave both without",
            )
        hours[place] = (ecg - film).total_seconds() / 3600
    return hours


def _moments(cells: pd.Series, where: str) -> list[datetime | None]:
    """The times of a column; None where a cell is empty. The index holds the rows of the file."""
    found = [_moment(cell) for cell in cells]
    wrong = [row for row, cell, one in zip(cells.index, cells, found, strict=True) if cell and one is None]
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise DataError(
            f"{where} row {wrong[0]}{more}, column {cells.name}",
            seen=cells[wrong[0]],
            expected=_ISO,
            remedy="write 2024-03-12 or 2024-03-12 14:05",
        )
    return found


def _moment(cell: str) -> datetime | None:
    """The time that a cell means; None where it is empty or not ISO 8601.

    >>> str(_moment("2024-03-12 14:05")), _moment("12.03.2024")
    ('2024-03-12 14:05:00', None)
    """
    if not _DATE.fullmatch(cell):  # fromisoformat would take the zone of a bare date for its time
        return None
    try:
        return datetime.fromisoformat(cell)
    except ValueError:
        return None


def _with_ids(path: Path, root: str, fractions: Mapping[str, float], seed: int) -> Any:
    """The manifest, with its row numbers as ids where it has none."""
    import csv
    import tempfile

    options: dict[str, Any] = {"root": root, "fractions": fractions, "seed": seed}
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            separator = max(",;\t", key=stream.readline().count)
            stream.seek(0)
            lines = list(csv.reader(stream, delimiter=separator, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error):
        lines = []  # read_manifest says what is wrong
    if not lines or "id" in [cell.strip() for cell in lines[0]]:
        return FORM.read(path, **options)
    with tempfile.NamedTemporaryFile("w", suffix=".csv", encoding="utf-8", newline="") as numbered:
        writer = csv.writer(numbered, delimiter=separator)
        writer.writerows(
            # an empty row stays one, so that messages name the rows of the user's file
            ["id" if not n else f"row{n + 1}", *cells] if any(map(str.strip, cells)) else []
            for n, cells in enumerate(lines)
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
