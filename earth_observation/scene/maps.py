"""A scene of any size in, maps of its land cover out."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import ConfigError, DataError
from core.files import sha256_file, write_json
from core.tracking.model_folder import WEIGHTS
from earth_observation.bands import filled_note
from earth_observation.data.checks import Limits, check_geometry, cloud_share
from earth_observation.data.mask import CLOUDY_SCL, check_mask, warped_mask
from earth_observation.data.opened import Grid
from earth_observation.data.raster import RasterStack, known
from earth_observation.data.scale import Scale, choose_scale
from earth_observation.data.sources import LOOK
from earth_observation.labels import NODATA, colour_map
from earth_observation.model import LandCover, stride_of
from earth_observation.scene.embedding import write_embedding
from earth_observation.scene.geotiff import CACHE_MIB, as_cog, map_profile
from earth_observation.scene.rows import map_rows
from earth_observation.scene.work import Tiling, Work, by_rows, open_model
from earth_observation.tiles import tile_starts

DEFAULT = Tiling()
STRIP = 512
"""Rows of a scene that are looked at in one go."""


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

    A 12-band L2A product is read for a model of the 13 bands of L1C: B10 becomes 0 after normalisation, and the
    report's first warning says so.

    Args:
        model: folder of a `LandCover` with a map head.
        paths: one file of all bands, or one a band. order: of a single file without band names.
        scale: rule of `earth_observation.data.scale`. mask: raster of a scene classification on the scene's
            ground; pixels of ``mask_values``, and those where the mask does not lie, are treated as unknown.

    Returns:
        What the report holds.

    Raises:
        DataError: bands, geometry or numbers that do not fit. ConfigError: no map head; tiles that do not fit.
    """
    import rasterio

    opened = open_model(str(model))
    if opened.decoder is None:
        raise ConfigError("model", seen="no map head", remedy="run adapt with map_steps > 0")
    stride = stride_of(opened.encoder)
    if tiling.tile % stride or (embedding and tiling.stride % stride):
        raise ConfigError(
            "scene (tile, stride)", seen=(tiling.tile, tiling.stride), expected=f"multiples of {stride}"
        )
    stack = RasterStack(paths, opened.sensor, order=order, fill=True)
    grid = stack.grid
    notes = [n.text for n in check_geometry(grid, opened.sensor, Limits(), where=name)]
    if stack.filled:
        notes.insert(0, filled_note([opened.sensor.bands[k] for k in stack.filled]))
    with rasterio.Env(GDAL_CACHEMAX=CACHE_MIB):  # GDAL would keep a twentieth of the machine's memory
        chosen, clouds = _look(stack, opened, scale, name)
        if clouds > Limits().cloud_share and not mask:
            notes.append(f"{clouds:.0%} of the pixels are bright and white, and no cloud mask was given")
        if chosen.note:
            notes.append(chosen.note)
        work = Work(str(model), stack, chosen, tiling, str(mask), tuple(mask_values))
        if work.mask and work.mask_values == CLOUDY_SCL:
            seen = warped_mask(work.mask, grid).read(1, out_shape=_reduced(grid))
            check_mask(seen, where=work.mask)
        folder = Path(out)
        folder.mkdir(parents=True, exist_ok=True)
        known_pixels = _write_maps(work, opened, grid, folder, name)
        files = [f"{name}_landcover.tif", f"{name}_confidence.tif"]
        if embedding:
            write_embedding(work, opened, grid, folder / f"{name}_embedding.tif")
            files.append(f"{name}_embedding.tif")
        if quicklook:
            from earth_observation.quicklook import scene_figure

            files.append(
                scene_figure(folder / f"{name}_quicklook.png", stack, chosen, opened, folder, name).name
            )
    report = {
        "scene": name,
        "size": [grid.height, grid.width],
        "crs": str(grid.crs),
        "transform": list(grid.transform)[:6],
        "bands": {
            band: Path(path).name if path else "missing, 0 after normalisation"
            for band, (path, _) in zip(opened.sensor.bands, stack.placed)
        },
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


def _write_maps(work: Work, model: LandCover, grid: Grid, folder: Path, name: str) -> int:
    import rasterio
    from rasterio.windows import Window

    count = len(tile_starts(grid.height, work.tiling.tile, work.tiling.stride))
    found = 0
    tags = {f"class_{k}": text for k, text in enumerate(model.table.names)}
    with tempfile.TemporaryDirectory(dir=folder, suffix=".tmp") as scratch:
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
            for row, classes, confidence in by_rows(map_rows, work, count):
                window = Window(0, row, grid.width, len(classes))
                cover.write(classes, 1, window=window)
                sure.write(confidence, 1, window=window)
                found += int((classes != NODATA).sum())
        for kind, resampling in (("landcover", "NEAREST"), ("confidence", "AVERAGE")):
            as_cog(places[kind], folder / f"{name}_{kind}.tif", resampling)
    return found


def _look(stack: RasterStack, model: LandCover, rule: str, name: str) -> tuple[Scale, float]:
    """The scale of a scene and its share of cloud, from a reduced look at it."""
    x, valid = _glance(stack)
    valid &= known(x, model.sensor)
    if not valid.any():
        raise DataError(f"{name}", seen="no pixel with data", remedy="check the file and its nodata")
    there = np.delete(x, stack.filled, axis=0)
    chosen = choose_scale(there, valid, model.sensor, rule, where=name, paths=stack.paths)
    return chosen, cloud_share(chosen(x), valid, model.sensor)


def _glance(stack: RasterStack) -> tuple[np.ndarray, np.ndarray]:
    """What `RasterStack.read` gives of the reduced scene; by strips, since GDAL holds all that it resamples at once."""
    grid = stack.grid
    rows, columns = _reduced(grid)
    strips = min(rows, -(-grid.height // STRIP))
    parts = []
    for first, last in itertools.pairwise(round(k * rows / strips) for k in range(strips + 1)):
        top, bottom = (round(at * grid.height / rows) for at in (first, last))
        parts.append(stack.read((top, 0, bottom - top, grid.width), size=(last - first, columns)))
    return np.concatenate([x for x, _ in parts], axis=1), np.concatenate([valid for _, valid in parts])


def _reduced(grid: Grid) -> tuple[int, int]:
    """(rows, columns) at which a scene is looked at as a whole."""
    factor = max(1.0, max(grid.height, grid.width) / LOOK)
    return max(1, round(grid.height / factor)), max(1, round(grid.width / factor))
