"""A picture of a mapped scene: the scene in natural or false colours beside its land cover with a legend."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from earth_observation.data.opened import open_raster
from earth_observation.data.raster import RasterStack
from earth_observation.data.scale import Scale
from earth_observation.labels import NODATA, ClassTable
from earth_observation.model import LandCover

LONGEST = 700


def scene_figure(
    path: str | os.PathLike[str],
    stack: RasterStack,
    scale: Scale,
    model: LandCover,
    folder: Path,
    name: str,
) -> Path:
    """Draw a scene, its map and its confidence, from the files written beside; no georeference is kept."""
    grid = stack.grid
    factor = max(1.0, max(grid.height, grid.width) / LONGEST)
    size = (max(1, round(grid.height / factor)), max(1, round(grid.width / factor)))
    x, valid = stack.read(size=size)
    with open_raster(folder / f"{name}_landcover.tif") as source:
        cover = source.read(1, out_shape=size)
    with open_raster(folder / f"{name}_confidence.tif") as source:
        sure = source.read(1, out_shape=size).astype(float)
    sure[sure == NODATA] = np.nan
    return draw_scene(
        path, colours(scale(x), valid, model.sensor.bands), cover, sure / 200, model.table, title=name
    )


def colours(x: np.ndarray, valid: np.ndarray, bands: tuple[str, ...]) -> np.ndarray:
    """(h, w, 3) in [0, 1]: red, green, blue where the bands have them, else the first three; stretched."""
    wanted = next(
        (
            [bands.index(b) for b in names]
            for names in (("B4", "B3", "B2"), ("R", "G", "B"))
            if set(names) <= set(bands)
        ),
        [min(k, len(bands) - 1) for k in (2, 1, 0)],
    )
    picture = np.ones((*valid.shape, 3))
    for channel, band in enumerate(wanted):
        seen = x[band][valid]
        if seen.size:
            low, high = np.percentile(seen, [2, 98])
            picture[..., channel] = np.where(valid, np.clip((x[band] - low) / max(high - low, 1e-9), 0, 1), 1)
    return picture


def draw_scene(
    path: str | os.PathLike[str],
    picture: np.ndarray,
    cover: np.ndarray,
    sure: np.ndarray,
    table: ClassTable,
    *,
    title: str = "",
) -> Path:
    """Three panels: the scene, its classes with a legend of those that occur, the confidence."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    height, width = cover.shape
    panel = 3.6
    figure = Figure(
        figsize=(3 * panel, panel * min(2.0, max(0.5, height / width)) + 1.0), layout="constrained"
    )
    FigureCanvasAgg(figure)
    first, second, third = figure.subplots(1, 3)
    first.imshow(picture, interpolation="nearest")
    first.set_title("scene", fontsize=9)
    second.imshow(painted(cover, table), interpolation="nearest")
    second.set_title("land cover", fontsize=9)
    image: Any = third.imshow(sure, vmin=0, vmax=1, cmap="viridis", interpolation="nearest")
    third.set_title("confidence", fontsize=9)
    figure.colorbar(image, ax=third, shrink=0.8)
    for axes in (first, second, third):
        axes.set_axis_off()
    found = [k for k in range(len(table)) if (cover == k).any()]
    handles = [Patch(color=table.shade(k), label=table.names[k][:40]) for k in found]
    if handles:
        figure.legend(
            handles=handles, loc="outside lower center", ncols=min(5, len(handles)), fontsize=8, frameon=False
        )
    figure.suptitle(title, fontsize=10)
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=110, metadata={"Software": None})
    return target


def painted(cover: np.ndarray, table: ClassTable) -> np.ndarray:
    """(h, w, 3) in [0, 1]: class colours, white where unknown."""
    palette = np.full((256, 3), 255.0)
    palette[: len(table)] = table.colours
    return palette[cover] / 255
