"""The chip store is written: statistics chosen, images cut, label sets decided, arrays appended to files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from core.data.parallel import parallel_map
from core.errors import DataError
from core.files import write_json
from earth_observation.data.cut import Plan, cut_chips, plan_chips
from earth_observation.data.items import Item, Layout
from earth_observation.data.mask import hidden_pixels
from earth_observation.data.raster import known
from earth_observation.data.scale import Scale
from earth_observation.data.sources import stack_of
from earth_observation.data.store import ChipStore
from earth_observation.labels import NODATA, ClassTable, hot, multi_labels
from earth_observation.normalise import STATISTICS, Moments, Normalisation, named_statistics

BATCH = 256


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
    work = partial(cut_chips, layout=layout, normalisations=normalisations, size=size, warp=warp)
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
    masked = item.mask and layout.sensors[product].unit != "db"
    hidden = hidden_pixels(item.mask, stack.grid) if masked else None
    for top, height in _strips(stack.grid.height):
        x, valid = stack.read((top, 0, height, stack.grid.width))
        valid &= known(x, layout.sensors[product])
        if hidden is not None:
            valid &= ~hidden[top : top + height]
        moments.add(Scale(item.scale.get(product, "raw"))(x), valid)
    stack.close()
    return moments


def _strips(height: int, rows: int = 1024) -> Iterator[tuple[int, int]]:
    for top in range(0, height, rows):
        yield top, min(rows, height - top)


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
