"""Every source of images behind one call, and the check that reads each file once."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from core.data.checks import Quarantine
from core.data.digest import digest_of
from core.data.parallel import parallel_map
from core.data.splits import check_splits
from core.errors import ConfigError, DataError
from earth_observation.data.checks import (
    Limits,
    check_aligned,
    check_band,
    check_geometry,
    cloud_share,
    estimated_shift,
)
from earth_observation.data.items import SPLITS, Item, Layout
from earth_observation.data.mask import hidden_pixels
from earth_observation.data.opened import Grid, RasterError, close_raster, grid_of, reading, shared_raster
from earth_observation.data.raster import RasterStack, read_labels
from earth_observation.data.scale import check_rule, choose_scale
from earth_observation.labels import NODATA, check_classes_of, corine_map

SOURCES = ("demo", "ssl4eo", "bigearthnet", "eurosat", "eurosat_rgb", "manifest")
LOOK = 512
"""Longest side at which a scene's numbers are looked at as a whole."""


def read_items(
    source: str,
    root: str | os.PathLike[str],
    quarantine: Quarantine,
    *,
    manifest: str | os.PathLike[str] | None = None,
    product: str = "s2c",
    fractions: Mapping[Any, float],
    seed: int = 0,
    **own: Any,
) -> tuple[list[Item], Layout]:
    """The images of a source as its folders and tables list them; no pixel is read yet.

    Args:
        source: one of `SOURCES`; ``demo`` has the layout of ``ssl4eo``.
        manifest: of own data. product: of SSL4EO. own: of `earth_observation.data.own.read_own`.
    """
    from earth_observation.data.bigearthnet import read_bigearthnet
    from earth_observation.data.eurosat import read_eurosat
    from earth_observation.data.own import read_own
    from earth_observation.data.ssl4eo import read_ssl4eo

    drawn: dict[str, Any] = {"fractions": fractions, "seed": seed}
    if source in ("demo", "ssl4eo"):
        items, layout = read_ssl4eo(root, quarantine, product=product, **drawn)
    elif source == "bigearthnet":
        items, layout = read_bigearthnet(root, quarantine, **drawn)
    elif source in ("eurosat", "eurosat_rgb"):
        items, layout = read_eurosat(root, colour=source == "eurosat_rgb", **drawn)
    elif source == "manifest":
        items, layout = read_own(root, manifest or Path(root) / "manifest.csv", **drawn, **own)
    else:
        raise ConfigError("data.source", seen=source, expected=f"one of {', '.join(SOURCES)}")
    check_splits([item.group for item in items], [item.split for item in items])
    return items, layout


@dataclass(frozen=True)
class Checking:
    """What `inspect` needs to know in a worker: the layout, rules of scale by product, warping, limits."""

    layout: Layout
    scale: Mapping[str, str]
    warp: bool
    limits: Limits


def inspect(
    items: Sequence[Item], checking: Checking, quarantine: Quarantine, *, scheduler: str = "serial"
) -> tuple[list[Item], dict[str, Any]]:
    """Read every file once; faults go to the quarantine, what is worth knowing to its warnings.

    Returns:
        the usable items with the scale and shape that were found, and facts: counts, and a digest of names,
        labels and contents.

    An image whose pixels another one has, or that lies on the ground of another split, is left out where
    that would leak from train to test.
    """
    for product, rule in checking.scale.items():
        if product in checking.layout.sensors:  # once, not as the fault of every item
            check_rule(rule, checking.layout.sensors[product], where=f"data.scale.{product}")
    found = parallel_map(partial(_look, checking=checking), items, scheduler=scheduler, errors="return")
    kept: list[tuple[Item, str]] = []
    contents: dict[str, Item] = {}
    grounds: dict[Any, Item] = {}
    for item, one in zip(items, found):
        if not isinstance(one, dict):
            quarantine.add(item.id, "unreadable", f"{one.kind}: {one.message}")
            continue
        if one["fault"]:
            quarantine.add(item.id, *one["fault"])
            continue
        for kind, text in one["notes"]:
            quarantine.warn(item.id, kind, text)
        twin = contents.setdefault(one["content"], item)
        neighbour = grounds.setdefault(one["ground"], item) if one["ground"] else item
        if twin is not item and twin.split != item.split:
            quarantine.add(item.id, "leak", f"the same pixels as {twin.id} in split {twin.split}")
            continue
        if twin is not item:
            quarantine.warn(item.id, "duplicate", f"the same pixels as {twin.id}")
        if neighbour.split != item.split:
            quarantine.add(item.id, "leak", f"the same ground as {neighbour.id} in split {neighbour.split}")
            continue
        kept.append((replace(item, scale=one["scale"], shape=one["shape"]), one["content"]))
    usable = [item for item, _ in kept]
    facts = {
        "images": {split: sum(item.split == split for item in usable) for split in SPLITS},
        "places": {split: len({item.group for item in usable if item.split == split}) for split in SPLITS},
        "products": dict(Counter(product for item in usable for product in item.files)),
        "scales": dict(Counter(f"{p}: {rule}" for item in usable for p, rule in item.scale.items())),
        "data_digest": digest_of(
            [
                [i.id, i.group, i.split, i.season, list(i.soft or []), list(i.classes or []), content]
                for i, content in kept
            ]
        ),
    }
    return usable, facts


