"""Landslides of a whole ground as files: probability, mask, polygons, and a picture to look at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.files import atomic_write
from earth_observation.landslide.ground import Ground, landslide_batch
from earth_observation.landslide.net import TwoSourceNet
from earth_observation.scene.geotiff import as_cog, map_profile
from earth_observation.tiles import StripBlend, tile_starts

NODATA = 255
PROBABILITY_STEPS = 200
FILES = ("landslide_probability.tif", "landslide_mask.tif", "landslides.geojson", "landslides.png")


@torch.no_grad()
def probabilities(net: TwoSourceNet, ground: Ground, tile: int, *, white: float) -> np.ndarray:
    """(H, W) float32 probability of landslide, tiles overlapping by half and blended; NaN where nothing is known.

    Args:
        white: what counts as 1 in the picture, as in training.
    """
    net.eval()
    height, width = ground.known.shape
    down, right = max(0, tile - height), max(0, tile - width)
    edge = {"mode": "edge"}
    picture = np.pad(ground.picture, ((0, 0), (0, down), (0, right)), **edge)  # type: ignore[call-overload]
    dem = np.pad(ground.dem, ((0, down), (0, right)), **edge)  # type: ignore[call-overload]
    rows = tile_starts(height, tile, tile // 2)
    columns = tile_starts(width, tile, tile // 2)
    blend, done = StripBlend(1, width, tile, np.float32), []
    for number, row in enumerate(rows):
        windows = [np.s_[..., row : row + tile, c : c + tile] for c in columns]
        strip = {
            "picture": np.array([np.clip(picture[w] / white, 0, 1) for w in windows], np.float32),
            "dem": np.array([dem[w] for w in windows]),
            "mask": np.zeros((len(windows), tile, tile), dtype=np.uint8),
        }
        for start in range(0, len(windows), 16):
            chosen = range(start, min(start + 16, len(windows)))
            batch = landslide_batch(strip, chosen, ground.metres)
            answer = net(batch["picture"], batch["terrain"], batch["known"]).softmax(1)[:, 1:].numpy()
            for k, one in zip(chosen, answer):
                blend.add(one, row, columns[k])
        following = rows[number + 1] if number + 1 < len(rows) else height
        done.append(blend.take(min(following, height) - row)[0])
    return np.where(ground.known, np.concatenate(done), np.nan).astype(np.float32)


def write_landslide_maps(
    net: TwoSourceNet, ground: Ground, folder: Path, *, tile: int, white: float, threshold: float = 0.5
) -> list[str]:
    """Write the maps of a ground into an existing folder; returns the names of the files.

    ``landslide_probability.tif`` (0 to 200 for 0 to 1, 255 without data), ``landslide_mask.tif`` (1, 0, 255),
    ``landslides.geojson`` (a polygon an object, in the picture's system: area in square metres, mean probability,
    mean slope in degrees), ``landslides.png`` (shaded relief under the scars).
    """
    chance = probabilities(net, ground, tile, white=white)
    known = np.isfinite(chance)
    mask = np.where(known, chance >= threshold, NODATA).astype(np.uint8)
    bytes_ = np.where(known, np.round(PROBABILITY_STEPS * np.nan_to_num(chance)), NODATA).astype(np.uint8)
    _write(folder / "landslide_probability.tif", bytes_, ground, "AVERAGE")
    _write(folder / "landslide_mask.tif", mask, ground, "NEAREST")
    slope = slope_degrees(ground)
    found = {
        "type": "FeatureCollection",
        "crs": {"type": "name", "properties": {"name": ground.grid.crs.to_string()}},
        "features": polygons(mask, chance, slope, ground),
    }
    atomic_write(folder / "landslides.geojson", json.dumps(found))
    draw_landslide_map(folder / "landslides.png", ground, chance, mask)
    return list(FILES)


def slope_degrees(ground: Ground) -> np.ndarray:
    """(H, W) float32 slope, NaN where the height is not known."""
    down, right = np.gradient(ground.dem.astype(np.float64), ground.metres)
    return np.degrees(np.arctan(np.hypot(down, right))).astype(np.float32)


def polygons(mask: np.ndarray, chance: np.ndarray, slope: np.ndarray, ground: Ground) -> list[dict[str, Any]]:
    """GeoJSON features of the objects of a mask (8-neighbour components)."""
    from rasterio.features import shapes
    from scipy.ndimage import label

    objects, _ = label(mask == 1, np.ones((3, 3), dtype=int))
    area = np.bincount(objects.ravel())
    mean_chance = np.bincount(objects.ravel(), np.nan_to_num(chance).ravel()) / np.maximum(area, 1)
    steep = np.isfinite(slope)
    counted = np.maximum(np.bincount(objects[steep], minlength=len(area)), 1)
    mean_slope = np.bincount(objects[steep], slope[steep], minlength=len(area)) / counted
    features = []
    traced = shapes(
        objects.astype(np.int32), mask=objects > 0, connectivity=8, transform=ground.grid.transform
    )
    for geometry, value in traced:
        k = int(value)
        facts = {
            "area_m2": round(float(area[k]) * ground.metres**2, 1),
            "mean_probability": round(float(mean_chance[k]), 3),
            "mean_slope_degrees": round(float(mean_slope[k]), 1),
        }
        features.append({"type": "Feature", "geometry": geometry, "properties": facts})
    return features


def draw_landslide_map(path: Path, ground: Ground, chance: np.ndarray, mask: np.ndarray) -> Path:
    """Two panels: shaded relief with the scars found (and the known ones as an outline), and the probability."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import LightSource
    from matplotlib.figure import Figure

    step = max(1, max(mask.shape) // 700)
    small = np.s_[::step, ::step]
    relief = np.where(np.isfinite(ground.dem), ground.dem, np.nanmedian(ground.dem))[small]
    shade = LightSource(315, 45).hillshade(relief, dx=step * ground.metres, dy=step * ground.metres)
    figure = Figure(figsize=(9, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    left.imshow(shade, cmap="gray", interpolation="nearest")
    seen = np.where(mask[small] == 1, 1.0, np.nan)
    left.imshow(seen, cmap="autumn", alpha=0.5, vmin=0, vmax=1, interpolation="nearest")
    title = "relief, landslides found (red)"
    if ground.mask is not None:
        left.contour(ground.mask[small] == 1, [0.5], colors="cyan", linewidths=0.6)
        title += " and labelled (outline)"
    left.set_title(title, fontsize=9)
    image = right.imshow(chance[small], cmap="viridis", vmin=0, vmax=1, interpolation="nearest")
    right.set_title("probability", fontsize=9)
    figure.colorbar(image, ax=right, shrink=0.8)
    for axes in (left, right):
        axes.set_axis_off()
    figure.savefig(path, dpi=110, metadata={"Software": None})
    return path


def _write(path: Path, data: np.ndarray, ground: Ground, resampling: str) -> None:
    import rasterio

    raw = path.with_name(f".{path.name}.raw.tif")
    with rasterio.open(raw, "w", **map_profile(ground.grid, "uint8", NODATA)) as out:
        out.write(data, 1)
        if resampling == "AVERAGE":
            out.update_tags(scale="0 to 200 stands for a probability of 0 to 1")
    as_cog(raw, path, resampling)
    raw.unlink()
