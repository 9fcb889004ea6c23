"""Terrain features of an elevation model: what does not tell where on Earth it lies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from core.errors import DataError
from earth_observation.data.checks import Limits, Note, estimated_shift
from earth_observation.data.opened import Grid, RasterError

LIMITS = Limits()
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


def metres_a_pixel(transform: Any, latitude: float) -> tuple[float, float]:
    """(rows, columns) metres of a pixel of a grid in degrees, at a latitude.

    >>> from affine import Affine
    >>> [round(v) for v in metres_a_pixel(Affine(0.001, 0, 0, 0, -0.001, 60), 60.0)]
    [111, 56]
    """
    degree = 111_320.0
    return (
        abs(transform.e) * degree,
        abs(transform.a) * degree * float(np.cos(np.radians(latitude))),
    )


def _rim(shape: tuple[int, ...], axis: int, shift: int) -> np.ndarray:
    rim = np.zeros(shape, dtype=bool)
    line: list[slice | int] = [slice(None)] * 2
    line[axis] = 0 if shift == 1 else -1
    rim[tuple(line)] = True
    return rim


VOIDS = (-32768.0, -9999.0, -99999.0)
"""Values that mean "no data" in elevation models that forget to declare it."""


def check_dem(
    dem: np.ndarray, nodata: float | None, grid: Grid, picture: Grid, *, where: str, coarsest: float = 20.0
) -> Iterator[Note]:
    """Look at an elevation model that is to be joined with a picture.

    Args:
        dem: (H, W) as stored. nodata: as declared. grid, picture: of the model and of the picture.
        coarsest: largest ratio of their pixels.

    Raises:
        RasterError: kind "nodata" (a void value that is not declared), "crs" (none), "gsd" (far coarser than the
            picture), "constant".

    Yields notes of kind "units" (feet?), "flat" (filled voids), "seam" (a step along a whole line), "degrees".
    """
    if grid.crs is None or picture.crs is None:
        raise RasterError("crs", f"{where}: no coordinate system", expected="one for picture and elevation")
    for void in VOIDS:
        share = float((dem == void).mean())
        if share and nodata != void:
            raise RasterError(
                "nodata", f"{where}: {share:.1%} of the pixels are {void:g}", expected="declared as nodata",
                remedy=f"gdal_edit -a_nodata {void:g}",
            )  # fmt: skip
    known = np.isfinite(dem) & ((dem != nodata) if nodata is not None else True)
    if not known.any() or np.ptp(dem[known]) == 0:
        raise RasterError("constant", f"{where}: every pixel is the same", remedy="leave it out")
    if grid.crs.is_geographic == picture.crs.is_geographic:
        ratio = abs(grid.transform.a / picture.transform.a)
        if ratio > coarsest:
            raise RasterError(
                "gsd", f"{where}: {ratio:.0f} times coarser than the picture", expected=f"at most {coarsest:g}",
                remedy="use a finer elevation model",
            )  # fmt: skip
    if grid.crs.is_geographic:
        yield Note(
            "degrees", f"{where}: a grid in degrees is warped to the picture's before slopes are taken"
        )
    if float(np.ptp(dem[known])) > 9000 or float(dem[known].max()) > 8900:
        yield Note("units", f"{where}: heights up to {dem[known].max():.0f}: are they in feet?")
    level = (np.diff(dem.astype(np.float64), axis=1)[:-1] == 0) & (
        np.diff(dem.astype(np.float64), axis=0)[:, :-1] == 0
    )
    if dem.dtype.kind == "f" and level.mean() > 0.2:
        yield Note(
            "flat", f"{where}: {level.mean():.0%} of the pixels are exactly flat: filled voids or water"
        )
    for axis, word in ((0, "row"), (1, "column")):
        steps = np.abs(np.diff(np.where(known, dem, np.nan).astype(np.float64), axis=axis))
        whole = np.isfinite(steps).any(axis=1 - axis)
        lines = np.nanmedian(steps.compress(whole, axis=axis), axis=1 - axis)
        usual = float(np.nanmedian(lines))
        if np.nanmax(lines) > 10 * usual + 1:
            yield Note(
                "seam",
                f"{where}: heights step by {np.nanmax(lines):.1f} m along a whole {word}: tiles joined badly?",
            )


def check_offset(
    brightness: np.ndarray, dem: np.ndarray, known: np.ndarray, *, where: str, limits: Limits = LIMITS
) -> Iterator[Note]:
    """Whether an elevation model lies beside the picture that it is joined with.

    Sunlight draws the relief into a picture: brightness is compared with slopes lit from four sides, and the surest
    shift is taken. A hint, not a measurement: flat or evenly lit ground says nothing.

    Args:
        brightness: (H, W) of the picture. dem: (H, W) metres on its grid. known: (H, W), where both are.

    Yields a note of kind "offset" for more than ``limits.shift_pixels``.
    """
    if not known.any():
        return
    height = np.where(known, dem, np.median(dem[known]))
    light = np.where(known, brightness, brightness[known].mean())
    down, right = np.gradient(height)
    found = max(
        (estimated_shift(side, light) for side in (down, right, down + right, down - right)),
        key=lambda shift: shift[2],
    )
    rows, columns, sure = found
    if sure > limits.shift_surety and max(abs(rows), abs(columns)) > limits.shift_pixels:
        yield Note(
            "offset",
            f"{where}: the relief seems shifted by ({rows:g}, {columns:g}) pixels against the picture",
        )


def check_share(mask: np.ndarray, *, where: str, least: float = 0.01) -> Iterator[Note]:
    """A note of kind "rare" where fewer than ``least`` of the labelled pixels are of class 1.

    >>> [note.kind for note in check_share(np.eye(200, dtype=np.uint8), where="scars.tif")]
    ['rare']
    """
    labelled = mask != 255
    share = float((mask == 1).sum() / max(int(labelled.sum()), 1))
    if share < least:
        yield Note(
            "rare",
            f"{where}: {share:.2%} of the labelled pixels are landslide: scores will scatter, and a larger weight of "
            "that class or tiles around scars may be needed",
        )
