"""Whole scenes: tiles read strip by strip, answers blended, maps written as Cloud-Optimised GeoTIFFs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from core.data.parallel import parallel_map
from core.errors import ConfigError, DataError
from core.files import sha256_file, write_json
from earth_observation.data.checks import Limits, check_geometry, cloud_share
from earth_observation.data.raster import Grid, RasterStack
from earth_observation.data.scale import Scale, choose_scale
from earth_observation.data.sources import LOOK
from earth_observation.data.store import known
from earth_observation.labels import NODATA, colour_map
from earth_observation.model import CONFIG, WEIGHTS, LandCover, load_model, stride_of
from earth_observation.tiles import StripBlend, tile_starts

LEAST_VALID = 0.05
CLOUDY_SCL = (0, 1, 3, 8, 9, 10)
"""Scene-classification values of Sentinel-2 that hide the ground: no data, defects, shadow, clouds, cirrus."""
ROWS_A_JOB = 8
CACHE_MIB = 96
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
class _Work:
    """What a worker needs: the model's folder, the bands, the scale, the tiles, a mask."""

    model: str
    stack: RasterStack
    scale: Scale
    tiling: Tiling
    mask: str = ""
    mask_values: tuple[int, ...] = CLOUDY_SCL


def map_scene(
    model: str | os.PathLike[str],
    paths: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    name: str = "scene",
    tiling: Tiling = Tiling(),
    scale: str = "auto",
    order: Sequence[int] | None = None,
    mask: str | os.PathLike[str] = "",
    mask_values: Sequence[int] = CLOUDY_SCL,
    embedding: bool = False,
    quicklook: bool = True,
) -> dict[str, Any]:
    """Land cover of every pixel of a scene of any size.

    Writes into ``out``, with the scene's system, transform and extent: ``<name>_landcover.tif`` (class numbers,
    255 without data, colour table, class names as tags), ``<name>_confidence.tif`` (0 to 200 for 0 to 1, 255
    without data), with ``embedding`` ``<name>_embedding.tif`` (a pixel a cell of the encoder, NaN without data),
    ``<name>_quicklook.png`` and ``<name>_report.json``.

    Tiles overlap by ``tile - stride``; class probabilities are blended by a Hann window before the class is chosen.
    Memory grows with tile x width x classes, not with the scene. What is read and answered does not depend on
    ``batch_size`` or the scheduler. Tiles of which less than 5 % is known are skipped.

    Args:
        model: folder of a `LandCover` with a map head.
        paths: one file of all bands, or one a band. order: of a single file without band names.
        scale: rule of `earth_observation.data.scale`. mask: raster of a scene classification on the scene's
            ground; pixels of ``mask_values`` are treated as unknown.

    Returns:
        What the report holds.

    Raises:
        DataError: bands, geometry or numbers that do not fit. ConfigError: no map head; tiles that do not fit.
    """
    opened = _model(str(model))
    if opened.decoder is None:
        raise ConfigError("model", seen="no map head", remedy="run adapt with map_steps > 0")
    stride = stride_of(opened.encoder)
    if tiling.tile % stride or (embedding and tiling.stride % stride):
        raise ConfigError(
            "scene (tile, stride)", seen=(tiling.tile, tiling.stride), expected=f"multiples of {stride}"
        )
    stack = RasterStack(paths, opened.sensor, order=order)
    grid = stack.grid
    notes = [n.text for n in check_geometry(grid, opened.sensor, Limits(), where=name)]
    chosen, clouds = _look(stack, opened, scale, name)
    if clouds > Limits().cloud_share and not mask:
        notes.append(f"{clouds:.0%} of the pixels are bright and white, and no cloud mask was given")
    if chosen.note:
        notes.append(chosen.note)
    work = _Work(str(model), stack, chosen, tiling, str(mask), tuple(mask_values))
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    known_pixels = _write_maps(work, opened, grid, folder, name)
    files = [f"{name}_landcover.tif", f"{name}_confidence.tif"]
    if embedding:
        _write_embedding(work, opened, grid, folder / f"{name}_embedding.tif")
        files.append(f"{name}_embedding.tif")
    if quicklook:
        from earth_observation.quicklook import scene_figure

        files.append(scene_figure(folder / f"{name}_quicklook.png", stack, chosen, opened, folder, name).name)
    report = {
        "scene": name,
        "size": [grid.height, grid.width],
        "crs": str(grid.crs),
        "transform": list(grid.transform)[:6],
        "bands": {band: Path(path).name for band, (path, _) in zip(opened.sensor.bands, stack.placed)},
        "scale": chosen.rule,
        "known_share": known_pixels / (grid.height * grid.width),
        "warnings": notes,
        "classes": list(opened.table.names),
        "normalisation": opened.normalisation.name,
        "tile": tiling.tile,
        "stride": tiling.stride,
        "model": str(model),
        "weights_sha256": sha256_file(Path(model) / WEIGHTS),
        "files": files,
    }
    write_json(folder / f"{name}_report.json", report)
    stack.close()
    return report


