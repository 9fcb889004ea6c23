"""Pixels of a series: Hounsfield units, or grey values, of each slice, all turned the same way.

Every slice comes out as a radiologist sees it: columns grow to the patient's left, rows to the back. dHash
is not invariant to flips, so volumes that are stored the other way round are turned first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import DataError
from medical.ct.data.header import orientation_of, quietly, rescale_of
from medical.ct.data.series import Problem
from medical.ct.window import AIR, to_bytes

PADDING = -1500.0
"""Below this no tissue lies: -2000 and -3024 mark what is outside the field of view."""
_NO_AIR = -500.0
Row = Mapping[str, Any]


def series_images(root: Path, rows: Sequence[Row], window: str) -> Iterator[np.ndarray | Problem]:
    """Eight-bit images (H, W) uint8 of the slices of one series, or why a slice has none, in their order.

    Args:
        root: of the data set.
        rows: of `medical.ct.data.series.slice_table`, all of one series.
        window: a name from `medical.ct.window.WINDOWS`, or ``per_slice_minmax``. Slices of kind ``image``
            are taken as they are.

    Problems by kind: missing, unreadable, not_ct, not_finite, constant, not_grey.
    """
    if rows[0]["kind"] == "image":
        for row in rows:
            yield _guarded(row, partial(_grey, root / row["path"]))
        return
    for row, values in zip(rows, series_hounsfield(root, rows), strict=True):
        if isinstance(values, Problem):
            yield values
        else:
            yield _guarded(row, partial(_windowed, values, window))


def series_hounsfield(root: Path, rows: Sequence[Row]) -> Iterator[np.ndarray | Problem]:
    """Hounsfield units (H, W) float32 of the slices of one series of kind ``dicom`` or ``nifti``."""
    if rows[0]["kind"] == "nifti":
        yield from _nifti_slices(root, rows)
        return
    opened: tuple[str, Any] = ("", None)
    for row in rows:
        if opened[0] != row["path"]:
            opened = (row["path"], _guarded(row, partial(read_header, root / row["path"])))  # type: ignore[misc]
        header = opened[1]
        if isinstance(header, Problem):
            yield header
        else:
            yield _guarded(row, partial(dicom_hounsfield, header, int(row["frame"])))


def read_header(path: Path) -> Any:
    """The whole DICOM file."""
    import pydicom

    return quietly(pydicom.dcmread, path)


def dicom_hounsfield(header: Any, frame: int = 0) -> np.ndarray:
    """One frame in Hounsfield units, (H, W) float32, turned upright.

    Stored MONOCHROME1 values are inverted over their range of bits, padding becomes air.

    Raises:
        DataError: no rescaling, no pixels, or pixels that are not one grey value a place.
    """
    from pydicom.pixels import pixel_array

    rescale = rescale_of(header, frame)
    if rescale is None:
        raise DataError(
            "RescaleSlope and RescaleIntercept", expected="both", remedy="export the series again"
        )
    if "PixelData" not in header:
        raise DataError("no pixel data", expected="a whole file", remedy="copy or export the file again")
    many = int(header.get("NumberOfFrames") or 1) > 1
    raw = quietly(pixel_array, header, index=frame if many else None)
    if raw.ndim != 2:
        raise DataError("pixels", seen=raw.shape, expected="one grey value a place, (rows, columns)")
    padded = np.zeros(raw.shape, bool)
    if header.get("PixelPaddingValue") is not None:
        limits = [
            int(header.PixelPaddingValue),
            int(header.get("PixelPaddingRangeLimit") or header.PixelPaddingValue),
        ]
        padded = (raw >= min(limits)) & (raw <= max(limits))
    if header.PhotometricInterpretation == "MONOCHROME1":
        top = (1 << int(header.BitsStored)) - 1 if header.PixelRepresentation == 0 else -1
        raw = top - raw.astype(np.int64)
    values = raw.astype(np.float32) * np.float32(rescale[0]) + np.float32(rescale[1])
    values[padded | (values < PADDING)] = AIR
    return upright(values, orientation_of(header, frame))


def upright(image: np.ndarray, orientation: Sequence[float]) -> np.ndarray:
    """Turn an axial slice so that columns grow to the left and rows to the back of the patient.

    Args:
        orientation: six cosines as in ImageOrientationPatient.

    >>> upright(np.array([[1, 2], [3, 4]]), [-1, 0, 0, 0, -1, 0]).tolist()
    [[4, 3], [2, 1]]
    """
    along_columns, along_rows = np.asarray(orientation[:3]), np.asarray(orientation[3:])
    if abs(along_columns[0]) < abs(along_columns[1]):
        image, along_columns, along_rows = image.T, along_rows, along_columns
    if along_columns[0] < 0:
        image = image[:, ::-1]
    if along_rows[1] < 0:
        image = image[::-1]
    return np.ascontiguousarray(image)


def _nifti_slices(root: Path, rows: Sequence[Row]) -> Iterator[np.ndarray | Problem]:
    volume = _guarded(rows[0], lambda: _nifti_volume(root / rows[0]["path"], rows[0]))
    for row in rows:
        if isinstance(volume, Problem):
            yield Problem(_place(row), volume.kind, volume.reason)
        else:
            plane = volume[:, :, int(row["frame"])].T
            # canonical axes grow to the right and to the front: the other way round on both
            turned = np.ascontiguousarray(plane[::-1, ::-1] if row["oriented"] else plane)
            turned[turned < PADDING] = AIR
            yield turned


def _nifti_volume(path: Path, row: Row) -> np.ndarray:
    import nibabel

    image: Any = nibabel.load(path)
    if row["oriented"]:
        image = nibabel.as_closest_canonical(image)
    values = np.asarray(image.dataobj, dtype=np.float32)
    if values.ndim == 4:
        values = values[..., max(0, int(row["channel"]))]
    finite = values[np.isfinite(values)]
    if finite.size and finite.min() > _NO_AIR:
        raise NotCTError(
            "lowest value of the volume", seen=round(float(finite.min()), 2), expected="air, about -1000",
            remedy="give the CT in Hounsfield units, not PET, SUV or a windowed copy",
        )  # fmt: skip
    return values


class NotCTError(DataError):
    """Values that cannot be Hounsfield units."""


def _windowed(values: np.ndarray, window: str) -> np.ndarray | Problem:
    if not np.isfinite(values).all():
        return Problem("", "not_finite", f"{int((~np.isfinite(values)).sum())} pixel(s) are NaN or infinite")
    if values.min() == values.max():
        return Problem("", "constant", f"all pixels are {values.flat[0]:g} HU")
    image = to_bytes(values, window)
    if image.min() == image.max():
        return Problem("", "constant", f"all pixels are {image.flat[0]} in the {window} window")
    return image


def _grey(path: Path) -> np.ndarray | Problem:
    from PIL import Image

    with Image.open(path) as image:
        if image.mode not in ("1", "L", "LA", "P", "RGB", "RGBA"):
            return Problem(
                "", "not_grey", f"mode {image.mode}: slices given as images must have eight bits a channel"
            )
        values = np.asarray(image.convert("L"))
    if values.min() == values.max():
        return Problem("", "constant", f"all pixels are {values.flat[0]}")
    return values


def _guarded(row: Row, read: Any) -> Any:
    """What ``read`` returns, with the slice's place in a Problem; user errors and damaged files become one."""
    try:
        found = read()
    except NotCTError as error:
        return Problem(_place(row), "not_ct", str(error))
    except FileNotFoundError:
        return Problem(_place(row), "missing", "the file is not there")
    except Exception as error:  # decoders raise whatever they like on damaged pixels
        if isinstance(error, MemoryError):
            raise
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
        return Problem(_place(row), "unreadable", reason)
    if isinstance(found, Problem):
        return Problem(_place(row), found.kind, found.reason)
    return found


def _place(row: Row) -> str:
    frame = int(row["frame"])
    return f"{row['path']}" + (f"[{frame}]" if row["kind"] == "nifti" or frame else "")
