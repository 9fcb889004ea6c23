"""A scene of any size in, maps of its land cover out."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from core.data.parallel import parallel_map
from core.errors import ConfigError, DataError
from core.files import sha256_file, write_json
from core.tracking.model_folder import WEIGHTS
from earth_observation.data.checks import Limits, check_geometry, cloud_share
from earth_observation.data.opened import Grid
from earth_observation.data.raster import RasterStack, known
from earth_observation.data.scale import Scale, choose_scale
from earth_observation.data.sources import LOOK
from earth_observation.labels import NODATA, colour_map
from earth_observation.model import LandCover, stride_of
from earth_observation.scene.embedding import write_embedding
from earth_observation.scene.geotiff import CACHE_MIB, as_cog, map_profile
from earth_observation.scene.rows import map_rows
from earth_observation.scene.work import CLOUDY_SCL, Tiling, Work, open_model
from earth_observation.tiles import tile_starts

ROWS_A_JOB = 8
DEFAULT = Tiling()


def map_scene(
    model: str | os.PathLike[str],
    paths: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    name: str = "scene",
    tiling: Tiling = DEFAULT,
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
    opened = open_model(str(model))
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
    work = Work(str(model), stack, chosen, tiling, str(mask), tuple(mask_values))
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    known_pixels = _write_maps(work, opened, grid, folder, name)
    files = [f"{name}_landcover.tif", f"{name}_confidence.tif"]
    if embedding:
        write_embedding(work, opened, grid, folder / f"{name}_embedding.tif")
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


def _map_job(job: tuple[int, int], *, work: Work) -> list[tuple[int, np.ndarray, np.ndarray]]:
    return list(map_rows(work, *job))


def _write_maps(work: Work, model: LandCover, grid: Grid, folder: Path, name: str) -> int:
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
            rasterio.open(places["landcover"], "w", **map_profile(grid, "uint8", NODATA)) as cover,
            rasterio.open(places["confidence"], "w", **map_profile(grid, "uint8", NODATA)) as sure,
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
    work: Work, jobs: list[tuple[int, int]], count: int
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
