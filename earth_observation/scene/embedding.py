"""The embedding raster of a scene: a pixel a cell of the encoder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from earth_observation.data.opened import Grid
from earth_observation.model import LandCover, stride_of
from earth_observation.scene.geotiff import CACHE_MIB, map_profile
from earth_observation.scene.work import LEAST_VALID, Tiling, Work, by_rows, open_mask, open_model, read_strip
from earth_observation.tiles import StripBlend


def write_embedding(work: Work, model: LandCover, grid: Grid, path: Path) -> None:
    """Blended embeddings, a pixel a cell of the encoder, with the scene's origin."""
    import rasterio
    from rasterio.windows import Window

    step = stride_of(model.encoder)
    height, width = -(-grid.height // step), -(-grid.width // step)
    coarse = replace(grid, transform=grid.transform @ grid.transform.scale(step), height=height, width=width)
    profile = {
        **map_profile(coarse, "float32", float("nan")),
        "count": model.encoder.dim,
        "tiled": False,
        "interleave": "band",
    }
    for key in ("blockxsize", "blockysize"):
        profile.pop(key)
    count = len(_covering(height, *_in_cells(work.tiling, step)))
    partial_path = path.with_suffix(".tif.tmp")
    with rasterio.Env(GDAL_CACHEMAX=CACHE_MIB), rasterio.open(partial_path, "w", **profile) as out:
        out.update_tags(
            normalisation=model.normalisation.name, cell=f"{step} pixels", bands=" ".join(model.sensor.bands)
        )
        for row, shares in by_rows(embedding_rows, work, count):
            out.write(shares, window=Window(0, row, width, shares.shape[1]))
    partial_path.replace(path)


def embedding_rows(work: Work, first: int, last: int) -> Iterator[tuple[int, np.ndarray]]:
    """(row, embeddings (dim, rows, width)) in cells, strip by strip, for tile rows ``first`` to ``last`` - 1.

    As in `earth_observation.scene.rows.map_rows`, the tiles above that reach into the first rows are computed too:
    parts fit together to the bit.
    """
    import torch

    model, grid, tiling = open_model(work.model), work.stack.grid, work.tiling
    step = stride_of(model.encoder)
    cells, hop = _in_cells(tiling, step)
    height, width = -(-grid.height // step), -(-grid.width // step)
    rows, columns = (_covering(n, cells, hop) for n in (height, width))
    begin = next(k for k, row in enumerate(rows) if row + cells > rows[first])
    blend = StripBlend(model.encoder.dim, columns[-1] + cells, cells)
    blend.top = rows[begin]
    mask = open_mask(work, grid)
    for number in range(begin, last):
        row = rows[number]
        pixels, valid = read_strip(work, model, row * step, min(tiling.tile, grid.height - row * step), mask)
        wide = (columns[-1] + cells) * step - pixels.shape[2]
        pixels = np.pad(pixels, ((0, 0), (0, 0), (0, max(0, wide))), mode="edge")
        valid = np.pad(valid, ((0, 0), (0, max(0, wide))))
        wanted = [c for c in columns if valid[:, c * step : c * step + tiling.tile].mean() >= LEAST_VALID]
        for start in range(0, len(wanted), tiling.batch_size):
            part = wanted[start : start + tiling.batch_size]
            x = torch.from_numpy(np.stack([pixels[:, :, c * step : c * step + tiling.tile] for c in part]))
            with torch.no_grad():
                answers = model.encoder.features(x.float() / 255).numpy()
            for column, answer in zip(part, answers):
                blend.add(answer[:, :cells, :cells], row, column)
        following = rows[number + 1] if number + 1 < len(rows) else height
        if number >= first:
            shares = blend.peek(following - row, 0, width).astype(np.float32)
            share = valid.reshape(cells, step, -1, step).mean((1, 3))[: following - row, :width]
            shares[:, share < LEAST_VALID] = np.nan
            yield row, shares
        blend.move(following - row)


def _in_cells(tiling: Tiling, step: int) -> tuple[int, int]:
    """Tile and stride in cells of the encoder."""
    return tiling.tile // step, tiling.stride // step


def _covering(length: int, tile: int, stride: int) -> list[int]:
    """Starts at multiples of ``stride`` that cover an axis; the last tile may reach beyond its end."""
    starts = [0]
    while starts[-1] + tile < length:
        starts.append(starts[-1] + stride)
    return starts
