"""Bands of one product from one GeoTIFF or many, on the grid of the finest, opened where they are read."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import DataError
from earth_observation.bands import Sensor, band_of_file, order_by_name
from earth_observation.data.opened import Grid, RasterError, close_raster, grid_of, reading, shared_raster
from earth_observation.tiles import tile_starts


class RasterStack:
    """The bands of one product, in the sensor's order.

    Args:
        paths: one file a band, named by its band, or one file that holds them all.
        sensor: which bands are wanted.
        order: positions (from 0) of the sensor's bands in a single file whose bands carry no names.
        fill: let a 12-band product stand for a 13-band one (`earth_observation.bands.order_by_name`); the band that is
            missing reads as 0, has a place ("", 0) in ``placed``, and its position is in ``filled``.
        onto: read on this grid instead of the finest of the files: other systems and grids are warped
            (bilinear). Needed where files do not share one extent.

    Raises:
        RasterError: kind "bands" (missing, twice, unnamed), "grid" (extents or systems that differ), or as
            `open_raster`.

    Only names and grids are read here; pixels are read by `read`, in whatever process it runs.
    """

    def __init__(
        self,
        paths: Sequence[str | os.PathLike[str]],
        sensor: Sensor,
        *,
        order: Sequence[int] | None = None,
        onto: Grid | None = None,
        fill: bool = False,
    ) -> None:
        self.paths, self.sensor, self.onto = [str(path) for path in paths], sensor, onto
        self.placed = _place_bands(self.paths, sensor, order, fill)
        self.filled = [position for position, (path, _) in enumerate(self.placed) if not path]

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "grid"}

    @cached_property
    def grid(self) -> Grid:
        """The grid that `read` answers on."""
        if self.onto is not None:
            return self.onto
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            grids = {path: grid_of(shared_raster(path)) for path in self._by_file()}
        finest = max(grids.values(), key=lambda grid: grid.height * grid.width)
        for path, grid in grids.items():
            _check_extent(path, grid, finest)
        return finest

    def read(
        self,
        window: tuple[int, int, int, int] | None = None,
        *,
        size: tuple[int, int] | None = None,
        masked: bool = True,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Pixels of a window of `grid`, coarser bands resampled bilinearly.

        Args:
            window: (row, column, height, width), inside the grid; all of it by default.
            size: resample the window to these (rows, columns).
            masked: look for declared nodata.

        Returns:
            (C, h, w) float32 and (h, w) bool: True where every band is known and finite.
        """
        grid = self.grid
        row, column, height, width = window or (0, 0, grid.height, grid.width)
        if row < 0 or column < 0 or row + height > grid.height or column + width > grid.width:
            raise DataError(
                "window", seen=(row, column, height, width), expected=f"inside {grid.height} x {grid.width}"
            )
        shape = size or (height, width)
        out = np.empty((len(self.placed), *shape), dtype=np.float32)
        out[self.filled] = 0
        valid = np.ones(shape, dtype=bool)
        for path, positions in self._by_file().items():
            with reading(path):
                dataset = shared_raster(path)
                indexes = [self.placed[position][1] for position in positions]
                source = _fitted(dataset, grid) if self.onto is not None else dataset
                area = _scaled(grid, source, row, column, height, width)
                alpha = source.count if source is not dataset and dataset.nodata is None else None
                found, good = _read(source, indexes, area, shape, masked, alpha)
                out[positions] = found
                valid &= good
        return out, valid & np.isfinite(out).all(axis=0)

    def raw(self) -> Iterator[tuple[str, np.ndarray, Any]]:
        """(path, all its wanted bands as stored, the open raster) for each file: every block is read once."""
        for path, positions in self._by_file().items():
            with reading(path):
                dataset = shared_raster(path)
                yield path, dataset.read([self.placed[position][1] for position in positions]), dataset

    def close(self) -> None:
        """Close what this process holds open of these files."""
        for path in self.paths:
            close_raster(path)

    def _by_file(self) -> dict[str, list[int]]:
        files: dict[str, list[int]] = {}
        for position, (path, _) in enumerate(self.placed):
            if path:
                files.setdefault(path, []).append(position)
        return files


