"""What a worker needs to answer for a part of a scene: the model, the strips of the scene as it reads them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from core.tracking.model_folder import CONFIG
from earth_observation.data.opened import Grid, shared_raster
from earth_observation.data.raster import RasterStack, known
from earth_observation.data.scale import Scale
from earth_observation.model import LandCover, load_model

CLOUDY_SCL = (0, 1, 3, 8, 9, 10)
"""Scene-classification values of Sentinel-2 that hide the ground: no data, defects, shadow, clouds, cirrus."""
LEAST_VALID = 0.05
"""Share of a tile that must be known for it to be answered."""
PART = 2048
"""Columns that are worked on together where whole rows would take too much memory."""


@dataclass(frozen=True)
class Tiling:
    """How a scene is cut and where the work is done."""

    tile: int = 224
    stride: int = 160
    batch_size: int = 16
    scheduler: str = "serial"


@dataclass(frozen=True)
class Work:
    """What a worker needs: the model's folder, the bands, the scale, the tiles, a mask."""

    model: str
    stack: RasterStack
    scale: Scale
    tiling: Tiling
    mask: str = ""
    mask_values: tuple[int, ...] = CLOUDY_SCL


def read_strip(
    work: Work, model: LandCover, row: int, height: int, mask: Any
) -> tuple[np.ndarray, np.ndarray]:
    """A strip as normalised bytes (C, tile, >= tile) and what is known of it, padded by reflection to a tile."""
    grid, tile = work.stack.grid, work.tiling.tile
    x, valid = work.stack.read((row, 0, height, grid.width))
    valid &= known(x, model.sensor)
    if mask is not None:
        from rasterio.windows import Window

        valid &= ~np.isin(mask.read(1, window=Window(0, row, grid.width, height)), work.mask_values)
    pixels = np.empty(x.shape, dtype=np.uint8)
    # double precision of a whole strip would be the largest array here
    for left in range(0, grid.width, PART):
        part = np.s_[..., left : left + PART]
        pixels[part] = model.normalisation(work.scale(x[part]), valid[part])
    down, right = tile - height, max(0, tile - grid.width)
    if down or right:
        how: Any = "reflect" if down < height and right < grid.width else "edge"
        pixels = np.pad(pixels, ((0, 0), (0, down), (0, right)), mode=how)
        valid = np.pad(valid, ((0, down), (0, right)))
    return pixels, valid


def open_mask(work: Work, grid: Grid) -> Any:
    """The scene classification as a raster on the grid, or None."""
    if not work.mask:
        return None
    from rasterio.enums import Resampling
    from rasterio.vrt import WarpedVRT

    return WarpedVRT(
        shared_raster(work.mask), crs=grid.crs, transform=grid.transform, height=grid.height, width=grid.width,
        resampling=Resampling.nearest,
    )  # fmt: skip


@lru_cache(maxsize=2)
def _loaded(folder: str, changed: int) -> LandCover:
    return load_model(folder)


def open_model(folder: str) -> LandCover:
    """The model in a folder, kept for this process until its files change."""
    config = Path(folder) / CONFIG
    return _loaded(folder, config.stat().st_mtime_ns if config.is_file() else 0)
