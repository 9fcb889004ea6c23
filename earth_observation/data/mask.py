"""Cloud masks: a scene classification (SCL) of Sentinel-2, on any grid over the same ground."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from earth_observation.data.opened import Grid, RasterError, close_raster, shared_raster
from earth_observation.data.raster import read_labels

CLOUDY_SCL = (0, 1, 3, 8, 9, 10)
"""Scene-classification values of Sentinel-2 that hide the ground: no data, defects, shadow, clouds, cirrus."""
MOST_SCL = 11
OUTSIDE = 255


def hidden_pixels(path: str | os.PathLike[str], grid: Grid) -> np.ndarray:
    """(height, width) bool of a grid: True where the ground is hidden, or where the mask does not lie.

    Raises:
        RasterError: kind "mask" (`check_mask`), "crs" (the mask or the grid has no system), or as `open_raster`.
    """
    found = read_labels(path, grid)
    close_raster(str(path))
    check_mask(found, where=str(path))
    return np.isin(found, (*CLOUDY_SCL, OUTSIDE))


def check_mask(values: np.ndarray, *, where: str) -> None:
    """Refuse what is no scene classification.

    Values beyond 11, and masks of 0 and 1 alone, of which each value would hide the ground.

    >>> check_mask(np.array([4, 5, 9]), where="scl.tif")
    """
    known = np.unique(values[values != OUTSIDE])
    if known.size and (known.min() < 0 or known.max() > MOST_SCL):
        raise RasterError(
            "mask", where, seen=known[(known < 0) | (known > MOST_SCL)][:5].tolist(),
            expected=f"values of a scene classification (SCL), 0 to {MOST_SCL}",
        )  # fmt: skip
    if known.size and known.max() <= 1 and values.size > 1:
        raise RasterError(
            "mask", where, seen=f"only {' and '.join(str(v) for v in known)}",
            expected=f"a scene classification (SCL): {', '.join(map(str, CLOUDY_SCL))} hide the ground",
            remedy="write 9 for cloud and 4 for clear ground",
        )  # fmt: skip


def warped_mask(path: str, grid: Grid) -> Any:
    """A mask as a raster on a grid, of which windows can be read; 0, which hides, where it does not lie.

    Raises:
        RasterError: kind "crs", or as `open_raster`.
    """
    from rasterio.enums import Resampling
    from rasterio.vrt import WarpedVRT

    source = shared_raster(path)
    if source.crs is None:
        raise RasterError(
            "crs", f"{path}: no coordinate system", expected="one", remedy="set it with gdal_edit -a_srs"
        )
    return WarpedVRT(
        source, crs=grid.crs, transform=grid.transform, height=grid.height, width=grid.width,
        resampling=Resampling.nearest,
    )  # fmt: skip
