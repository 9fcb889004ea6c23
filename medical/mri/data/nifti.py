"""NIfTI files: a volume in RAS order with its spacing, and masks written back in the geometry of their image."""

from __future__ import annotations

import gzip
import io
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import DataError
from core.files import atomic_write

SMALLEST_MM, LARGEST_MM = 0.1, 20.0


@dataclass(frozen=True)
class Geometry:
    """Where voxels lie: native shape (X, Y, Z), the affine of the file, and what turns it into RAS order.

    >>> flipped = Geometry((4, 5, 6), ((1.0, 0, 0, 0), (0, 1, 0, 0), (0, 0, -3, 0), (0, 0, 0, 1)))
    >>> flipped.spacing, flipped.angle, flipped.to_ras(np.arange(6).reshape(1, 1, 6)).ravel().tolist()
    ((1.0, 1.0, 3.0), 0.0, [5, 4, 3, 2, 1, 0])
    """

    shape: tuple[int, int, int]
    affine: tuple[tuple[float, ...], ...]

    @property
    def matrix(self) -> np.ndarray:
        """The affine, (4, 4) float64."""
        return np.asarray(self.affine, dtype=np.float64)

    @property
    def orientation(self) -> np.ndarray:
        """Which RAS axis each native axis becomes, and its sign."""
        from nibabel.orientations import io_orientation

        return io_orientation(self.matrix)

    @property
    def voxel(self) -> tuple[float, float, float]:
        """Spacing in mm of the axes as the file has them."""
        x, y, z = np.sqrt((self.matrix[:3, :3] ** 2).sum(0))
        return float(x), float(y), float(z)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Spacing in mm of the axes in RAS order."""
        order = np.argsort(self.orientation[:, 0])
        return tuple(self.voxel[axis] for axis in order)  # type: ignore[return-value]

    @property
    def shape_ras(self) -> tuple[int, int, int]:
        """Voxels along the axes in RAS order; the last are the slices."""
        order = np.argsort(self.orientation[:, 0])
        return tuple(int(self.shape[axis]) for axis in order)  # type: ignore[return-value]

    @property
    def angle(self) -> float:
        """Largest angle in degrees between a voxel axis and the patient axis that it is taken for."""
        matrix = self.matrix[:3, :3]
        unit = matrix / np.sqrt((matrix**2).sum(0))
        axes = self.orientation[:, 0].astype(int)
        cosines = np.abs(unit[axes, np.arange(3)]).clip(0, 1)
        return float(np.degrees(np.arccos(cosines.min())))

    @property
    def millilitres(self) -> float:
        """Volume of a voxel in ml."""
        return float(abs(np.linalg.det(self.matrix[:3, :3])) / 1000)

    def to_ras(self, voxels: np.ndarray) -> np.ndarray:
        """Voxels of the file -> voxels in RAS order."""
        from nibabel.orientations import apply_orientation

        return apply_orientation(voxels, self.orientation)

    def from_ras(self, voxels: np.ndarray) -> np.ndarray:
        """Voxels in RAS order -> as the file has them."""
        from nibabel.orientations import apply_orientation, ornt_transform

        ras = np.array([[0, 1], [1, 1], [2, 1]])
        return apply_orientation(voxels, ornt_transform(ras, self.orientation))


@dataclass(frozen=True)
class Volume:
    """Voxels as the file has them, (X, Y, Z), and their geometry."""

    voxels: np.ndarray
    geometry: Geometry


def read_volume(
    path: str | os.PathLike[str], channel: int | None = None, *, as_stored: bool = False
) -> Volume:
    """Read a 3D volume, or one channel of a 4D file.

    Args:
        path: ``.nii`` or ``.nii.gz``.
        channel: entry of the last axis of a 4D file; None expects 3D.
        as_stored: keep the values' dtype (masks); else float32.

    Raises:
        DataError: damaged or truncated, not NIfTI, no voxels, a spacing of 0 or outside 0.1 to 20 mm, a 4D
            file without a channel; the message names the file.
    """
    file = Path(path)
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: {error.strerror or error}") from None
    return parse_volume(content, name=str(file), channel=channel, as_stored=as_stored)


def parse_volume(
    content: bytes,
    *,
    name: str,
    channel: int | None = None,
    as_stored: bool = False,
    limit: int | None = None,
) -> Volume:
    """As `read_volume`, from the bytes of a file; ``limit`` bounds their size after decompression."""
    raw = _decompressed(content, name, limit)
    image = _parsed(raw, name)
    geometry_shape, header = image.shape, image.header
    if channel is not None and len(geometry_shape) == 4 and not 0 <= channel < geometry_shape[3]:
        raise DataError(f"{name}: channel", seen=channel, expected=f"0 to {geometry_shape[3] - 1}")
    while len(geometry_shape) > 3 and geometry_shape[-1] == 1:
        geometry_shape = geometry_shape[:-1]
    if 0 in geometry_shape or len(geometry_shape) < 3:
        raise DataError(f"{name}: shape", seen=image.shape, expected="three axes, each with voxels")
    if len(geometry_shape) > 4 or (len(geometry_shape) == 4 and channel is None):
        raise DataError(
            f"{name}: shape",
            seen=image.shape,
            expected="three axes",
            remedy="say which entry of the fourth axis to read (data.channel, or the manifest's column channel)",
        )
    _check_spacing(raw, header, name)
    affine = np.asarray(image.affine, dtype=np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise DataError(f"{name}: affine", seen=affine.tolist(), expected="finite and invertible")
    try:
        picked = image.dataobj
        values = np.asanyarray(
            picked[..., channel] if len(image.shape) == 4 and channel is not None else picked
        )
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{name} is truncated or damaged: {' '.join(str(error).split())[:150]}") from None
    values = values.reshape(geometry_shape[:3])
    if np.iscomplexobj(values) or values.dtype.kind not in "iufb":
        raise DataError(f"{name}: values", seen=str(values.dtype), expected="numbers")
    geometry = Geometry(geometry_shape[:3], tuple(tuple(float(v) for v in row) for row in affine))
    return Volume(values if as_stored else values.astype(np.float32), geometry)


def _decompressed(content: bytes, name: str, limit: int | None) -> bytes:
    if content[:2] == b"\x1f\x8b":
        try:
            if limit is None:
                content = gzip.decompress(content)
            else:
                inflater = zlib.decompressobj(wbits=31)
                content = inflater.decompress(content, limit + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{name} is truncated or damaged: {error}") from None
    if limit is not None and len(content) > limit:
        raise DataError(f"{name}: size", expected=f"at most {limit / 2**20:.0f} MiB when decompressed")
    return content


def _parsed(raw: bytes, name: str) -> Any:
    import nibabel
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError
    from nibabel.wrapstruct import WrapStructError

    kind = (
        nibabel.Nifti2Image if raw[:4] in (b"\x1c\x02\x00\x00", b"\x00\x00\x02\x1c") else nibabel.Nifti1Image
    )
    try:
        image = kind.from_bytes(raw)
    except (ImageFileError, HeaderDataError, WrapStructError, OSError, EOFError, ValueError) as error:
        raise DataError(f"{name} is no readable NIfTI file: {' '.join(str(error).split())[:150]}") from None
    start = int(getattr(image.dataobj, "offset", 0))
    needed = int(np.prod(image.shape, dtype=np.int64)) * image.get_data_dtype().itemsize
    if len(raw) - start < needed:
        raise DataError(f"{name} is truncated", seen=f"{len(raw) - start} bytes", expected=f"{needed}")
    return image


def _check_spacing(raw: bytes, header: Any, name: str) -> None:
    """nibabel turns a spacing of 0 into 1 mm when it reads; the bytes say what the file holds."""
    unchecked = type(header).from_fileobj(io.BytesIO(raw), check=False)
    spacing = [float(value) for value in unchecked["pixdim"][1:4]]
    if not all(np.isfinite(value) and SMALLEST_MM <= abs(value) <= LARGEST_MM for value in spacing):
        raise DataError(
            f"{name}: spacing in mm",
            seen=[round(value, 6) for value in spacing],
            expected=f"{SMALLEST_MM:g} to {LARGEST_MM:g} along each axis",
            remedy="correct pixdim in the file's header",
        )


def write_mask(path: str | os.PathLike[str], mask: np.ndarray, geometry: Geometry) -> Path:
    """Write an integer mask (X, Y, Z) with the affine of its image, gzipped; equal masks give equal bytes."""
    return atomic_write(path, mask_bytes(mask, geometry))


def mask_bytes(mask: np.ndarray, geometry: Geometry) -> bytes:
    """The bytes of a ``.nii.gz`` that holds an integer mask in the given geometry."""
    import nibabel

    if mask.shape != geometry.shape:
        raise DataError("mask", seen=mask.shape, expected=f"the shape of its image, {geometry.shape}")
    values = mask.astype(np.uint8 if mask.max(initial=0) < 256 else np.int16)
    image = nibabel.Nifti1Image(values, geometry.matrix)
    image.header.set_xyzt_units("mm")
    return gzip.compress(image.to_bytes(), compresslevel=6, mtime=0)
