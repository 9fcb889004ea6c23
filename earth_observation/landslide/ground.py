"""A ground on disk: picture, elevation and, to learn from, scars, on one grid; checked, and cut to tiles."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from core.errors import DataError
from earth_observation.bands import SENSORS, Sensor
from earth_observation.data.checks import Limits, check_geometry
from earth_observation.data.opened import Grid, RasterError, close_raster, grid_of, shared_raster
from earth_observation.data.raster import RasterStack, read_labels
from earth_observation.data.write import block_split
from earth_observation.labels import check_classes_of
from earth_observation.landslide.polygons import SUFFIXES, burn_polygons
from earth_observation.terrain import check_dem, check_offset, check_share, terrain_features

_HEIGHT = Sensor("dem", ("height",), "raw", (1.0,))


@dataclass(frozen=True)
class Ground:
    """Arrays of one grid, held in memory: some 8 bytes a pixel.

    Attributes:
        picture: (3, H, W) as stored. dem: (H, W) float32 metres, NaN where unknown.
        mask: (H, W) uint8, 1 on a scar, 0 elsewhere, 255 unknown; None where there are no labels.
        known: (H, W) bool, where the picture has data. notes: what is worth knowing.
    """

    picture: np.ndarray
    dem: np.ndarray
    known: np.ndarray
    mask: np.ndarray | None
    grid: Grid
    notes: Sequence[str] = field(default_factory=tuple)

    @property
    def metres(self) -> float:
        """Of a pixel."""
        return abs(float(self.grid.transform.a))


def read_ground(
    picture: str | os.PathLike[str],
    dem: str | os.PathLike[str],
    labels: str | os.PathLike[str] | None = None,
) -> Ground:
    """Read and check; elevation and labels are put on the picture's grid (bilinear, nearest neighbour).

    Labels are a raster, or polygons as GeoJSON (`burn_polygons`).

    Raises:
        RasterError: a picture without three bands or metres, an elevation model that `check_dem` refuses or that
            lies elsewhere. DataError: labels other than 0, 1 and 255.
    """
    named = any(shared_raster(str(picture)).descriptions)
    stack = RasterStack([picture], SENSORS["rgb"], order=None if named else (0, 1, 2))
    grid, where = stack.grid, str(picture)
    notes = [n.text for n in check_geometry(grid, stack.sensor, Limits(), where=where)]
    x, known = stack.read()
    source = shared_raster(str(dem))
    own = grid_of(source)
    notes += [n.text for n in check_dem(source.read(1), source.nodata, own, grid, where=str(dem))]
    heights, there = RasterStack([dem], _HEIGHT, order=(0,), onto=grid).read()
    if not there.any():
        raise RasterError(
            "grid", f"{dem}: no pixel on the picture's ground", seen=[round(v) for v in own.bounds],
            expected=str([round(v) for v in grid.bounds]), remedy="give the elevation model of the same ground",
        )  # fmt: skip
    height = np.where(there, heights[0], np.nan)
    notes += [n.text for n in check_offset(x.mean(axis=0), height, known & there, where=str(dem))]
    mask = None
    if labels is not None:
        outlined = Path(labels).suffix.lower() in SUFFIXES
        raw = burn_polygons(labels, grid) if outlined else read_labels(labels, grid)
        check_classes_of(raw, 2, where=str(labels))
        mask = np.where(known, raw, 255).astype(np.uint8)
        notes += [n.text for n in check_share(mask, where=str(labels))]
    for path in (str(picture), str(dem), *([] if labels is None else [str(labels)])):
        close_raster(path)
    dtype = np.uint8 if x.max() <= 255 else np.uint16 if x.max() <= 65_535 else np.float32
    return Ground(x.astype(dtype), height, known, mask, grid, tuple(notes))


def brightest(ground: Ground) -> float:
    """What counts as 1 in a picture: 255 for bytes, else the 99.5th percentile of what is known."""
    if ground.picture.dtype == np.uint8:
        return 255.0
    return max(float(np.percentile(ground.picture[:, ground.known], 99.5)), 1e-6)


def cut_ground(ground: Ground, tile: int, *, white: float) -> dict[str, dict[str, np.ndarray]]:
    """Tiles side by side, by split: blocks of two by two tiles alternate, and no block is in two splits.

    Of five blocks in a row four train and one tests. Tiles without a labelled pixel are left out.

    Returns:
        "train" and "test": ``picture`` (n, 3, tile, tile) float32, ``dem``, ``mask`` and ``place`` (n, 2), the first
        row and column of each tile.

    Raises:
        DataError: no labels, or a split without a scar.
    """
    if ground.mask is None:
        raise DataError(
            "landslides", seen="no labels", expected="a raster or polygons of scars to learn from"
        )
    places: dict[str, list[tuple[int, int]]] = {"train": [], "test": []}
    height, width = ground.mask.shape
    for row in range(0, height - tile + 1, tile):
        for column in range(0, width - tile + 1, tile):
            if (ground.mask[row : row + tile, column : column + tile] != 255).any():
                split = block_split(row // (2 * tile), column // (2 * tile))
                places["test" if split == "test" else "train"].append((row, column))
    out = {}
    for split, chosen in places.items():
        windows = [np.s_[..., r : r + tile, c : c + tile] for r, c in chosen]
        tiles = {
            "picture": np.array([np.clip(ground.picture[w] / white, 0, 1) for w in windows], np.float32),
            "dem": np.array([ground.dem[w] for w in windows]),
            "mask": np.array([ground.mask[w] for w in windows]),
            "place": np.array(chosen),
        }
        if not (tiles["mask"] == 1).any():
            raise DataError(
                f"scars in the {split} blocks", seen=0, expected="at least one",
                remedy=f"label more ground, or lower the tile ({tile} pixels)",
            )  # fmt: skip
        out[split] = tiles
    return out


def landslide_batch(
    tiles: Mapping[str, np.ndarray], chosen: Sequence[int], metres: float = 5.0, *, turns: int = 0
) -> dict[str, Tensor]:
    """Tensors of the chosen tiles: ``picture``, ``terrain``, ``known``, ``mask``; turned by quarters.

    Terrain is derived after the turn, since slopes point somewhere.
    """
    turned = {
        key: np.ascontiguousarray(np.rot90(tiles[key][list(chosen)], turns, (-2, -1)))
        for key in ("picture", "dem", "mask")
    }
    terrain, known = zip(*(terrain_features(dem, (metres, metres)) for dem in turned["dem"]))
    return {
        "picture": torch.from_numpy(turned["picture"]),
        "terrain": torch.from_numpy(np.stack(terrain)),
        "known": torch.from_numpy(np.stack(known)),
        "mask": torch.from_numpy(turned["mask"]).long(),
    }


def default_files(folder: Path) -> tuple[Path, Path, Path]:
    """(picture, elevation, scars) as `write_landslides` names them."""
    return folder / "picture.tif", folder / "dem.tif", folder / "scars.tif"
