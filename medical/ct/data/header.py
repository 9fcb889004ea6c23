"""One DICOM header at a time: is it a CT slice, and where does each of its frames lie?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medical.ct.data.series import Problem

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


def headers_of(root: str, name: str) -> list[Header] | Problem | None:
    """Headers of the frames of a file; None for a file that does not claim to be DICOM."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    path = Path(root) / name
    with path.open("rb") as stream:
        mark = stream.read(132)
    if mark[128:] != b"DICM" and path.suffix.lower() != ".dcm":
        return None
    try:
        header = quietly(pydicom.dcmread, path, stop_before_pixels=True, specific_tags=_TAGS)
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


def quietly(read: Any, *arguments: Any, **options: Any) -> Any:
    """Without pydicom's warnings of ill-formed but readable values (UIDs of anonymised files, say)."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return read(*arguments, **options)
