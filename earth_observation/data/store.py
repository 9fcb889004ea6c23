"""Chips as arrays on disk, as trainings read them: bytes by product, label sets, land cover, mapped not loaded."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from core.data.parallel import parallel_map
from core.errors import DataError
from core.files import read_json, write_json
from earth_observation.bands import Sensor
from earth_observation.data.items import Item, Layout, sensor_of, table_of
from earth_observation.data.scale import Scale
from earth_observation.data.sources import labels_on, main_product, stack_of
from earth_observation.labels import NODATA, ClassTable, hot, multi_labels
from earth_observation.normalise import STATISTICS, Moments, Normalisation, named_statistics
from earth_observation.tiles import tile_starts

BATCH = 256


@dataclass(frozen=True)
class Plan:
    """One chip to be cut: where in which item; (row, column, height, width) in pixels of the item."""

    item: int
    window: tuple[int, int, int, int]


class ChipStore:
    """Chips of one size, each a date of a place.

    Attributes:
        chips: a mapping for each: item, group (place), split, season, row, column, spot (place and window: the
            same ground on all dates), products (which are there).
        normalisations: product -> `Normalisation`. sensors: product -> `Sensor`. table: the classes.
        soft, classes: (N, C) uint8 multi-hot: the free product's classes, and those to learn; zeros: unknown.

    >>> ChipStore.arrays
    ('landcover', 'soft', 'classes')
    """

    arrays = ("landcover", "soft", "classes")

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        raw = read_json(self.folder / "store.json")
        self.chips: list[dict[str, Any]] = raw["chips"]
        self.size, self.table = int(raw["size"]), table_of(raw["table"])
        self.normalisations = {
            name: Normalisation.from_json(one) for name, one in raw["normalisations"].items()
        }
        self.sensors: dict[str, Sensor] = {name: sensor_of(one) for name, one in raw["sensors"].items()}
        self.pixels = {name: self._array(name) for name in self.sensors}
        self.landcover, soft, classes = (self._array(name) for name in self.arrays)
        self.soft, self.classes = np.asarray(soft), np.asarray(classes)

    def __len__(self) -> int:
        return len(self.chips)

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["folder"])  # type: ignore[misc]  # a worker maps the arrays anew

    def _array(self, name: str) -> np.ndarray:
        try:
            return np.load(self.folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataError(
                f"{self.folder / name}.npy", seen=str(error), remedy="run the prepare stage"
            ) from None

    def indices(self, split: str, product: str | None = None) -> np.ndarray:
        """Chips of a split (that have the product), in order."""
        return np.array(
            [
                k
                for k, chip in enumerate(self.chips)
                if chip["split"] == split and (product is None or product in chip["products"])
            ],
            dtype=np.int64,
        )

    def groups(self, indices: Sequence[int] | np.ndarray) -> list[str]:
        """The place of each chip."""
        return [self.chips[int(k)]["group"] for k in indices]

    def read(self, product: str, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """(n, C, size, size) uint8."""
        order = np.asarray(indices)
        return np.ascontiguousarray(self.pixels[product][order])


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


def write_store(
    items: Sequence[Item],
    layout: Layout,
    folder: str | os.PathLike[str],
    *,
    size: int,
    stride: int | None = None,
    statistics: str = "ssl4eo_50k",
    min_fraction: float = 0.0,
    min_valid: float = 0.5,
    blocks: int | None = None,
    warp: bool = False,
    scheduler: str = "serial",
) -> ChipStore:
    """Cut, normalise and label all items.

    Args:
        folder: existing and empty.
        size: pixels a side of a chip. stride: between chips of larger images.
        statistics: "data" (mean and deviation of the training items), or a source of
            `earth_observation.normalise.STATISTICS` ("ssl4eo_50k"); products that it lacks take "data".
        min_fraction: share from which a class counts as present in a chip.
        min_valid: chips with a smaller share of valid pixels are left out.
        blocks: pixels a side of spatial blocks, which become the groups, and by which a single scene is split
            by a fixed pattern of three in five (train), one (valid), one (test). None keeps the items' splits.
        warp: put partners and labels on the grid of the first product. scheduler: as in `parallel_map`.

    Raises:
        DataError: no chip is left, or none of the training split.
    """
    target = Path(folder)
    plans = plan_chips(items, size, stride=stride)
    normalisations = choose_statistics(items, layout, statistics, scheduler=scheduler)
    by_item: dict[int, list[Plan]] = {}
    for plan in plans:
        by_item.setdefault(plan.item, []).append(plan)
    work = partial(_cut, layout=layout, normalisations=normalisations, size=size, warp=warp)
    jobs = [(items[number], chips) for number, chips in by_item.items()]
    writer = _Writer(target, layout, size)
    chips: list[dict[str, Any]] = []
    for start in range(0, len(jobs), BATCH):
        part = jobs[start : start + BATCH]
        for (item, own), found in zip(part, parallel_map(work, part, scheduler=scheduler)):
            for plan, one in zip(own, found):
                if one["valid"] < min_valid:
                    continue
                writer.add(one)
                chips.append(_chip(item, plan, one, blocks, layout))
    writer.close()
    if not chips:
        raise DataError(
            "chips", seen="none", expected="at least one", remedy="lower prepare.size or min_valid"
        )
    soft, classes = _label_sets(
        chips, np.load(target / "landcover.npy", mmap_mode="r"), layout.table, min_fraction
    )
    np.save(target / "soft.npy", soft)
    np.save(target / "classes.npy", classes)
    for chip in chips:
        for key in ("soft_set", "class_set", "has_reference"):
            chip.pop(key)
    write_json(
        target / "store.json",
        {
            "size": size,
            "table": asdict(layout.table),
            "sensors": {name: asdict(sensor) for name, sensor in layout.sensors.items()},
            "normalisations": {name: one.to_json() for name, one in normalisations.items()},
            "chips": chips,
        },
    )
    return ChipStore(target)


def choose_statistics(
    items: Sequence[Item], layout: Layout, source: str, *, scheduler: str = "serial", most: int = 500
) -> dict[str, Normalisation]:
    """The normalisation of each product; "data" looks at no more than ``most`` training items."""
    chosen = {}
    for product, sensor in layout.sensors.items():
        name = "eight_bit/rgb" if sensor.name == "rgb" and source != "data" else f"{source}/{sensor.name}"
        if name in STATISTICS:
            chosen[product] = named_statistics(name, sensor.bands)
            continue
        train = [item for item in items if item.split == "train" and product in item.files]
        picked = train[:: max(1, len(train) // most)]
        if not picked:
            raise DataError(
                f"statistics of {product}", seen="no training item", remedy="name prepare.statistics"
            )
        total = Moments(len(sensor.bands))
        for moments in parallel_map(
            partial(_moments, product=product, layout=layout), picked, scheduler=scheduler
        ):
            total.count += moments.count
            total.total += moments.total
            total.square += moments.square
        chosen[product] = total.statistics("data", sensor.bands)
    return chosen


def _moments(item: Item, *, product: str, layout: Layout) -> Moments:
    stack = stack_of(item, product, layout)
    moments = Moments(len(layout.sensors[product].bands))
    for top, height in _strips(stack.grid.height):
        x, valid = stack.read((top, 0, height, stack.grid.width))
        moments.add(Scale(item.scale.get(product, "raw"))(x), valid & known(x, layout.sensors[product]))
    stack.close()
    return moments


def known(x: np.ndarray, sensor: Sensor) -> np.ndarray:
    """(h, w) bool: pixels that are not "no data" by Sentinel-2's own convention, 0 in every band."""
    return (x != 0).any(axis=0) if sensor.unit == "dn" else np.ones(x.shape[1:], dtype=bool)


