"""DICOM headers to series: what is no CT slice is named and left out, the rest is grouped and ordered."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from core.data.parallel import Failure, parallel_map
from medical.ct.data.series import Problem, Scan, Series, Slice, spacing_warnings

FEWEST = 10
"""A group of fewer slices is a scout or a stray file, not a volume."""
AXIAL = 0.9
_SECONDARY = "1.2.840.10008.5.1.4.1.1.7"
_REPORT = "1.2.840.10008.5.1.4.1.1.88"
_TAGS = [
    "SOPClassUID", "SOPInstanceUID", "ImageType", "Modality", "PatientID", "SeriesInstanceUID", "Rows", "Columns",
    "ImagePositionPatient", "ImageOrientationPatient", "RescaleSlope", "RescaleIntercept", "NumberOfFrames",
    "PhotometricInterpretation", "GantryDetectorTilt", "SliceThickness", "Manufacturer", "ConvolutionKernel",
    "ManufacturerModelName", "BodyPartExamined", "AcquisitionNumber", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
]  # fmt: skip


@dataclass(frozen=True)
class Header:
    """What grouping needs to know of one frame; ``path`` is below the root."""

    path: str
    frame: int
    uid: str
    instance: str
    patient: str
    shape: tuple[int, int]
    position: tuple[float, ...]
    orientation: tuple[float, ...]
    tilt: float
    thickness: float | None
    scanner: str
    region: str
    variant: tuple[str, ...]

    @property
    def normal(self) -> np.ndarray:
        """Unit vector across the slice, pointing to the head."""
        across = np.cross(self.orientation[:3], self.orientation[3:])
        across = across / max(float(np.linalg.norm(across)), 1e-12)
        return across if across[2] >= 0 else -across

    @property
    def place(self) -> float:
        """Millimetres along the normal."""
        return float(np.dot(self.position, self.normal))


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
    results = parallel_map(partial(_headers_of, str(root)), names, scheduler=scheduler, errors="return")
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


def _headers_of(root: str, name: str) -> list[Header] | Problem | None:
    """Headers of the frames of a file; None for a file that does not claim to be DICOM."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    path = Path(root) / name
    with path.open("rb") as stream:
        mark = stream.read(132)
    if mark[128:] != b"DICM" and path.suffix.lower() != ".dcm":
        return None
    try:
        header = _quiet(pydicom.dcmread, path, stop_before_pixels=True, specific_tags=_TAGS)
    except InvalidDicomError:
        return Problem(name, "unreadable", "no DICOM mark at byte 128: damaged, or not DICOM")
    problem = _refusal(header)
    if problem is not None:
        return Problem(name, *problem)
    return _frames(header, name)


def _refusal(header: Any) -> tuple[str, str] | None:
    """(kind, reason) why a file is no CT slice, or None."""
    from pydicom.pixels import get_decoder

    storage, modality = str(header.get("SOPClassUID", "")), str(header.get("Modality", ""))
    kinds = [str(kind).upper() for kind in header.get("ImageType", None) or []]
    if storage.startswith(_REPORT):
        return "dose_report", f"a structured report ({modality}), not an image"
    if storage.startswith(_SECONDARY):
        return "secondary_capture", "a screenshot or scanned page"
    if modality != "CT":
        return "not_ct", f"modality {modality or 'missing'}, expected CT"
    if "LOCALIZER" in kinds:
        return "localizer", "a scout view"
    if not header.get("Rows") or not header.get("Columns"):
        return "unreadable", "no image size: the header is damaged"
    if header.get("PhotometricInterpretation") not in ("MONOCHROME1", "MONOCHROME2"):
        return "not_grey", f"photometric interpretation {header.get('PhotometricInterpretation')}"
    syntax = header.file_meta.get("TransferSyntaxUID")
    if syntax is None:
        return "unreadable", "no transfer syntax: the file's meta header is missing"
    if syntax.is_encapsulated:
        try:
            known = get_decoder(syntax).is_available
        except NotImplementedError:
            known = False
        if not known:
            return "no_codec", f"pixels compressed as {syntax.name}: no decoder for it is installed"
    return None