def check_enough(items: Sequence[Item]) -> None:
    """Refuse data on which nothing can be trained or tested. Raises DataError."""
    for split in ("train", "test"):
        count = sum(item.split == split for item in items)
        if count == 0:
            raise DataError(
                f"usable images of split {split}", seen=0, expected="at least one",
                remedy="add images, or change data.fractions or the manifest's splits",
            )  # fmt: skip


def stack_of(item: Item, product: str, layout: Layout, *, onto: Grid | None = None) -> RasterStack:
    """The bands of a product of an item."""
    return RasterStack(item.files[product], layout.sensors[product], order=item.order.get(product), onto=onto)


def main_product(layout: Layout) -> str:
    """The product whose grid the others are put on: the first."""
    return next(iter(layout.sensors))


def labels_on(path: str, layout: Layout, grid: Grid | None) -> np.ndarray:
    """A label raster as uint8 class numbers of the layout's table, on a grid where one is given.

    Raises:
        DataError: values that are no class.
    """
    raw = read_labels(path, grid, offset=layout.label_offset)
    found = corine_map(raw, where=path) if layout.corine else raw
    check_classes_of(found, len(layout.table), where=path)
    return found.astype(np.uint8)


def _look(item: Item, *, checking: Checking) -> dict[str, Any]:
    """What one item's files hold, as plain values (it may come from another process)."""
    try:
        return _inspect(item, checking)
    except RasterError as error:
        return {"fault": (error.kind, str(error))}
    except DataError as error:
        return {"fault": ("invalid", str(error))}
    finally:
        for paths in item.files.values():
            for path in paths:
                close_raster(path)


def _inspect(item: Item, checking: Checking) -> dict[str, Any]:
    layout, limits = checking.layout, checking.limits
    notes: list[tuple[str, str]] = []
    content = hashlib.sha256()
    scale: dict[str, str] = {}
    looks: dict[str, np.ndarray] = {}
    first: Grid | None = None
    for product in layout.sensors:
        if product not in item.files:
            continue
        sensor = layout.sensors[product]
        stack = stack_of(item, product, layout)
        where = f"{item.id} ({product})"
        for path, index in stack.placed:
            band, nodata = _band(path, index)
            content.update(str(band.shape).encode() + band.tobytes())
            notes += [
                (n.kind, n.text) for n in check_band(band, nodata, limits, where=f"{path} band {index}")
            ]
        grid = stack.grid
        if layout.georeferenced:
            notes += [(note.kind, note.text) for note in check_geometry(grid, sensor, limits, where=where)]
        if first is None:
            first = grid
        elif layout.georeferenced and not checking.warp:
            check_aligned(grid, first, where=where)
        factor = max(1.0, max(grid.height, grid.width) / LOOK)
        x, valid = stack.read(size=(round(grid.height / factor), round(grid.width / factor)))
        rule = choose_scale(
            x, valid, sensor, checking.scale.get(product, "auto"), where=where, paths=item.files[product]
        )
        if rule.note:
            notes.append(("scale", rule.note))
        scale[product] = rule.rule
        x = rule(x)
        clouds = cloud_share(x, valid, sensor)
        if clouds > limits.cloud_share and not item.mask:
            text = f"{clouds:.0%} of the pixels are bright and white; give a cloud mask"
            notes.append(("cloud", f"{text} (column mask of a manifest)"))
        looks[product] = np.where(valid, x.mean(axis=0), 0)
    if first is None:
        raise RasterError("missing", item.id, seen="no file of any product")
    if item.mask and hidden_pixels(item.mask, first).all():
        raise RasterError("mask", item.mask, seen="every pixel is hidden", expected="clear ground")
    notes += _label_notes(item, checking, first)
    a, b = [*looks.values(), None, None][:2]
    if a is not None and b is not None and a.shape == b.shape:
        rows, columns, sure = estimated_shift(a, b)
        if sure > limits.shift_surety and max(abs(rows), abs(columns)) > limits.shift_pixels:
            notes.append(("shift", f"products seem shifted by ({rows:g}, {columns:g}) pixels"))
    for path in (item.landcover, item.reference, item.mask):
        if path:
            content.update(Path(path).read_bytes())
    ground = (str(first.crs), *(round(v, 1) for v in first.bounds)) if first.crs is not None else None
    return {
        "fault": None,
        "notes": notes,
        "content": content.hexdigest(),
        "scale": scale,
        "shape": [first.height, first.width],
        "ground": ground,
    }


def _band(path: str, index: int) -> tuple[np.ndarray, Any]:
    with reading(path):
        dataset = shared_raster(path)
        return dataset.read(index), dataset.nodata


def _label_notes(item: Item, checking: Checking, grid: Grid) -> list[tuple[str, str]]:
    """Check the label rasters; an image without label is said, and stays."""
    notes = []
    for path in (item.landcover, item.reference):
        if not path:
            continue
        own = grid_of(shared_raster(path))
        if checking.layout.georeferenced and not checking.warp:
            check_aligned(own, grid, where=path)
        found = labels_on(path, checking.layout, grid if checking.warp else None)
        close_raster(path)
        if (found == NODATA).all():
            notes.append(("unlabelled", f"{path}: every pixel is masked"))
    if not (item.landcover or item.reference or item.soft or item.classes):
        notes.append(("unlabelled", "no label raster and no label set"))
    return notes
