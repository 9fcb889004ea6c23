"""DICOM headers to series: what is no CT slice is named and left out, the rest is grouped and ordered."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from core.data.parallel import Failure, parallel_map
from medical.ct.data.header import Header, headers_of
from medical.ct.data.series import Problem, Scan, Series, Slice, spacing_warnings

FEWEST = 10
"""A group of fewer slices is a scout or a stray file, not a volume."""
AXIAL = 0.9


def scan_dicom(root: Path, files: Sequence[Path], *, fewest: int = FEWEST, scheduler: str = "serial") -> Scan:
    """Read the headers of the files and group their frames into series.

    Frames are grouped by SeriesInstanceUID, orientation and shape, whatever folders they lie in, and ordered
    by position along the normal, never by name or InstanceNumber.

    Args:
        root: what paths are relative to.
        files: candidates; those without the DICOM mark that are not named ``.dcm`` are passed over.
        fewest: slices below which a group is left out.
        scheduler: of `core.data.parallel.parallel_map`.

    Rejections by kind: unreadable, not_ct, dose_report, secondary_capture, localizer, not_grey, no_geometry,
    no_rescale, no_codec, not_axial, duplicate_file, duplicate_positions, too_few.
    """
    names = [file.relative_to(root).as_posix() for file in files]
    results = parallel_map(partial(headers_of, str(root)), names, scheduler=scheduler, errors="return")
    scan, headers = Scan(), []
    for name, result in zip(names, results, strict=True):
        if isinstance(result, Failure):
            result = Problem(name, "unreadable", f"{result.kind}: {result.message}")
        if result is None:
            continue
        scan.checked += 1
        if isinstance(result, Problem):
            scan.rejected.append(result)
        else:
            headers += result
    _group(headers, fewest, scan)
    return scan


def _group(headers: Sequence[Header], fewest: int, scan: Scan) -> None:
    """Headers of one series, orientation and shape belong together; each group is checked and ordered."""
    groups: dict[tuple[Any, ...], list[Header]] = defaultdict(list)
    seen: dict[str, str] = {}
    for header in headers:
        if seen.setdefault(header.instance, header.path) != header.path:
            scan.rejected.append(
                Problem(header.path, "duplicate_file", f"the same slice as {seen[header.instance]}")
            )
            continue
        turned = tuple(np.round(header.orientation, 2) + 0.0)
        groups[header.uid, header.patient, turned, header.shape].append(header)
    taken: dict[str, int] = defaultdict(int)
    for key in sorted(groups, key=lambda key: (key[0], key[1], -len(groups[key]), key[2:])):
        for part in _checked(groups[key], fewest, scan):
            taken[key[0]] += 1
            uid = key[0] if taken[key[0]] == 1 else f"{key[0]}#{taken[key[0]]}"
            series = _series(uid, part)
            scan.series.append(series)
            scan.warnings += spacing_warnings(series)
            scan.warnings += _header_warnings(uid, part)


def _checked(group: list[Header], fewest: int, scan: Scan) -> list[list[Header]]:
    """The group in order, split where it holds several variants of each position; empty where unusable."""

    def refuse(rows: Sequence[Header], kind: str, reason: str) -> list[list[Header]]:
        scan.rejected.extend(Problem(path, kind, reason) for path in dict.fromkeys(row.path for row in rows))
        return []

    if abs(float(group[0].normal[2])) < AXIAL:
        return refuse(group, "not_axial", "slices are not axial (sagittal, coronal or a scout view)")
    parts = [group]
    if _doubled(group):
        variants: dict[tuple[str, ...], list[Header]] = defaultdict(list)
        for row in group:
            variants[row.variant].append(row)
        parts = [variants[key] for key in sorted(variants)]
        if any(_doubled(part) for part in parts):
            return refuse(
                group,
                "duplicate_positions",
                "several slices at one position, which no header field tells apart",
            )
    kept = []
    for part in parts:
        if len(part) < fewest:
            refuse(part, "too_few", f"{len(part)} slice(s) of this series, orientation and shape")
        else:
            kept.append(sorted(part, key=lambda row: (row.place, row.path, row.frame)))
    return kept


def _doubled(group: Sequence[Header]) -> bool:
    places = np.sort([row.place for row in group])
    return bool((np.diff(places) < 1e-3).any())


def _series(uid: str, rows: Sequence[Header]) -> Series:
    facts = {"scanner": rows[0].scanner, "region": rows[0].region}
    if rows[0].thickness is not None:
        facts["thickness_mm"] = str(rows[0].thickness)
    slices = tuple(Slice(row.path, row.frame, round(row.place, 4)) for row in rows)
    return Series(uid, rows[0].patient or uid, "dicom", slices, facts=facts)


def _header_warnings(uid: str, rows: Sequence[Header]) -> list[Problem]:
    found = []
    tilt = max(abs(row.tilt) for row in rows)
    lean = float(np.degrees(np.arccos(min(1.0, abs(float(rows[0].normal[2]))))))
    if max(tilt, lean) > 0.5:
        found.append(Problem(uid, "tilt", f"gantry tilted by {max(tilt, lean):.1f} degrees"))
    thick = sorted({row.thickness for row in rows if row.thickness is not None})
    if len(thick) > 1:
        found.append(
            Problem(uid, "variable_thickness", f"slice thickness from {thick[0]:g} to {thick[-1]:g} mm")
        )
    return found


def with_patient(series: Series, patient: str) -> Series:
    """The same series under the name that the folder layout gives the patient."""
    return replace(series, patient=patient)
