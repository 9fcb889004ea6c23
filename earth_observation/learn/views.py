"""Batches: two views of a place from dates of its own, and labelled chips for the heads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from core.errors import DataError
from earth_observation.augment import Augment, flip_turn
from earth_observation.data.store import ChipStore
from earth_observation.labels import NODATA


class TwoViews:
    """One item a spot (the same ground on all its dates); each view draws its date on its own, with replacement.

    A batch holds ``view1``, ``view2`` (B, C, crop, crop) float32 in [0, 1] and ``labels1``, ``labels2`` (B, classes)
    float32: the free product's classes of the date of that view, zeros where it has none.
    """

    def __init__(
        self,
        store: ChipStore,
        product: str,
        augment: Augment,
        *,
        chips: Sequence[int] | np.ndarray | None = None,
    ) -> None:
        chosen = store.indices("train", product) if chips is None else np.asarray(chips)
        spots: dict[str, list[int]] = {}
        for index in chosen:
            spots.setdefault(store.chips[int(index)]["spot"], []).append(int(index))
        if len(spots) < 2:
            raise DataError(
                f"training chips of {product}",
                seen=len(spots),
                expected="at least two",
                remedy="lower prepare.size",
            )
        self.store, self.product, self.augment = store, product, augment
        self.dates = list(spots.values())

    def __len__(self) -> int:
        return len(self.dates)

    def __getitems__(self, indices: Sequence[int]) -> dict[str, torch.Tensor]:
        batch: dict[str, torch.Tensor] = {}
        for name in ("1", "2"):
            draws = torch.rand(len(indices)).tolist()
            chips = [self.dates[i][int(draw * len(self.dates[i]))] for i, draw in zip(indices, draws)]
            pixels = torch.from_numpy(self.store.read(self.product, chips))
            batch[f"view{name}"] = self.augment(pixels)
            batch[f"labels{name}"] = torch.from_numpy(self.store.soft[chips]).float()
        return batch


class LabelledChips:
    """Chips with what is to be learned of them, mirrored and turned together.

    A batch holds ``x`` (B, C, S, S) in [0, 1], ``cover`` (B, S, S) int64 with 255 where unknown, and ``labels``
    (B, classes) float32.
    """

    def __init__(self, store: ChipStore, product: str, chips: Sequence[int] | np.ndarray) -> None:
        self.store, self.product, self.chips = store, product, np.asarray(chips)

    def __len__(self) -> int:
        return len(self.chips)

    def __getitems__(self, indices: Sequence[int]) -> dict[str, torch.Tensor]:
        chips = self.chips[list(indices)]
        x = torch.from_numpy(self.store.read(self.product, chips)).float() / 255
        cover = torch.from_numpy(np.asarray(self.store.landcover[chips])).long()
        x, cover = flip_turn(x, cover)
        return {"x": x, "cover": cover, "labels": torch.from_numpy(self.store.classes[chips]).float()}


class DatePairs:
    """Two dates of a spot and where its land cover changed between them.

    A batch holds ``before``, ``after`` and ``changed`` (B, S, S) int64: 0, 1, 255 where either date is unknown.
    """

    def __init__(self, store: ChipStore, product: str, chips: Sequence[int] | np.ndarray) -> None:
        self.store, self.product = store, product
        self.pairs = date_pairs(store, chips)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitems__(self, indices: Sequence[int]) -> dict[str, torch.Tensor]:
        pairs = self.pairs[list(indices)]
        sides = [torch.from_numpy(self.store.read(self.product, pairs[:, k])).float() / 255 for k in (0, 1)]
        changed = torch.from_numpy(changed_cover(self.store, pairs)).long()
        before, after, changed = flip_turn(sides[0], sides[1], changed)
        return {"before": before, "after": after, "changed": changed}


def date_pairs(store: ChipStore, chips: Sequence[int] | np.ndarray) -> np.ndarray:
    """(P, 2) chips: of each spot its first date with every later one, and each date with the last."""
    spots: dict[str, list[int]] = {}
    for index in np.asarray(chips):
        spots.setdefault(store.chips[int(index)]["spot"], []).append(int(index))
    pairs = []
    for dates in spots.values():
        dates.sort(key=lambda k: store.chips[k]["season"])
        pairs += sorted({*((dates[0], k) for k in dates[1:]), *((k, dates[-1]) for k in dates[:-1])})
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def changed_cover(store: ChipStore, pairs: np.ndarray) -> np.ndarray:
    """(P, S, S) uint8: 1 where the classes of the two dates differ, 255 where one is unknown."""
    a, b = np.asarray(store.landcover[pairs[:, 0]]), np.asarray(store.landcover[pairs[:, 1]])
    unknown = (a == NODATA) | (b == NODATA)
    return np.where(unknown, NODATA, a != b).astype(np.uint8)


def as_it_is(batch: Any) -> Any:
    """The collate function of data sets that make whole batches."""
    return batch
