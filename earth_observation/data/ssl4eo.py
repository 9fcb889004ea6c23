"""SSL4EO-S12: ``{s1,s2c,s2a}/<location>/<scene>/<BAND>.tif``, with label sets or Dynamic World rasters beside it.

Labels are taken from ``dw/<location>/<s2 scene>.tif`` (class rasters, 255 masked) where that folder is there,
else from ``ssl4eo_multilabel.json`` (``{location: {scene: ["0", "4"]}}``, an empty list meaning "unknown").
``reference/<location>/<s2 scene>.tif``, where given, holds the classes to learn.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from core.data.checks import Quarantine
from core.data.splits import group_split
from core.errors import DataError
from core.files import read_json
from earth_observation.bands import SENSORS
from earth_observation.data.items import Item, Layout, folder_of, rasters_in
from earth_observation.labels import DYNAMIC_WORLD

OPTICAL = {
    "s2c": ("s2_l1c", ("s2c", "s2_l1c/s2c", "s2c/s2c")),
    "s2a": ("s2_l2a", ("s2a", "s2_l2a/s2a", "s2a/s2a")),
}
RADAR = ("s1", "s1_grd/s1", "s1/s1")


def read_ssl4eo(
    root: str | os.PathLike[str],
    quarantine: Quarantine,
    *,
    product: str = "s2c",
    fractions: Mapping[str, float],
    seed: int = 0,
) -> tuple[list[Item], Layout]:
    """List a copy of SSL4EO-S12, whatever parts of it are there.

    Seasons of the products have dates of their own and are paired by their sorted position in a place. Places
    may be missing: ids are taken from the folders.

    Args:
        product: s2c (L1C, 13 bands) or s2a (L2A, 12 bands). fractions, seed: of the split by place.

    Raises:
        DataError: no such folder, or no place in it.
    """
    name, places = OPTICAL[product]
    optical = folder_of(root, *places)
    if optical.joinpath(optical.name).is_dir():
        optical = optical / optical.name
    radar = next((Path(root) / place for place in reversed(RADAR) if (Path(root) / place).is_dir()), None)
    locations = sorted(path.name for path in optical.iterdir() if path.is_dir())
    if not locations:
        raise DataError(f"{optical}", seen="no location folder", expected="folders such as 0000042")
    table = Path(root) / "ssl4eo_multilabel.json"
    sets = read_json(table) if table.is_file() else {}
    split = dict(zip(locations, group_split(locations, fractions, seed)))
    items = []
    for location in locations:
        scenes = _scenes(optical / location)
        partners = _scenes(radar / location) if radar is not None else []
        if partners and len(partners) != len(scenes):
            quarantine.warn(
                location,
                "unpaired",
                f"{len(scenes)} optical, {len(partners)} radar dates: the rest has no partner",
            )
        for season, scene in enumerate(scenes):
            files = {"s2": rasters_in(scene)}
            if season < len(partners):
                files["s1"] = rasters_in(partners[season])
            raster = Path(root) / "dw" / location / f"{scene.name}.tif"
            reference = Path(root) / "reference" / location / f"{scene.name}.tif"
            items.append(
                Item(
                    f"{location}/{scene.name}",
                    location,
                    split[location],
                    files,
                    season=season,
                    landcover=str(raster) if raster.is_file() else "",
                    reference=str(reference) if reference.is_file() else "",
                    soft=_label_set(sets, location, scene.name, table),
                )
            )
    sensors = {"s2": SENSORS[name]} | ({"s1": SENSORS["s1"]} if radar is not None else {})
    return items, Layout(sensors, DYNAMIC_WORLD)


def _scenes(folder: Path) -> list[Path]:
    """Dated folders of a place in the order of their dates (a radar name starts with its product's name)."""
    return sorted((p for p in folder.iterdir() if p.is_dir()), key=_date) if folder.is_dir() else []


def _date(scene: Path) -> str:
    return next((part for part in scene.name.split("_") if part[:8].isdigit() and len(part) >= 8), scene.name)


def _label_set(sets: object, location: str, scene: str, table: Path) -> list[int] | None:
    if not isinstance(sets, dict) or scene not in sets.get(location, {}):
        return None
    found = [int(text) for text in sets[location][scene]]
    if any(not 0 <= k < len(DYNAMIC_WORLD) for k in found):
        raise DataError(f"{table}: {location}/{scene}", seen=found, expected="classes 0 to 8")
    return found
