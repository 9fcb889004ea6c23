"""One dated image of a place: its files by product, its labels, and the table in which stages hand items on."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from core.errors import DataError
from core.files import read_json, write_json
from earth_observation.bands import SENSORS, Sensor
from earth_observation.labels import ClassTable

SPLITS = ("train", "valid", "test")
RASTERS = (".tif", ".tiff", ".jp2", ".vrt", ".jpg", ".jpeg", ".png", ".img")


@dataclass(frozen=True)
class Item:
    """A dated image.

    Attributes:
        id, group, split: the group is the place; places never straddle splits.
        files: product ("s2", "s1", "rgb", "image") -> its files.
        order: product -> positions of the sensor's bands in a single file without band names.
        season: number of the date among those of the place.
        landcover: raster of a free land-cover product, whose classes are the soft labels.
        reference: raster of the classes that are to be learned; ``landcover`` stands in where it is "".
        soft, classes: the same two as lists of class numbers, where there is no raster; None for neither.
        scale: product -> rule of `earth_observation.data.scale`, found by validation.
        shape: (rows, columns) of the image, found by validation.
        mask: raster of a scene classification (SCL), whose cloudy pixels count as unknown in optical products.
    """

    id: str
    group: str
    split: str
    files: Mapping[str, Sequence[str]]
    order: Mapping[str, Sequence[int]] = field(default_factory=dict)
    season: int = 0
    landcover: str = ""
    reference: str = ""
    soft: Sequence[int] | None = None
    classes: Sequence[int] | None = None
    scale: Mapping[str, str] = field(default_factory=dict)
    shape: Sequence[int] = ()
    mask: str = ""


@dataclass(frozen=True)
class Layout:
    """What all items of a source share.

    Attributes:
        sensors: product -> its sensor. table: the classes.
        corine: rasters hold CORINE codes. georeferenced: False for plain pictures.
        label_offset: added to the classes of rasters.
    """

    sensors: Mapping[str, Sensor]
    table: ClassTable
    corine: bool = False
    georeferenced: bool = True
    label_offset: int = 0


def save_items(items: Sequence[Item], layout: Layout, path: str | os.PathLike[str]) -> None:
    """Write items and layout as JSON; files below the working folder are written relative to it."""
    write_json(
        path,
        {
            "sensors": {name: asdict(sensor) for name, sensor in layout.sensors.items()},
            "table": asdict(layout.table),
            "corine": layout.corine,
            "georeferenced": layout.georeferenced,
            "label_offset": layout.label_offset,
            "items": [_relative(asdict(item)) for item in items],
        },
    )


def load_items(path: str | os.PathLike[str]) -> tuple[list[Item], Layout]:
    """The inverse of `save_items`."""
    raw = read_json(path)
    layout = Layout(
        {name: _sensor(one) for name, one in raw["sensors"].items()},
        table_of(raw["table"]),
        raw["corine"],
        raw["georeferenced"],
        raw["label_offset"],
    )
    return [Item(**one) for one in raw["items"]], layout


def table_of(raw: Mapping[str, Any]) -> ClassTable:
    """A class table from its JSON."""
    return ClassTable(
        raw["name"], tuple(raw["names"]), tuple((int(r), int(g), int(b)) for r, g, b in raw["colours"])
    )


def _sensor(raw: Mapping[str, Any]) -> Sensor:
    known = SENSORS.get(raw["name"])
    if known is not None and list(known.bands) == list(raw["bands"]):
        return known
    return Sensor(raw["name"], tuple(raw["bands"]), raw["unit"], tuple(raw["resolution"]))


sensor_of = _sensor
"""A sensor from its JSON."""


def _relative(raw: dict[str, Any]) -> dict[str, Any]:
    here = Path.cwd()

    def short(path: str) -> str:
        full = Path(path)
        return (
            full.relative_to(here).as_posix()
            if path and full.is_absolute() and here in full.parents
            else path
        )

    files = {product: [short(path) for path in paths] for product, paths in raw["files"].items()}
    return {**raw, "files": files, **{key: short(raw[key]) for key in ("landcover", "reference", "mask")}}


def folder_of(root: str | os.PathLike[str], *names: str) -> Path:
    """The first of the named folders below ``root`` that is there. Raises DataError naming those looked for."""
    for name in names:
        if (Path(root) / name).is_dir():
            return Path(root) / name
    raise DataError(
        f"{root}", seen="no such folder in it", expected=" or ".join(names), remedy="check data.root"
    )


def rasters_in(folder: Path) -> list[str]:
    """The raster files directly in a folder, by name."""
    return sorted(str(path) for path in folder.iterdir() if path.suffix.lower() in RASTERS)
