"""EuroSAT: one folder a class, 64 x 64 chips, 13 bands in a file (B8A last) or 8-bit colour."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from core.data.splits import group_split
from core.errors import DataError
from earth_observation.bands import S2_BANDS, SENSORS
from earth_observation.data.items import Item, Layout, rasters_in
from earth_observation.labels import EUROSAT

FILE_BANDS = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B9", "B10", "B11", "B12", "B8A")
ORDER = tuple(FILE_BANDS.index(band) for band in S2_BANDS)
"""Position in the file of each band in the order of the models."""


def read_eurosat(
    root: str | os.PathLike[str], *, colour: bool, fractions: Mapping[str, float], seed: int = 0
) -> tuple[list[Item], Layout]:
    """List EuroSAT MS, or EuroSAT RGB where ``colour``; each class is split on its own.

    Neighbouring chips may come from one scene, which the data set does not tell: its accuracies flatter.

    Raises:
        DataError: no class folder, or a folder that is no class of EuroSAT.
    """
    home = Path(root)
    folders = sorted(path for path in home.iterdir() if path.is_dir()) if home.is_dir() else []
    unknown = [path.name for path in folders if path.name not in EUROSAT.names]
    if not folders or unknown:
        raise DataError(
            f"{root}", seen=unknown or "no folder", expected=f"folders named {', '.join(EUROSAT.names)}"
        )
    items = []
    product = "rgb" if colour else "s2"
    for folder in folders:
        label = EUROSAT.names.index(folder.name)
        files = rasters_in(folder)
        names = [Path(path).stem for path in files]
        for path, name, split in zip(files, names, group_split(names, fractions, seed)):
            order = {product: [0, 1, 2] if colour else list(ORDER)}
            items.append(Item(name, name, split, {product: [path]}, order=order, classes=[label]))
    sensor = SENSORS["rgb" if colour else "s2_l1c"]
    return items, Layout({product: sensor}, EUROSAT, georeferenced=not colour)
