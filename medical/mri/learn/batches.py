"""Which slices make up a batch, as a function of (seed, step), and how they become views."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.errors import ConfigError, DataError
from core.learning.determinism import generator
from core.learning.sampler import StepBatches
from medical.mri.augment import deform, global_view, intensity
from medical.mri.partition import Mode, partition_bounds, partition_index
from medical.mri.prepared import Prepared

Batch = dict[str, Tensor]


class PartitionSampler:
    """One random slice from each partition of each of ``volumes`` random volumes, volume by volume.

    Args:
        prepared: the slices.
        members: numbers of the volumes to draw from.
        volumes: drawn a batch, without repeats.
        parts: partitions.
        mode: of `medical.mri.partition.partition_bounds`.
        seed: fixes everything.

    Raises:
        DataError: fewer volumes than a batch needs, or one with fewer slices than partitions (with its id).
    """

    def __init__(
        self,
        prepared: Prepared,
        members: Sequence[int],
        *,
        volumes: int,
        parts: int,
        mode: Mode = "balanced",
        seed: int = 0,
    ) -> None:
        if len(members) < volumes:
            raise DataError(
                "volumes to pretrain on",
                seen=len(members),
                expected=f"at least {volumes}, as a batch holds",
                remedy="lower pretrain.volumes, or add volumes (they need no masks)",
            )
        self.volumes, self.parts, self.seed = volumes, parts, seed
        self.bounds = np.stack(
            [
                prepared.starts[number]
                + partition_bounds(prepared.depths[number], parts, mode, name=prepared.cases[number].id)
                for number in members
            ]
        )

    def batch(self, step: int) -> list[int]:
        """Slice numbers of batch ``step``, ``volumes * parts`` of them."""
        rng = generator(self.seed, "partitions", step)
        bounds = self.bounds[rng.choice(len(self.bounds), self.volumes, replace=False)]
        return rng.integers(bounds[:, :-1], bounds[:, 1:]).ravel().tolist()


class DrawnSampler:
    """``batch_size`` slices drawn with replacement, as in the published fine-tuning.

    Args:
        items: slice numbers to draw from.
    """

    def __init__(self, items: Sequence[int] | np.ndarray, batch_size: int, seed: int = 0) -> None:
        if len(items) == 0 or batch_size < 1:
            raise ConfigError(
                "(slices, batch_size)", seen=(len(items), batch_size), expected="at least one of each"
            )
        self.items, self.batch_size, self.seed = np.asarray(items), batch_size, seed

    def batch(self, step: int) -> list[int]:
        """Slice numbers of batch ``step``."""
        rng = generator(self.seed, "slices", step)
        return self.items[rng.integers(0, len(self.items), self.batch_size)].tolist()


class SliceSet:
    """Slices by number, fetched together: the dataset of `core.learning.sampler.StepBatches`.

    Each fetch gives ``{"image": (B, 1, H, W) float32, "label": (B, H, W) int64, "partition", "volume":
    (B,) int64, "position": (B,) float32 in (0, 1]}``.
    """

    def __init__(self, prepared: Prepared, *, parts: int, mode: Mode = "balanced") -> None:
        self.images, self.labels = prepared.images, prepared.labels
        depths = np.asarray(prepared.depths)
        self.volume = np.repeat(np.arange(len(depths)), depths)
        within = np.arange(len(self.volume)) - np.repeat(prepared.starts[:-1], depths)
        self.position = ((within + 1) / np.repeat(depths, depths)).astype(np.float32)
        self.partition = np.concatenate(
            [partition_index(np.arange(depth), depth, min(parts, depth), mode) for depth in prepared.depths]
        )

    def __getitems__(self, items: Sequence[int]) -> Batch:
        at = np.asarray(items)
        return {
            "image": torch.from_numpy(np.ascontiguousarray(self.images[at])).unsqueeze(1),
            "label": torch.from_numpy(self.labels[at].astype(np.int64)),
            "partition": torch.from_numpy(self.partition[at]),
            "volume": torch.from_numpy(self.volume[at]),
            "position": torch.from_numpy(self.position[at]),
        }


def pretrain_batches(
    prepared: Prepared,
    members: Sequence[int],
    *,
    views: str,
    volumes: int,
    parts: int,
    mode: Mode = "balanced",
    seed: int = 0,
    **augmentation: Any,
) -> StepBatches:
    """Batches of views: ``{"views": (V, B, 1, H, W), "partition", "volume", "position"}``; labels stay behind.

    Args:
        members: volumes to draw from.
        views: ``global`` (V = 3: as it is, and two augmentations) or ``local`` (V = 2 intensity changes).
        volumes, parts, mode, seed: as in `PartitionSampler`.
        **augmentation: of `medical.mri.augment.global_view` or `intensity`.
    """
    if views not in ("global", "local"):
        raise ConfigError("views", seen=views, expected="global or local")
    sampler = PartitionSampler(prepared, members, volumes=volumes, parts=parts, mode=mode, seed=seed)
    collate = partial(_views, kind=views, augmentation=augmentation)
    return StepBatches(SliceSet(prepared, parts=parts, mode=mode), sampler, collate)


def _views(batch: Batch, kind: str, augmentation: dict[str, Any]) -> Batch:
    image = batch.pop("image")
    del batch["label"]
    change = global_view if kind == "global" else intensity
    changed = [change(image, **augmentation) for _ in range(2)]
    return {**batch, "views": torch.stack([image, *changed] if kind == "global" else changed)}


def labelled_batches(
    prepared: Prepared, members: Sequence[int], *, batch_size: int, seed: int = 0, **augmentation: Any
) -> StepBatches:
    """Batches ``{"image": (B, 1, H, W), "label": (B, H, W)}`` of volumes with masks, deformed and recoloured.

    Args:
        members: volumes to draw from.
        **augmentation: ``brightness``, ``contrast`` of `intensity`; ``sigma``, ``turns`` of `deform`.
    """
    bare = [prepared.cases[number].id for number in members if not prepared.cases[number].label]
    if bare:
        raise DataError("volumes to fine-tune on", seen=bare[:5], expected="a mask for each")
    items = np.concatenate(
        [np.arange(*prepared.slices(number).indices(len(prepared.images))) for number in members]
    )
    collate = partial(_moved, augmentation=augmentation)
    return StepBatches(SliceSet(prepared, parts=1), DrawnSampler(items, batch_size, seed), collate)


def _moved(batch: Batch, augmentation: dict[str, Any]) -> Batch:
    changes = {"brightness": 0.1, "contrast": 0.2, **augmentation}
    geometry = {key: changes.pop(key) for key in ("sigma", "turns") if key in changes}
    image, label = deform(batch["image"], batch["label"], **geometry)
    return {"image": intensity(image, clip=None, **changes), "label": label}
