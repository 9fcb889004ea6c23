"""Chips cut from images: where they lie, their bytes by product, their label rasters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from earth_observation.data.items import Item, Layout
from earth_observation.data.mask import hidden_pixels
from earth_observation.data.raster import known
from earth_observation.data.scale import Scale
from earth_observation.data.sources import labels_on, main_product, stack_of
from earth_observation.normalise import Normalisation
from earth_observation.tiles import tile_starts


@dataclass(frozen=True)
class Plan:
    """One chip to be cut: where in which item; (row, column, height, width) in pixels of the item."""

    item: int
    window: tuple[int, int, int, int]


def plan_chips(items: Sequence[Item], size: int, *, stride: int | None = None) -> list[Plan]:
    """Where chips are cut: an image of less than one and a half ``size`` is one chip, resampled to ``size``.

    Larger ones are cut every ``stride`` (``size`` by default), the last chip flush with the edge.
    """
    plans = []
    for number, item in enumerate(items):
        height, width = int(item.shape[0]), int(item.shape[1])
        if max(height, width) < 1.5 * size or min(height, width) < size:
            plans.append(Plan(number, (0, 0, height, width)))
            continue
        for row in tile_starts(height, size, stride or size):
            for column in tile_starts(width, size, stride or size):
                plans.append(Plan(number, (row, column, size, size)))
    return plans


def cut_chips(
    job: tuple[Item, list[Plan]],
    *,
    layout: Layout,
    normalisations: Mapping[str, Normalisation],
    size: int,
    warp: bool,
) -> list[dict[str, Any]]:
    """The chips of one item: bytes by product, land cover, share of valid pixels (radar sees through the mask)."""
    item, plans = job
    first = main_product(layout)
    base = stack_of(item, first, layout).grid if first in item.files else None
    stacks = {
        product: stack_of(item, product, layout, onto=base if warp and product != first else None)
        for product in layout.sensors
        if product in item.files
    }
    grid = base or next(iter(stacks.values())).grid
    covers = {
        name: labels_on(path, layout, grid if warp else None)
        for name, path in (("landcover", item.landcover), ("reference", item.reference))
        if path
    }
    hidden = hidden_pixels(item.mask, grid) if item.mask else None
    out = []
    for plan in plans:
        one: dict[str, Any] = {"pixels": {}, "valid": 1.0}
        for product, stack in stacks.items():
            sensor, scale = layout.sensors[product], Scale(item.scale.get(product, "raw"))
            x, valid = stack.read(_on(plan.window, grid, stack.grid), size=(size, size))
            x, valid = scale(x), valid & known(x, sensor)
            if hidden is not None and sensor.unit != "db":
                valid &= ~_window_of(hidden, plan.window, (grid.height, grid.width), size)
            one["pixels"][product] = normalisations[product](x, valid)
            one["valid"] = min(one["valid"], float(valid.mean()))
        for name, cover in covers.items():
            one[name] = _window_of(cover, plan.window, (grid.height, grid.width), size)
        out.append(one)
    for stack in stacks.values():
        stack.close()
    return out


def _on(window: tuple[int, int, int, int], grid: Any, other: Any) -> tuple[int, int, int, int]:
    """A window of one grid in the pixels of another over the same ground."""
    down, right = other.height / grid.height, other.width / grid.width
    row, column, height, width = window
    return round(row * down), round(column * right), round(height * down), round(width * right)


def _window_of(
    cover: np.ndarray, window: tuple[int, int, int, int], shape: tuple[int, int], size: int
) -> np.ndarray:
    """The window of a label raster, nearest neighbour, at chip size."""
    row, column, height, width = window
    rows = ((row + (np.arange(size) + 0.5) * height / size) * cover.shape[0] / shape[0]).astype(int)
    columns = ((column + (np.arange(size) + 0.5) * width / size) * cover.shape[1] / shape[1]).astype(int)
    return cover[np.clip(rows, 0, cover.shape[0] - 1)[:, None], np.clip(columns, 0, cover.shape[1] - 1)]