def _strips(height: int, rows: int = 1024) -> Iterator[tuple[int, int]]:
    for top in range(0, height, rows):
        yield top, min(rows, height - top)


def _cut(
    job: tuple[Item, list[Plan]],
    *,
    layout: Layout,
    normalisations: Mapping[str, Normalisation],
    size: int,
    warp: bool,
) -> list[dict[str, Any]]:
    """The chips of one item: bytes by product, land cover, share of valid pixels."""
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
    out = []
    for plan in plans:
        one: dict[str, Any] = {"pixels": {}, "valid": 1.0}
        for product, stack in stacks.items():
            sensor, scale = layout.sensors[product], Scale(item.scale.get(product, "raw"))
            x, valid = stack.read(_on(plan.window, grid, stack.grid), size=(size, size))
            x, valid = scale(x), valid & known(x, sensor)
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


def _chip(
    item: Item, plan: Plan, one: Mapping[str, Any], blocks: int | None, layout: Layout
) -> dict[str, Any]:
    row, column = plan.window[:2]
    group, split = item.group, item.split
    if blocks:
        by, bx = (row + plan.window[2] // 2) // blocks, (column + plan.window[3] // 2) // blocks
        group, split = f"{item.group}/{by}-{bx}", block_split(by, bx)
    classes = len(layout.table)
    landcover = one.get("landcover")
    return {
        "item": item.id, "group": group, "split": split, "season": item.season, "row": row, "column": column,
        "spot": f"{item.group}@{row},{column}", "products": sorted(one["pixels"]),
        "soft_set": item.soft if landcover is None else _present(landcover, classes),
        "class_set": item.classes, "has_reference": "reference" in one,
    }  # fmt: skip


def block_split(row: int, column: int) -> str:
    """Split of a spatial block by a fixed pattern: of five in a row three train, one validates, one tests.

    >>> [block_split(0, k) for k in range(5)]
    ['train', 'train', 'valid', 'train', 'test']
    """
    return ("train", "train", "valid", "train", "test")[(column + 2 * row) % 5]


def _present(cover: np.ndarray, classes: int) -> list[list[float]]:
    counts = np.bincount(cover[cover != NODATA].ravel(), minlength=classes)[:classes]
    return [[int(k), float(counts[k] / counts.sum())] for k in np.flatnonzero(counts)]


def _label_sets(
    chips: Sequence[Mapping[str, Any]], cover: np.ndarray, table: ClassTable, min_fraction: float
) -> tuple[np.ndarray, np.ndarray]:
    """Multi-hot (soft, classes): each from its raster, else its list, else from the other."""
    classes = len(table)
    soft_sets: list[list[int]] = []
    for chip in chips:
        found = chip["soft_set"]
        if found and isinstance(found[0], list):
            found = [k for k, share in found if share >= min_fraction]
        soft_sets.append(list(found or []))
    soft = hot(soft_sets, classes)
    learned = hot([chip["class_set"] or [] for chip in chips], classes)
    rasters = np.array([chip["has_reference"] for chip in chips])
    if rasters.any():
        learned[rasters] = multi_labels(cover[rasters], classes, min_fraction=min_fraction)
    empty = learned.sum(1) == 0
    learned[empty] = soft[empty]
    lists = np.array([chip["soft_set"] is None for chip in chips])
    soft[lists] = learned[lists]
    return soft.astype(np.uint8), learned.astype(np.uint8)


class _Writer:
    """Appends chips to one .npy file a product without holding them: the count is put into the header last."""

    def __init__(self, folder: Path, layout: Layout, size: int) -> None:
        self.folder, self.size, self.count = folder, size, 0
        self.shapes = {name: (len(s.bands), size, size) for name, s in layout.sensors.items()}
        self.shapes["landcover"] = (size, size)  # type: ignore[assignment]
        self.streams = {name: (folder / f"{name}.raw").open("wb") for name in self.shapes}

    def add(self, one: Mapping[str, Any]) -> None:
        """One chip; a product that it lacks is written as zeros."""
        for name, shape in self.shapes.items():
            if name == "landcover":
                data = one.get("reference", one.get("landcover"))
                data = np.full(shape, NODATA, dtype=np.uint8) if data is None else data
            else:
                data = one["pixels"].get(name)
                data = np.zeros(shape, dtype=np.uint8) if data is None else data
            self.streams[name].write(np.ascontiguousarray(data, dtype=np.uint8).tobytes())
        self.count += 1

    def close(self) -> None:
        """Turn the streams into .npy files, copied by blocks."""
        for name, stream in self.streams.items():
            stream.close()
            raw = self.folder / f"{name}.raw"
            with raw.open("rb") as source, (self.folder / f"{name}.npy").open("wb") as out:
                header = {"descr": "|u1", "fortran_order": False, "shape": (self.count, *self.shapes[name])}
                np.lib.format.write_array_header_1_0(out, header)
                while block := source.read(2**24):
                    out.write(block)
            raw.unlink()