def _frames(header: Any, name: str) -> list[Header] | Problem:
    """One header a frame; multi-frame files carry geometry and rescaling in functional groups."""
    count = int(header.get("NumberOfFrames") or 1)
    shared = _first(header, "SharedFunctionalGroupsSequence")
    frames = header.get("PerFrameFunctionalGroupsSequence") or [None] * count
    found = []
    for number in range(count):
        own = frames[number] if number < len(frames) else None
        places = [_first(own, "PlanePositionSequence"), _first(shared, "PlanePositionSequence"), header]
        turns = [_first(own, "PlaneOrientationSequence"), _first(shared, "PlaneOrientationSequence"), header]
        position, orientation = (
            _value(places, "ImagePositionPatient"),
            _value(turns, "ImageOrientationPatient"),
        )
        if not position or not orientation or len(position) != 3 or len(orientation) != 6:
            return Problem(name, "no_geometry", "no ImagePositionPatient or ImageOrientationPatient")
        if rescale_of(header, number) is None:
            return Problem(
                name,
                "no_rescale",
                "RescaleSlope or RescaleIntercept is missing: Hounsfield units are unknown",
            )
        found.append(
            Header(
                path=name,
                frame=number,
                uid=str(header.get("SeriesInstanceUID") or "unnamed series"),
                instance=f"{header.get('SOPInstanceUID') or name}/{number}",
                patient=str(header.get("PatientID") or ""),
                shape=(int(header.Rows), int(header.Columns)),
                position=tuple(map(float, position)),
                orientation=tuple(map(float, orientation)),
                tilt=_number(header.get("GantryDetectorTilt")) or 0.0,
                thickness=_number(header.get("SliceThickness")),
                scanner=f"{header.get('Manufacturer') or ''} {header.get('ManufacturerModelName') or ''}".strip(),
                region=str(header.get("BodyPartExamined") or "").lower(),
                variant=tuple(
                    str(header.get(key) or "")
                    for key in ("AcquisitionNumber", "ConvolutionKernel", "ImageType")
                ),
            )
        )
        if not np.isfinite([*found[-1].position, *found[-1].orientation]).all():
            return Problem(name, "no_geometry", "position or orientation is not finite")
    return found


def rescale_of(header: Any, frame: int = 0) -> tuple[float, float] | None:
    """(slope, intercept) of a frame, None where either is missing: they are not guessed."""
    frames = header.get("PerFrameFunctionalGroupsSequence") or []
    own = frames[frame] if frame < len(frames) else None
    groups = [own, _first(header, "SharedFunctionalGroupsSequence")]
    sources = [_first(group, "PixelValueTransformationSequence") for group in groups] + [header]
    found = [_number(_value(sources, key)) for key in ("RescaleSlope", "RescaleIntercept")]
    return None if found[0] is None or found[1] is None else (found[0], found[1])


def orientation_of(header: Any, frame: int = 0) -> list[float]:
    """ImageOrientationPatient of a frame: directions of a growing column, then of a growing row."""
    frames = header.get("PerFrameFunctionalGroupsSequence") or []
    own = frames[frame] if frame < len(frames) else None
    groups = [own, _first(header, "SharedFunctionalGroupsSequence")]
    sources = [_first(group, "PlaneOrientationSequence") for group in groups] + [header]
    return [float(one) for one in _value(sources, "ImageOrientationPatient")]


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


def _first(group: Any, name: str) -> Any:
    items = group.get(name) if group is not None else None
    return items[0] if items else None


def _value(sources: Sequence[Any], name: str) -> Any:
    for source in sources:
        value = source.get(name) if source is not None else None
        if value is not None and value != "":
            return value
    return None


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) else None


def _quiet(read: Any, *arguments: Any, **options: Any) -> Any:
    """Without pydicom's warnings of ill-formed but readable values (UIDs of anonymised files, say)."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return read(*arguments, **options)
