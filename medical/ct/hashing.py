"""The difference hash (dHash) of a slice: which pixels of a tiny copy are darker than their right neighbour."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from core.errors import DataError

_LOBES = 3.0
_FRACTION = 22  # bits of Pillow's fixed-point weights for eight-bit images
_ROWS = 64  # rows widened at a time: they stay in the processor's cache, which is twice as fast
SIZES = (8, 16)
"""Sides of the hash that exist: 64 bits and 256 bits."""


def resized(image: Any, hash_size: int = 8) -> np.ndarray:
    """The image at (hash_size, hash_size + 1), uint8: Pillow's ``resize`` with the Lanczos filter, bit for bit.

    Pillow weights pixels by whole numbers (22 bits of fraction), first along the rows, then along the
    columns, and rounds to eight bits after each. As two matrix products of whole numbers, which float64
    holds exactly, that takes a fraction of the time. So it is done for square images; for others Pillow,
    which may then take the columns first, is asked itself. Hashes depend on the filter to the bit.

    Args:
        image: (H, W) uint8.

    Raises:
        DataError: another dtype or rank, or an empty image.
    """
    grey = np.asarray(image)
    if grey.dtype != np.uint8 or grey.ndim != 2 or grey.size == 0:
        raise DataError(
            "image to hash",
            seen=f"{grey.dtype} {grey.shape}",
            expected="uint8 (H, W)",
            remedy="map Hounsfield units to eight bits with medical.ct.window first",
        )
    height, width = grey.shape
    if height != width or height < 2 * hash_size:
        from PIL import Image

        small = Image.fromarray(grey).resize((hash_size + 1, hash_size), Image.Resampling.LANCZOS)
        return np.asarray(small)
    across, sums = _weights(width, hash_size + 1), np.empty((height, hash_size + 1))
    wide = np.empty((_ROWS, width))
    for row in range(0, height, _ROWS):
        part = wide[: min(_ROWS, height - row)]
        part[:] = grey[row : row + _ROWS]
        np.matmul(part, across, out=sums[row : row + _ROWS])
    return _rounded(_weights(height, hash_size).T @ _rounded(sums)).astype(np.uint8)


@lru_cache(maxsize=64)
def _weights(source: int, target: int) -> np.ndarray:
    """(source, target) whole numbers: what each source pixel adds to a target pixel, times 2 ** 22."""
    scale = source / target
    stretch = max(scale, 1.0)
    weights = np.zeros((source, target))
    for column in range(target):
        centre = (column + 0.5) * scale
        first = max(0, int(centre - _LOBES * stretch + 0.5))
        last = min(source, int(centre + _LOBES * stretch + 0.5))
        place = (np.arange(first, last) - centre + 0.5) / stretch
        inside = (place >= -_LOBES) & (place < _LOBES)
        part = np.where(inside, np.sinc(place) * np.sinc(place / _LOBES), 0.0)
        scaled = part * (1.0 / sum(part.tolist())) * 2.0**_FRACTION
        weights[first:last, column] = np.trunc(scaled + np.where(scaled < 0, -0.5, 0.5))
    return weights


def _rounded(sums: np.ndarray) -> np.ndarray:
    """Fixed-point sums to whole grey values in [0, 255], halves up, float64."""
    return np.clip(np.floor((sums + 2.0 ** (_FRACTION - 1)) / 2.0**_FRACTION), 0, 255)


def dhash_bits(image: Any, hash_size: int = 8) -> np.ndarray:
    """(hash_size ** 2,) bool, row by row: True where the right neighbour is brighter. Ties are False.

    Equal to ``imagehash.dhash`` of the same eight-bit image.

    >>> dhash_bits(np.tile(np.arange(90, dtype=np.uint8), (80, 1))).all()
    np.True_
    >>> dhash_bits(np.full((80, 90), 7, np.uint8)).any()
    np.False_
    """
    if hash_size not in SIZES:
        raise DataError("hash_size", seen=hash_size, expected=f"one of {SIZES}")
    small = resized(image, hash_size)
    return (small[:, 1:] > small[:, :-1]).ravel()


def dhash(image: Any, hash_size: int = 8) -> np.ndarray:
    """The hash of an (H, W) uint8 image as (hash_size ** 2 / 8,) uint8, first bit highest.

    >>> to_hex(dhash(np.tile(np.arange(90, dtype=np.uint8), (80, 1))))
    'ffffffffffffffff'
    """
    return np.packbits(dhash_bits(image, hash_size))


def to_hex(code: Any) -> str:
    """A packed hash as text: two hexadecimal digits a byte."""
    return np.asarray(code, dtype=np.uint8).tobytes().hex()


def from_hex(texts: Any) -> np.ndarray:
    """(n, bytes) uint8 of equally long hexadecimal texts.

    >>> from_hex(["00ff", "0001"]).tolist()
    [[0, 255], [0, 1]]
    """
    rows = [bytes.fromhex(text) for text in texts]
    if len({len(row) for row in rows}) > 1:
        raise DataError("hashes of different lengths", seen=sorted({len(row) for row in rows}))
    return np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), -1)
