"""Contrast-limited adaptive histogram equalisation of a film."""

from __future__ import annotations

import numpy as np

BINS = 256


def equalize(pixels: np.ndarray, *, tiles: int = 8, limit: float = 0.01) -> np.ndarray:
    """(H, W) in 0..1 with the contrast of each neighbourhood spread, as radiographs are often shown.

    Zuiderveld 1994, "Contrast limited adaptive histogram equalization": each of tiles x tiles parts gets the
    cumulative histogram, clipped at ``limit`` of its pixels a bin, as its grey scale; between their middles the
    scales are interpolated.

    >>> flat = equalize(np.full((64, 64), 0.4))
    >>> bool(flat.min() == flat.max())
    True
    """
    height, width = pixels.shape
    levels = np.clip(np.rint(pixels * (BINS - 1)), 0, BINS - 1).astype(np.int64)
    rows = np.minimum(np.arange(height) * tiles // height, tiles - 1)
    columns = np.minimum(np.arange(width) * tiles // width, tiles - 1)
    part = rows[:, None] * tiles + columns[None, :]
    counts = np.bincount((part * BINS + levels).ravel(), minlength=tiles * tiles * BINS).astype(np.float64)
    counts = counts.reshape(tiles, tiles, BINS)
    sizes = counts.sum(axis=2, keepdims=True)
    ceiling = np.maximum(limit * sizes, 1.0)
    spare = np.maximum(counts - ceiling, 0).sum(axis=2, keepdims=True)
    scale = np.cumsum((np.minimum(counts, ceiling) + spare / BINS) / sizes, axis=2)
    y0, y1, fy = _neighbours(height, tiles)
    x0, x1, fx = _neighbours(width, tiles)
    upper = _mix(
        scale[y0[:, None], x0[None, :], levels], scale[y0[:, None], x1[None, :], levels], fx[None, :]
    )
    lower = _mix(
        scale[y1[:, None], x0[None, :], levels], scale[y1[:, None], x1[None, :], levels], fx[None, :]
    )
    return np.clip(_mix(upper, lower, fy[:, None]), 0, 1).astype(np.float32)


def _neighbours(length: int, tiles: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The tiles before and after each pixel, and how far it is from the middle of the one to that of the other."""
    place = (np.arange(length) + 0.5) * tiles / length - 0.5
    first = np.floor(place).astype(np.int64)
    return np.clip(first, 0, tiles - 1), np.clip(first + 1, 0, tiles - 1), place - first


def _mix(a: np.ndarray, b: np.ndarray, share: np.ndarray) -> np.ndarray:
    return np.asarray(a * (1 - share) + b * share)
