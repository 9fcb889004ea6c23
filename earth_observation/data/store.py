"""Chips as arrays on disk, as trainings read them: bytes by product, label sets, land cover, mapped not loaded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import DataError
from core.files import read_json
from earth_observation.bands import Sensor
from earth_observation.data.items import sensor_of, table_of
from earth_observation.normalise import Normalisation


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
