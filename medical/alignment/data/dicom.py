"""A chest film from a DICOM file: modality LUT, VOI LUT, inversion, in that order."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np

from medical.alignment.data.film import Film, grey
from medical.ecg.data.problems import BadRecord, Note

MODALITIES = ("CR", "DX", "DR", "RG", "RF")


def read_dicom_film(content: bytes, place: str) -> Film:
    """Read the bytes of a DICOM file.

    Raises:
        BadRecord: kinds ``unreadable``, ``not_xray``, ``frames``, ``colour``.
    """
    import pydicom

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            data = pydicom.dcmread(io.BytesIO(content))
            _refuse(data, place)
            pixels, notes = _display(data, place)
        except BadRecord:
            raise
        except Exception as error:  # decoders raise whatever they like on damaged pixels
            if isinstance(error, MemoryError):
                raise
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            raise BadRecord("unreadable", f"{place}: {reason}") from None
    return Film(pixels, str(data.get("ViewPosition") or ""), tuple(notes))


def _refuse(data: Any, place: str) -> None:
    modality = str(data.get("Modality") or "")
    if modality and modality not in MODALITIES:
        raise BadRecord("not_xray", f"{place}: modality {modality}, expected one of {', '.join(MODALITIES)}")
    frames = int(data.get("NumberOfFrames") or 1)
    if frames > 1:
        raise BadRecord("frames", f"{place}: {frames} frames, expected one film a file")


def _display(data: Any, place: str) -> tuple[np.ndarray, list[Note]]:
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    kind = str(data.get("PhotometricInterpretation") or "")
    raw = data.pixel_array
    if raw.ndim == 3 and kind == "RGB":
        return (grey(raw, place) / (2.0 ** int(data.BitsStored) - 1)).astype(np.float32), []
    if raw.ndim != 2 or kind not in ("MONOCHROME1", "MONOCHROME2"):
        raise BadRecord("colour", f"{place}: photometric interpretation {kind}, expected MONOCHROME1 or 2")
    values = apply_voi_lut(apply_modality_lut(raw, data), data)
    low, high = _range(data)
    shown = np.asarray(values, dtype=np.float64)
    notes = []
    if kind == "MONOCHROME1":
        shown = low + high - shown
        notes.append(Note("monochrome1", f"{place}: MONOCHROME1, inverted"))
    return np.clip((shown - low) / (high - low), 0, 1).astype(np.float32), notes


def _range(data: Any) -> tuple[float, float]:
    """What the display pipeline maps black and white to, by the depths that the header gives."""
    bits = int(data.BitsStored)
    signed = int(data.get("PixelRepresentation") or 0) == 1
    low, high = (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1) if signed else (0.0, 2.0**bits - 1)
    if data.get("ModalityLUTSequence"):
        low, high = 0.0, 2.0 ** int(data.ModalityLUTSequence[0].LUTDescriptor[2]) - 1
    elif "RescaleSlope" in data:
        slope, shift = float(data.RescaleSlope), float(data.get("RescaleIntercept") or 0)
        low, high = sorted((low * slope + shift, high * slope + shift))
    if data.get("VOILUTSequence"):
        low, high = 0.0, 2.0 ** int(data.VOILUTSequence[0].LUTDescriptor[2]) - 1
    return low, high
