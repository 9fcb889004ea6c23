"""One chest film as grey values in 0..1, bone bright: PNG, JPEG, DICOM or NIfTI, from disk or from memory."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from medical.ecg.data.problems import BadRecord, Note

SMALLEST = 128
FLATTEST = 1e-3
LATERAL = ("LL", "RL", "LATERAL", "LAT")


@dataclass(frozen=True)
class Film:
    """Attributes: pixels (H, W) float32 in 0..1; view as the file names it ("" where it does not); notes."""

    pixels: np.ndarray = field(repr=False)
    view: str = ""
    notes: tuple[Note, ...] = ()


def read_film(
    source: str | os.PathLike[str] | bytes,
    *,
    name: str | None = None,
    bits: int | None = None,
    smallest: int = SMALLEST,
    frontal: bool = True,
) -> Film:
    """Read and check one film.

    Grey values are divided by the largest that the file's depth can hold (``BitsStored`` of a DICOM file, the
    dtype of an image), never by the largest that is there. DICOM: modality LUT, VOI LUT, then inversion of
    MONOCHROME1. An image file names no polarity; a border brighter than the middle is noted.

    Args:
        source: a path, or the content of a PNG, JPEG or DICOM file.
        name: of the file in messages.
        bits: depth of image files, where it is less than their dtype (12 bits in a 16-bit PNG).
        smallest: shorter side in pixels below which a film is refused.
        frontal: refuse a file that says it is a lateral view.

    Raises:
        BadRecord: kinds ``missing``, ``unreadable``, ``frames``, ``colour``, ``not_xray``, ``small``,
            ``constant``, ``lateral``.
    """
    place = name or (str(source) if not isinstance(source, bytes) else "film")
    content = source if isinstance(source, bytes) else _content(Path(source))
    if content[128:132] == b"DICM":
        from medical.alignment.data.dicom import read_dicom_film

        film = read_dicom_film(content, place)
    elif place.endswith((".nii", ".nii.gz")) and not isinstance(source, bytes):
        film = _read_nifti(Path(source))
    else:
        film = _read_image(content, place, bits)
    return _checked(film, place, smallest, frontal)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise BadRecord("missing", f"{path}: the file is not there") from None
    except OSError as error:
        raise BadRecord("unreadable", f"{path}: {error.strerror}") from None


def _read_image(content: bytes, place: str, bits: int | None) -> Film:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content)) as image:
            frames = getattr(image, "n_frames", 1)
            if frames > 1:
                raise BadRecord("frames", f"{place}: {frames} frames, expected one film a file")
            shown = image.convert("RGB") if image.mode in ("P", "PA") else image
            values, mode = np.asarray(shown), shown.mode
    except BadRecord:
        raise
    except Exception as error:  # decoders raise whatever they like on damaged files
        if isinstance(error, MemoryError):
            raise
        raise BadRecord("unreadable", f"{place}: {' '.join(str(error).split())[:200]}") from None
    notes: list[Note] = []
    if mode in ("LA", "RGBA"):
        values = values[..., :-1]
    if values.ndim == 3:
        values = grey(values, place)
    if values.dtype == np.bool_:
        values = values.astype(np.uint8) * 255
    depth = bits or (8 if values.dtype == np.uint8 else 16)
    largest = float(2**depth - 1)
    if values.dtype.kind not in "iu" or values.max(initial=0) > largest:
        raise BadRecord(
            "unreadable", f"{place}: mode {mode}, largest value {values.max()}, expected at most {largest:g}"
        )
    if depth == 16 and 255 < values.max(initial=0) < 4096:
        reason = (
            f"{place}: 16 bits, but no value above {values.max()}: if 12 bits are stored, set data.bits: 12"
        )
        notes.append(Note("depth", reason))
    return Film((values / largest).astype(np.float32), notes=tuple(notes))


def grey(values: np.ndarray, place: str) -> np.ndarray:
    """One channel of (H, W, 3) whose channels are equal (within a step of JPEG rounding).

    Raises:
        BadRecord: kind ``colour``.
    """
    spread = values.max(axis=2).astype(np.int64) - values.min(axis=2)
    if int(spread.max()) > 2:
        raise BadRecord("colour", f"{place}: a colour image (channels differ by up to {spread.max()})")
    return np.asarray(values[..., 0])


def _read_nifti(path: Path) -> Film:
    import nibabel

    try:
        raw = np.asanyarray(nibabel.load(path).dataobj).squeeze()  # type: ignore[attr-defined]
    except Exception as error:  # nibabel raises many kinds
        raise BadRecord("unreadable", f"{path}: {' '.join(str(error).split())[:200]}") from None
    if raw.ndim != 2:
        raise BadRecord("frames", f"{path}: shape {raw.shape}, expected one film")
    if not np.isfinite(raw).all():
        raise BadRecord("unreadable", f"{path}: NaN or infinity among the pixels")
    values = raw.T.astype(np.float32)  # NIfTI's first axis runs along the rows
    if raw.dtype == np.uint8:
        return Film(values / 255)
    low, high = float(values.min()), float(values.max())
    note = Note("range", f"{path}: the range {low:g} to {high:g} was taken as black to white")
    return Film((values - low) / max(high - low, 1e-12), notes=(note,))


def _checked(film: Film, place: str, smallest: int, frontal: bool) -> Film:
    height, width = film.pixels.shape
    if min(height, width) < smallest:
        raise BadRecord("small", f"{place}: {height} x {width} pixels, expected at least {smallest}")
    spread = float(film.pixels.std())
    if spread < FLATTEST:
        raise BadRecord("constant", f"{place}: all pixels are nearly {film.pixels.mean():.3g}")
    if frontal and film.view.upper() in LATERAL:
        raise BadRecord("lateral", f"{place}: view {film.view}, expected PA or AP")
    notes = film.notes
    edge = max(1, min(height, width) // 20)
    border = np.ones((height, width), dtype=bool)
    border[edge:-edge, edge:-edge] = False
    middle = film.pixels[height // 3 : -(height // 3), width // 3 : -(width // 3)]
    if film.pixels[border].mean() > middle.mean() + 0.2:
        notes = (*notes, Note("inverted", f"{place}: the border is brighter than the middle: inverted?"))
    return Film(film.pixels, film.view, notes)