def map_rows(work: _Work, first: int, last: int) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """(row, classes, confidence) of rows of the scene, strip by strip, for tile rows ``first`` to ``last`` - 1.

    The tiles above that reach into the first rows are computed too, so that parts of a scene fit together
    without a seam, to the bit.
    """
    import torch

    model, grid, tiling = _model(work.model), work.stack.grid, work.tiling
    starts = tile_starts(grid.height, tiling.tile, tiling.stride)
    columns = tile_starts(grid.width, tiling.tile, tiling.stride)
    begin = next(k for k, row in enumerate(starts) if row + tiling.tile > starts[first])
    blend = StripBlend(len(model.table), grid.width, tiling.tile, np.float32)
    blend.top = starts[begin]
    mask = _open_mask(work, grid)
    for number in range(begin, last):
        row = starts[number]
        height = min(tiling.tile, grid.height - row)
        pixels, valid = _strip(work, model, row, height, mask)
        with torch.no_grad():
            for part in _batches(valid, columns, tiling, height, grid.width):
                x = (
                    torch.from_numpy(np.stack([pixels[:, :, c : c + tiling.tile] for c in part])).float()
                    / 255
                )
                for column, answer in zip(part, model.map(x).softmax(1).numpy()):
                    blend.add(answer, row, column)
        following = starts[number + 1] if number + 1 < len(starts) else grid.height
        rows = min(following, grid.height) - row
        good = valid[:rows, : grid.width]
        if number >= first:
            yield row, *_decide(blend, good, rows)
        blend.move(rows)