def read_labels(path: str | os.PathLike[str], onto: Grid | None = None, *, offset: int = 0) -> np.ndarray:
    """A label raster as int32 class numbers, 255 where it declares nodata.

    Args:
        onto: warp it to this grid, nearest neighbour.
        offset: added to every class (-1 where a product counts from 1).
    """
    dataset = shared_raster(str(path))
    with reading(str(path)):
        source = _fitted(dataset, onto, nearest=True) if onto is not None else dataset
        found = source.read(1)
        if source.nodata is not None:
            known = source.read_masks(1) > 0
        elif source is not dataset:  # where a warped raster lies at all
            known = source.read(source.count) > 0
        else:
            known = np.ones(found.shape, dtype=bool)
    if found.dtype.kind == "f":
        whole = np.isfinite(found) & (found == np.round(np.where(np.isfinite(found), found, 0)))
        known &= np.isfinite(found)
        if not whole[known].all():
            raise RasterError("labels", f"{path}", seen="fractions", expected="whole class numbers")
    classes = np.where(known, found, 255).astype(np.int64)
    return np.where(known & (classes != 255), classes + offset, 255).astype(np.int32)


def _place_bands(
    paths: list[str], sensor: Sensor, order: Sequence[int] | None, fill: bool
) -> list[tuple[str, int]]:
    """(file, band index from 1) of each band of the sensor; ("", 0) of one that is filled."""
    where = str(Path(paths[0]).parent) if len(paths) > 1 else paths[0] if paths else sensor.name
    if len(paths) != 1 or (order is None and len(sensor.bands) == 1):
        named = {path: band_of_file(Path(path).stem, sensor) for path in paths}
        kept = [path for path in paths if named[path] is not None]
        try:
            places = order_by_name([named[path] or "" for path in kept], sensor, where=where, fill=fill)
        except DataError as error:
            raise RasterError("bands", str(error)) from None
        return [(kept[place], 1) if place >= 0 else ("", 0) for place in places]
    dataset = shared_raster(paths[0])
    if order is not None:
        if max(order) >= dataset.count:
            raise RasterError(
                "bands", where, seen=f"{dataset.count} band(s)", expected=f"at least {max(order) + 1}"
            )
        return [(paths[0], position + 1) for position in order]
    names = [text or "" for text in dataset.descriptions]
    if any(names):
        try:
            places = order_by_name(names, sensor, where=where, fill=fill)
        except DataError as error:
            raise RasterError("bands", str(error)) from None
        return [(paths[0], place + 1) if place >= 0 else ("", 0) for place in places]
    if dataset.count != len(sensor.bands):
        raise RasterError(
            "bands", f"{where}: bands without names", seen=f"{dataset.count} band(s)",
            expected=f"{len(sensor.bands)} in the order {', '.join(sensor.bands)}, or band descriptions",
            remedy="set the descriptions of the bands (gdal_edit, or dataset.descriptions in rasterio)",
        )  # fmt: skip
    return [(paths[0], index) for index in range(1, dataset.count + 1)]


def _check_extent(path: str, grid: Grid, finest: Grid) -> None:
    if grid.crs != finest.crs:
        raise RasterError(
            "grid", f"{path}: coordinate system", seen=str(grid.crs), expected=str(finest.crs),
            remedy="warp the bands onto one grid, or set data.align to warp",
        )  # fmt: skip
    tolerance = 1.01 * max(abs(grid.transform.a), abs(finest.transform.a))
    off = max(abs(a - b) for a, b in zip(grid.bounds, finest.bounds))
    if grid.crs is not None and off > tolerance:
        raise RasterError(
            "grid", f"{path}: extent is off by {off:g}", seen=[round(v, 1) for v in grid.bounds],
            expected=str([round(v, 1) for v in finest.bounds]),
            remedy="warp the bands onto one grid, or set data.align to warp",
        )  # fmt: skip


