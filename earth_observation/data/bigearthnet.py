"""BigEarthNet v1 (a folder a patch, labels in JSON) and v2 (a folder a tile, labels in a table)."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path

from core.data.checks import Quarantine
from core.data.splits import group_split
from core.errors import DataError
from core.files import read_json
from earth_observation.bands import SENSORS
from earth_observation.data.items import Item, Layout, folder_of, rasters_in
from earth_observation.labels import BIGEARTHNET, corine_classes

SNOW_AND_CLOUD = ("patches_with_seasonal_snow.csv", "patches_with_cloud_and_shadow.csv")
_SPLITS = {"train": "train", "val": "valid", "validation": "valid", "valid": "valid", "test": "test"}


def read_bigearthnet(
    root: str | os.PathLike[str], quarantine: Quarantine, *, fractions: Mapping[str, float], seed: int = 0
) -> tuple[list[Item], Layout]:
    """List BigEarthNet in either version, told by what lies in ``root``.

    v1 folders hold ``<patch>_B01.tif`` ... and ``<patch>_labels_metadata.json``; patches that the published
    lists call snowy or cloudy are left out. v2 has ``BigEarthNet-S2``, ``BigEarthNet-S1``, ``Reference_Maps``
    and ``metadata.parquet``. Radar bands are taken by name: the files sort VH before VV. Scores of the two
    versions are not comparable (other atmospheric correction, classes and splits).

    Raises:
        DataError: neither layout is found.
    """
    if (Path(root) / "metadata.parquet").is_file():
        return _read_v2(Path(root))
    home = Path(root)
    home = home / "BigEarthNet-v1.0" if (home / "BigEarthNet-v1.0").is_dir() else home
    patches = sorted({file.parent for file in home.glob("*/*_labels_metadata.json")})
    if not patches:
        raise DataError(
            f"{root}", seen="no patch folder and no metadata.parquet",
            expected="BigEarthNet v1 (patch folders) or v2 (metadata.parquet)", remedy="check data.root",
        )  # fmt: skip
    left_out = {name for file in SNOW_AND_CLOUD for name in _first_column(Path(root) / file)}
    given = {
        name: split
        for split in ("train", "val", "test")
        for name in _first_column(Path(root) / f"{split}.csv")
    }
    scenes = [patch.name.rsplit("_", 2)[0] for patch in patches]
    drawn = (
        dict(zip(scenes, group_split(scenes, fractions, seed))) if not given and len(set(scenes)) > 2 else {}
    )
    partners = _radar_partners(Path(root))
    items = []
    for patch, scene in zip(patches, scenes):
        if patch.name in left_out:
            quarantine.warn(patch.name, "snow_or_cloud", "on the published list of snowy or cloudy patches")
            continue
        with quarantine.item(patch.name, kind="labels"):
            raw = read_json(next(patch.glob("*_labels_metadata.json")))
            files = {"s2": rasters_in(patch)} | (
                {"s1": partners[patch.name]} if patch.name in partners else {}
            )
            split = _SPLITS[given[patch.name]] if patch.name in given else drawn.get(scene, "train")
            labels = corine_classes(raw["labels"], where=patch.name)
            items.append(Item(patch.name, scene, split, files, classes=labels))
    sensors = {"s2": SENSORS["s2_l2a"]} | ({"s1": SENSORS["s1"]} if partners else {})
    return items, Layout(sensors, BIGEARTHNET)


def _read_v2(root: Path) -> tuple[list[Item], Layout]:
    import pandas as pd

    table = pd.read_parquet(root / "metadata.parquet")
    missing = [name for name in ("patch_id", "labels", "split") if name not in table]
    if missing:
        raise DataError(
            f"{root / 'metadata.parquet'}", seen=list(table.columns), expected=f"columns {missing}"
        )
    optical = folder_of(root, "BigEarthNet-S2")
    radar = "s1_name" in table and (root / "BigEarthNet-S1").is_dir()
    maps = root / "Reference_Maps"
    items = []
    for row in table.itertuples():
        patch = str(row.patch_id)
        tile = patch.rsplit("_", 2)[0]
        folder = optical / tile / patch
        files = {"s2": rasters_in(folder) if folder.is_dir() else [str(folder / f"{patch}_B02.tif")]}
        if radar:
            name = str(row.s1_name)
            place = root / "BigEarthNet-S1" / name.rsplit("_", 3)[0] / name
            files["s1"] = rasters_in(place) if place.is_dir() else [str(place / f"{name}_VV.tif")]
        raster = maps / tile / patch / f"{patch}_reference_map.tif"
        items.append(
            Item(
                patch,
                tile,
                _SPLITS[str(row.split)],
                files,
                reference=str(raster) if raster.is_file() else "",
                classes=corine_classes(list(row.labels), where=patch),
            )
        )
    sensors = {"s2": SENSORS["s2_l2a"]} | ({"s1": SENSORS["s1"]} if radar else {})
    return items, Layout(sensors, BIGEARTHNET, corine=True)


def _radar_partners(root: Path) -> dict[str, list[str]]:
    """v1: optical patch -> files of the radar patch whose JSON names it."""
    home = root / "BigEarthNet-S1-v1.0"
    found = {}
    for file in sorted(home.glob("*/*_labels_metadata.json")) if home.is_dir() else []:
        found[str(read_json(file)["corresponding_s2_patch"])] = rasters_in(file.parent)
    return found


def _first_column(path: Path) -> list[str]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        return [row[0] for row in csv.reader(stream) if row]
