"""The embedding raster of a scene: a pixel a cell of the encoder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from earth_observation.data.opened import Grid
from earth_observation.model import LandCover, stride_of
from earth_observation.scene.geotiff import CACHE_MIB, map_profile
from earth_observation.scene.work import LEAST_VALID, Work, open_mask, read_strip
from earth_observation.tiles import StripBlend


def write_embedding(work: Work, model: LandCover, grid: Grid, path: Path) -> None:
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
        **map_profile(coarse, "float32", float("nan")),
        "count": model.encoder.dim,
        "tiled": False,
        "interleave": "band",
    }
    for key in ("blockxsize", "blockysize"):
        profile.pop(key)
    mask = open_mask(work, grid)
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
            pixels, valid = read_strip(work, model, top, min(tiling.tile, grid.height - top), mask)
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