def _scaled(grid: Grid, dataset: Any, row: int, column: int, height: int, width: int) -> Any:
    """The window of ``grid`` in the pixels of a raster that covers the same ground with others."""
    from rasterio.windows import Window

    down, right = dataset.height / grid.height, dataset.width / grid.width
    return Window(column * right, row * down, width * right, height * down)


def _read(
    source: Any, indexes: list[int], area: Any, shape: tuple[int, int], masked: bool, alpha: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels and where they are known; ``alpha`` is the band that says where a warped raster lies at all."""
    from rasterio.enums import MaskFlags, Resampling

    whole = (round(area.height), round(area.width)) == shape
    # at its own resolution a block is copied; only what is resampled needs floats
    found = source.read(
        indexes, window=area, out_shape=(len(indexes), *shape),
        resampling=Resampling.nearest if whole else Resampling.bilinear,
        out_dtype=None if whole else "float32",
    )  # fmt: skip
    valid = np.ones(shape, dtype=bool)
    if alpha is not None:
        valid = source.read(alpha, window=area, out_shape=shape) > 0
    elif masked and any(MaskFlags.all_valid not in source.mask_flag_enums[index - 1] for index in indexes):
        masks = source.read_masks(indexes, window=area, out_shape=(len(indexes), *shape))
        valid = (masks > 0).all(axis=0)
    return found, valid


def _fitted(dataset: Any, grid: Grid, *, nearest: bool = False) -> Any:
    """The raster itself where it lies on the grid, else a warped view of it."""
    own = grid_of(dataset)
    if (
        own.crs == grid.crs
        and own.transform.almost_equals(grid.transform, 1e-6)
        and ((own.height, own.width) == (grid.height, grid.width))
    ):
        return dataset
    from rasterio.enums import Resampling
    from rasterio.vrt import WarpedVRT

    if own.crs is None or grid.crs is None:
        raise RasterError(
            "crs", f"{dataset.name} has no coordinate system", expected="one, to be warped",
            remedy="set it with gdal_edit -a_srs",
        )  # fmt: skip
    return WarpedVRT(
        dataset, crs=grid.crs, transform=grid.transform, height=grid.height, width=grid.width,
        resampling=Resampling.nearest if nearest else Resampling.bilinear, add_alpha=dataset.nodata is None,
    )  # fmt: skip


def grid_patches(
    stack: RasterStack, size: int, stride: int | None = None, *, most_mib: float = 256.0
) -> Iterator[tuple[np.ndarray, np.ndarray, tuple[int, int]]]:
    """Every patch of a grid over a scene: pixels (C, size, size), known (size, size), (row, column).

    The scene is read in strips as wide as itself, so that each block of the file is decoded once or twice,
    not once a patch; patches are views of their strip. Strips wider than ``most_mib`` are read in parts.

    Args:
        size, stride: pixels; the last patch of a row or column is flush with the edge.
    """
    grid = stack.grid
    if min(grid.height, grid.width) < size:
        raise DataError("patch size", seen=size, expected=f"at most {min(grid.height, grid.width)}")
    rows = tile_starts(grid.height, size, stride or size)
    columns = tile_starts(grid.width, size, stride or size)
    bytes_a_column = 5 * len(stack.sensor.bands) * size
    at_once = max(1, int(most_mib * 2**20 / bytes_a_column) // size)
    for row in rows:
        for first in range(0, len(columns), at_once):
            part = columns[first : first + at_once]
            x, valid = stack.read((row, part[0], size, part[-1] + size - part[0]))
            for column in part:
                inside = slice(column - part[0], column - part[0] + size)
                yield x[:, :, inside], valid[:, inside], (row, column)


def known(x: np.ndarray, sensor: Sensor) -> np.ndarray:
    """(h, w) bool: pixels that are not "no data" by Sentinel-2's own convention, 0 in every band."""
    return (x != 0).any(axis=0) if sensor.unit == "dn" else np.ones(x.shape[1:], dtype=bool)
