"""The difference hash (dHash) of a slice: which pixels of a tiny copy are darker than their right neighbour."""

from __future__ import annotations

from typing import Any

import numpy as np

from core.errors import DataError

SIZES = (8, 16)
"""Sides of the hash that exist: 64 bits and 256 bits."""


def resized(image: Any, hash_size: int = 8) -> np.ndarray:
    """The image at (hash_size, hash_size + 1), uint8, by Pillow's Lanczos filter.

    Hashes depend on this filter to the bit; a test holds it apart from what follows.

    Args:
        image: (H, W) uint8.

    Raises:
        DataError: another dtype or rank, or an empty image.
    """
    from PIL import Image

    grey = np.asarray(image)
    if grey.dtype != np.uint8 or grey.ndim != 2 or grey.size == 0:
        raise DataError(
            "image to hash",
            seen=f"{grey.dtype} {grey.shape}",
            expected="uint8 (H, W)",
            remedy="map Hounsfield units to eight bits with medical.ct.window first",
        )
    small = Image.fromarray(grey).resize((hash_size + 1, hash_size), Image.Resampling.LANCZOS)
    return np.asarray(small)


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