def _decide(blend: StripBlend, good: np.ndarray, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """(classes, confidence) of the finished rows, a part of the columns at a time."""
    classes = np.full(good.shape, NODATA, dtype=np.uint8)
    confidence = classes.copy()
    for left in range(0, good.shape[1], PART):
        part = np.s_[:, left : left + PART]
        shares = blend.peek(rows, left, min(left + PART, good.shape[1]))
        known_here = good[part] & np.isfinite(shares[0])
        filled = np.nan_to_num(shares)
        classes[part] = np.where(known_here, filled.argmax(0), NODATA)
        confidence[part] = np.where(known_here, np.round(200 * filled.max(0)), NODATA)
    return classes, confidence


def _batches(
    valid: np.ndarray, columns: list[int], tiling: Tiling, height: int, width: int
) -> Iterator[list[int]]:
    """Columns of the tiles to answer, by batches: those of which enough of what lies in the scene is known."""
    wanted = [c for c in columns if valid[:height, c : c + tiling.tile][:, : width - c].mean() >= LEAST_VALID]
    for start in range(0, len(wanted), tiling.batch_size):
        yield wanted[start : start + tiling.batch_size]


def _strip(work: _Work, model: LandCover, row: int, height: int, mask: Any) -> tuple[np.ndarray, np.ndarray]:
    """A strip as normalised bytes (C, tile, >= tile) and what is known of it, padded by reflection to a tile."""
    grid, tile = work.stack.grid, work.tiling.tile
    x, valid = work.stack.read((row, 0, height, grid.width))
    valid &= known(x, model.sensor)
    if mask is not None:
        from rasterio.windows import Window

        valid &= ~np.isin(mask.read(1, window=Window(0, row, grid.width, height)), work.mask_values)
    pixels = np.empty(x.shape, dtype=np.uint8)
    for left in range(
        0, grid.width, 2048
    ):  # double precision of a whole strip would be the largest array here
        part = np.s_[..., left : left + PART]
        pixels[part] = model.normalisation(work.scale(x[part]), valid[part])
    down, right = tile - height, max(0, tile - grid.width)
    if down or right:
        how: Any = "reflect" if down < height and right < grid.width else "edge"
        pixels = np.pad(pixels, ((0, 0), (0, down), (0, right)), mode=how)
        valid = np.pad(valid, ((0, down), (0, right)))
    return pixels, valid


def _open_mask(work: _Work, grid: Grid) -> Any:
    if not work.mask:
        return None
    from rasterio.enums import Resampling
    from rasterio.vrt import WarpedVRT

    from earth_observation.data.raster import shared_raster

    return WarpedVRT(
        shared_raster(work.mask), crs=grid.crs, transform=grid.transform, height=grid.height, width=grid.width,
        resampling=Resampling.nearest,
    )  # fmt: skip


def _map_job(job: tuple[int, int], *, work: _Work) -> list[tuple[int, np.ndarray, np.ndarray]]:
    return list(map_rows(work, *job))


def _write_maps(work: _Work, model: LandCover, grid: Grid, folder: Path, name: str) -> int:
    import rasterio
    from rasterio.windows import Window

    count = len(tile_starts(grid.height, work.tiling.tile, work.tiling.stride))
    jobs = [(k, min(k + ROWS_A_JOB, count)) for k in range(0, count, ROWS_A_JOB)]
    found = 0
    tags = {f"class_{k}": text for k, text in enumerate(model.table.names)}
    with (
        rasterio.Env(GDAL_CACHEMAX=CACHE_MIB),
        tempfile.TemporaryDirectory(dir=folder, suffix=".tmp") as scratch,
    ):
        places = {kind: Path(scratch) / f"{kind}.tif" for kind in ("landcover", "confidence")}
        with (
            rasterio.open(places["landcover"], "w", **_profile(grid, "uint8", NODATA)) as cover,
            rasterio.open(places["confidence"], "w", **_profile(grid, "uint8", NODATA)) as sure,
        ):
            cover.write_colormap(1, dict(colour_map(model.table)))
            cover.update_tags(**tags)
            cover.set_band_description(1, "land cover")
            sure.update_tags(scale="0 to 200 stands for a probability of 0 to 1")
            sure.set_band_description(1, "confidence")
            for row, classes, confidence in _rows(work, jobs, count):
                window = Window(0, row, grid.width, len(classes))
                cover.write(classes, 1, window=window)
                sure.write(confidence, 1, window=window)
                found += int((classes != NODATA).sum())
        for kind, resampling in (("landcover", "NEAREST"), ("confidence", "AVERAGE")):
            as_cog(places[kind], folder / f"{name}_{kind}.tif", resampling)
    return found


def _rows(
    work: _Work, jobs: list[tuple[int, int]], count: int
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """The rows of the whole scene: as they come in one process, else a few jobs at a time from the workers."""
    if work.tiling.scheduler == "serial":
        yield from map_rows(work, 0, count)
        return
    at_once = 4 * (os.cpu_count() or 1)
    for start in range(0, len(jobs), at_once):
        part = jobs[start : start + at_once]
        for rows in parallel_map(
            partial(_map_job, work=work), part, scheduler=work.tiling.scheduler, chunk=1
        ):
            yield from rows


def _write_embedding(work: _Work, model: LandCover, grid: Grid, path: Path) -> None:
    """Blended embeddings, a pixel a cell of the encoder, with the scene's origin."""
    import rasterio
    import torch
    from rasterio.windows import Window

    step, tiling = stride_of(model.encoder), work.tiling
    cells, hop = tiling.tile // step, tiling.stride // step
    height, width = -(-grid.height // step), -(-grid.width // step)
    rows, columns = (_covering(n, cells, hop) for n in (height, width))
    coarse = replace(grid, transform=grid.transform * grid.transform.scale(step), height=height, width=width)
    profile = {
        **_profile(coarse, "float32", float("nan")), "count": model.encoder.dim, "tiled": False, "interleave": "band",
        "compress": "deflate",
    }  # fmt: skip
    for key in ("blockxsize", "blockysize"):
        profile.pop(key)
    mask = _open_mask(work, grid)
    blend = StripBlend(model.encoder.dim, columns[-1] + cells, cells)
    partial_path = path.with_suffix(".tif.tmp")
    with (
        rasterio.Env(GDAL_CACHEMAX=CACHE_MIB),
        rasterio.open(partial_path, "w", **profile) as out,
        torch.no_grad(),
    ):
        out.update_tags(
            normalisation=model.normalisation.name, cell=f"{step} pixels", bands=" ".join(model.sensor.bands)
        )
        for number, row in enumerate(rows):
            top = row * step
            pixels, valid = _strip(work, model, top, min(tiling.tile, grid.height - top), mask)
            wide = (columns[-1] + cells) * step - pixels.shape[2]
            pixels = np.pad(pixels, ((0, 0), (0, 0), (0, max(0, wide))), mode="edge")
            valid = np.pad(valid, ((0, 0), (0, max(0, wide))))
            wanted = [c for c in columns if valid[:, c * step : c * step + tiling.tile].mean() >= LEAST_VALID]
            for start in range(0, len(wanted), tiling.batch_size):
                part = wanted[start : start + tiling.batch_size]
                x = torch.from_numpy(
                    np.stack([pixels[:, :, c * step : c * step + tiling.tile] for c in part])
                )
                for column, answer in zip(part, model.encoder.features(x.float() / 255).numpy()):
                    blend.add(answer[:, :cells, :cells], row, column)
            following = rows[number + 1] if number + 1 < len(rows) else height
            shares = blend.take(following - row)[:, :, :width].astype(np.float32)
            share = valid.reshape(cells, step, -1, step).mean((1, 3))[: following - row, :width]
            shares[:, share < LEAST_VALID] = np.nan
            out.write(shares, window=Window(0, row, width, following - row))
    partial_path.replace(path)


def _covering(length: int, tile: int, stride: int) -> list[int]:
    """Starts at multiples of ``stride`` that cover an axis; the last tile may reach beyond its end."""
    starts = [0]
    while starts[-1] + tile < length:
        starts.append(starts[-1] + stride)
    return starts


def _profile(grid: Grid, dtype: str, nodata: float) -> dict[str, Any]:
    return {
        "driver": "GTiff", "height": grid.height, "width": grid.width, "count": 1, "dtype": dtype, "crs": grid.crs,
        "transform": grid.transform, "nodata": nodata, "tiled": True, "blockxsize": 256, "blockysize": 256,
        "compress": "deflate", "bigtiff": "if_safer",
    }  # fmt: skip


def as_cog(source: Path, target: Path, resampling: str) -> None:
    """Copy a GeoTIFF to a Cloud-Optimised one with overviews, whole or not at all."""
    import rasterio.shutil

    temporary = target.with_name(f".{target.name}.tmp")
    rasterio.shutil.copy(
        source, temporary, driver="COG", overview_resampling=resampling, compress="deflate", blocksize=256
    )
    temporary.replace(target)


def _look(stack: RasterStack, model: LandCover, rule: str, name: str) -> tuple[Scale, float]:
    """The scale of a scene and its share of cloud, from a reduced look at it."""
    grid = stack.grid
    factor = max(1.0, max(grid.height, grid.width) / LOOK)
    x, valid = stack.read(size=(max(1, round(grid.height / factor)), max(1, round(grid.width / factor))))
    valid &= known(x, model.sensor)
    if not valid.any():
        raise DataError(f"{name}", seen="no pixel with data", remedy="check the file and its nodata")
    chosen = choose_scale(x, valid, model.sensor, rule, where=name, paths=stack.paths)
    return chosen, cloud_share(chosen(x), valid, model.sensor)


@lru_cache(maxsize=2)
def _loaded(folder: str, changed: int) -> LandCover:
    return load_model(folder)


def _model(folder: str) -> LandCover:
    """The model in a folder, kept for this process until its files change."""
    config = Path(folder) / CONFIG
    return _loaded(folder, config.stat().st_mtime_ns if config.is_file() else 0)
