"""Terrain features of an elevation model: what does not tell where on Earth it lies."""

from __future__ import annotations

import numpy as np

from core.errors import DataError

CHANNELS = ("height over the tile's median", "slope", "aspect sine", "aspect cosine")


def terrain_features(dem: np.ndarray, step: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Relative height, slope and aspect.

    Adding a constant to the elevation changes nothing.

    Args:
        dem: (H, W) metres, NaN where unknown.
        step: (rows, columns) metres a pixel; of a grid in degrees take `metres_a_pixel` first.

    Returns:
        (4, H, W) float32, each about -3 to 3, 0 where unknown; and (H, W) bool, True where known. Height is in
        hundreds of metres over the median, slope as tan, aspect as sine and cosine of the downhill direction
        (cosine 1 to the top of the raster) times the share of slope.

    >>> x, known = terrain_features(np.array([[0.0, 10, 20]] * 3), (10.0, 10.0))
    >>> x[:, 1, 1].round(2).tolist(), bool(known.all())
    ([0.0, 1.0, -1.0, 0.0], True)
    """
    if dem.ndim != 2 or min(dem.shape) < 2:
        raise DataError("elevation", seen=dem.shape, expected="(H, W) with at least 2 pixels a side")
    known = np.isfinite(dem)
    if not known.any():
        return np.zeros((4, *dem.shape), dtype=np.float32), known
    height = np.where(known, dem - np.median(dem[known]), 0.0)
    down, right = np.gradient(height, *step)
    slope = np.hypot(down, right)
    share = np.divide(1.0, slope, out=np.zeros_like(slope), where=slope > 1e-6)
    stack = np.stack([height / 100, np.clip(slope, 0, 3), -right * share, down * share])
    edge = known.copy()  # a difference across the rim of a gap is no slope
    for axis in (0, 1):
        for shift in (1, -1):
            edge &= np.roll(known, shift, axis) | (_rim(dem.shape, axis, shift))
    stack[1:, ~edge] = 0
    return np.where(known, stack, 0).astype(np.float32), known


def metres_a_pixel(transform: object, latitude: float) -> tuple[float, float]:
    """(rows, columns) metres of a pixel of a grid in degrees, at a latitude.

    >>> from affine import Affine
    >>> [round(v) for v in metres_a_pixel(Affine(0.001, 0, 0, 0, -0.001, 60), 60.0)]
    [111, 56]
    """
    t: object = transform
    degree = 111_320.0
    return abs(t.e) * degree, abs(t.a) * degree * float(np.cos(np.radians(latitude)))  # type: ignore[attr-defined]


def _rim(shape: tuple[int, ...], axis: int, shift: int) -> np.ndarray:
    rim = np.zeros(shape, dtype=bool)
    line: list[slice | int] = [slice(None)] * 2
    line[axis] = 0 if shift == 1 else -1
    rim[tuple(line)] = True
    return rim
