"""What a worker needs to answer for a part of a scene: the model, the strips of the scene as it reads them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from core.data.parallel import parallel_map
from core.tracking.model_folder import CONFIG
from earth_observation.data.mask import CLOUDY_SCL, warped_mask
from earth_observation.data.opened import Grid
from earth_observation.data.raster import RasterStack, known
from earth_observation.data.scale import Scale
from earth_observation.model import LandCover, load_model

LEAST_VALID = 0.05
"""Share of a tile that must be known for it to be answered."""
PART = 2048
"""Columns that are worked on together where whole rows would take too much memory."""


ROWS_A_JOB = 8
"""Tile rows that a worker answers at a time."""


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
    pixels[work.stack.filled] = 0
    down, right = tile - height, max(0, tile - grid.width)
    if down or right:
        how: Any = "reflect" if down < height and right < grid.width else "edge"
        pixels = np.pad(pixels, ((0, 0), (0, down), (0, right)), mode=how)
        valid = np.pad(valid, ((0, down), (0, right)))
    return pixels, valid


def open_mask(work: Work, grid: Grid) -> Any:
    """The scene classification as a raster on the grid, or None."""
    return warped_mask(work.mask, grid) if work.mask else None


@lru_cache(maxsize=2)
def _loaded(folder: str, changed: int) -> LandCover:
    return load_model(folder)


def open_model(folder: str) -> LandCover:
    """The model in a folder, kept for this process until its files change."""
    config = Path(folder) / CONFIG
    return _loaded(folder, config.stat().st_mtime_ns if config.is_file() else 0)


def by_rows(rows: Callable[[Work, int, int], Iterator[Any]], work: Work, count: int) -> Iterator[Any]:
    """What ``rows`` (a top-level generator of tile rows ``first`` to ``last`` - 1) gives for a whole scene, in order.

    As it comes in one process, else a few jobs of `ROWS_A_JOB` tile rows at a time from the workers.
    """
    if work.tiling.scheduler == "serial":
        yield from rows(work, 0, count)
        return
    jobs = [(k, min(k + ROWS_A_JOB, count)) for k in range(0, count, ROWS_A_JOB)]
    at_once = 4 * (os.cpu_count() or 1)
    for start in range(0, len(jobs), at_once):
        job = partial(_job, rows=rows, work=work)
        for found in parallel_map(
            job, jobs[start : start + at_once], scheduler=work.tiling.scheduler, chunk=1
        ):
            yield from found


def _job(part: tuple[int, int], *, rows: Callable[[Work, int, int], Iterator[Any]], work: Work) -> list[Any]:
    return list(rows(work, *part))
