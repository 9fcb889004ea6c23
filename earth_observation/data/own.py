"""Own scenes: a manifest of files, folders of bands, SAFE products or STAC items, cut to chips by the pipeline."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from core.data.form import ID, SPLIT, Column, ManifestForm, group
from core.data.manifest import confine
from core.errors import DataError
from core.files import read_json
from earth_observation.bands import SENSORS, Sensor, band_of_file, own_sensor
from earth_observation.data.items import RASTERS, Item, Layout
from earth_observation.labels import DYNAMIC_WORLD, own_classes

FORM = ManifestForm(
    (
        ID,
        Column(
            "path",
            "a GeoTIFF of all bands, a folder of band files (SAFE products too), or a STAC item with local assets",
            "scenes/a1.tif",
            needed=True,
            path=True,
        ),
        group("the place", "p7"),
        SPLIT,
        Column("labels", "classes seen in it: names or numbers joined by '|'", "crops|water"),
        Column(
            "landcover",
            "a raster of classes on the same grid, from which the classes are counted",
            "cover/a1.tif",
            path=True,
        ),
        Column(
            "reference",
            "a raster of classes to learn maps from, and to be scored against",
            "maps/a1.tif",
            path=True,
        ),
        Column("s1", "a Sentinel-1 file of the same place", "s1/a1.tif", path=True),
        Column(
            "mask",
            "a scene classification (SCL) of the same ground, on any grid: cloud, shadow and defects become unknown",
            "scl/a1.tif",
            path=True,
        ),
        Column("season", "which date of the place it is: 0, 1, 2, ...", "0"),
    )
)
_FINEST = ("_10m", "_20m", "_60m")


def read_own(
    root: str | os.PathLike[str],
    manifest: str | os.PathLike[str],
    *,
    sensor: str,
    bands: Sequence[str] = (),
    gsd: float = 10.0,
    classes: Sequence[str] = (),
    label_offset: int = 0,
    georeferenced: bool = True,
    fractions: Mapping[str, float],
    seed: int = 0,
) -> tuple[list[Item], Layout]:
    """List own scenes.

    The manifest has the columns of ``FORM``.

    Args:
        sensor: one of `SENSORS`, or "own" with the names of ``bands`` and ``gsd`` metres a pixel.
        classes: names by number; those of Dynamic World where left out.

    Raises:
        DataError: as `core.data.manifest.read_manifest`, a label that is no class, a season that is no number.
    """
    table = FORM.read(manifest, root=root, fractions=fractions, seed=seed)
    found = own_classes(classes) if classes else DYNAMIC_WORLD
    kind = own_sensor(bands, gsd) if sensor == "own" else SENSORS[sensor]
    product = {"s1": "s1", "rgb": "rgb"}.get(kind.name, "s2" if kind.name.startswith("s2") else "image")
    items = []
    for row in table.itertuples():
        files = {product: scene_files(row.path, kind, root)}
        if row.s1:
            files["s1"] = scene_files(row.s1, SENSORS["s1"], root)
        items.append(
            Item(
                row.id,
                row.group,
                row.split,
                files,
                order={product: list(range(len(kind.bands)))} if kind.name == "rgb" else {},
                season=_season(row.season, f"{manifest} row {row.Index}"),
                landcover=row.landcover,
                reference=row.reference,
                classes=_classes(row.labels, found.names, f"{manifest} row {row.Index}"),
                mask=row.mask,
            )
        )
    sensors: dict[str, Sensor] = {product: kind}
    if any("s1" in item.files for item in items):
        sensors["s1"] = SENSORS["s1"]
    return items, Layout(sensors, found, georeferenced=georeferenced, label_offset=label_offset)


def scene_files(path: str | os.PathLike[str], sensor: Sensor, root: str | os.PathLike[str]) -> list[str]:
    """The raster files that a path stands for.

    Of a folder, all below it that hold a band of the sensor, each band at its finest (a SAFE product holds
    bands at several resolutions); of a STAC item, its local assets.

    Raises:
        DataError: an asset that is no local file inside ``root``, or no file at all.
    """
    place = Path(path)
    if place.suffix.lower() == ".json":
        return _stac_files(place, sensor, root)
    if not place.is_dir():
        return [str(place)]
    best: dict[str, str] = {}
    for file in sorted(place.rglob("*"), key=lambda file: (_coarseness(file), str(file))):
        if file.suffix.lower() in RASTERS and (band := band_of_file(file.stem, sensor)) is not None:
            best.setdefault(band, str(confine(root, file, where=str(place))))
    if not best:
        raise DataError(f"{place}", seen="no file named by a band", expected=", ".join(sensor.bands))
    return list(best.values())


def _coarseness(file: Path) -> int:
    return next((k for k, mark in enumerate(_FINEST) if file.stem.lower().endswith(mark)), 0)


def _stac_files(path: Path, sensor: Sensor, root: str | os.PathLike[str]) -> list[str]:
    raw = read_json(path)
    assets = raw.get("assets") if isinstance(raw, dict) else None
    if not isinstance(assets, dict):
        raise DataError(f"{path}", seen="no assets", expected="a STAC item")
    files = []
    for name, asset in assets.items():
        href = str(asset.get("href", ""))
        if Path(href).suffix.lower() not in RASTERS:
            continue
        if "://" in href and not href.startswith("file://"):
            raise DataError(
                f"{path}: asset {name}", seen=href, expected="a local file", remedy="fetch the assets first"
            )
        local = confine(root, path.parent / href.removeprefix("file://"), where=f"{path}: asset {name}")
        if band_of_file(local.stem, sensor) is not None:
            files.append(str(local))
    if not files:
        raise DataError(f"{path}", seen=sorted(assets), expected=f"assets of {', '.join(sensor.bands)}")
    return files


def _season(text: str, where: str) -> int:
    cell = text.strip()
    if cell and not cell.isdecimal():
        raise DataError(
            f"{where}: season", seen=text, expected="0, 1, 2, ...: which date of the place it is",
            remedy="number the dates, or leave the column empty where each place has one",
        )  # fmt: skip
    return int(cell or 0)


def _classes(text: str, names: Sequence[str], where: str) -> list[int] | None:
    if not text.strip():
        return None
    found = []
    for part in (part.strip() for part in text.split("|") if part.strip()):
        number = names.index(part) if part in names else int(part) if part.isdigit() else -1
        if not 0 <= number < len(names):
            raise DataError(
                f"{where}: labels", seen=part, expected=f"one of {', '.join(names)}, or its number"
            )
        found.append(number)
    return found
