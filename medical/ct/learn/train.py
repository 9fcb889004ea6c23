"""The two trainings: contrastive pretraining on a choice of slices, and fine-tuning on labelled ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.errors import ConfigError, DataError
from core.learning.determinism import derive_seed
from core.learning.fit import FitResult, fit
from core.learning.sampler import StepBatches, StepSampler
from medical.ct.augment import Crops, Strength, to_input, views
from medical.ct.learn.modules import Classifier, MoCo, SimCLR, SwAV
from medical.ct.model import SliceEncoder

METHODS = ("simclr", "moco", "swav")


class ViewBatch:
    """Dataset whose batches are views: ``__getitems__`` gives what the modules' ``terms`` take."""

    def __init__(self, images: Any, volumes: Any, crops: Sequence[Crops], strength: Strength) -> None:
        self.images, self.volumes = torch.as_tensor(np.asarray(images)), torch.as_tensor(np.asarray(volumes))
        self.crops, self.strength = list(crops), strength

    def __len__(self) -> int:
        return len(self.images)

    def __getitems__(self, indices: list[int]) -> dict[str, Any]:
        return {
            "views": views(self.images[indices], self.crops, self.strength),
            "volumes": self.volumes[indices].long(),
        }


class LabelledBatch:
    """Dataset of labelled slices, mirrored at random."""

    def __init__(self, images: Any, labels: Any) -> None:
        self.images, self.labels = torch.as_tensor(np.asarray(images)), torch.as_tensor(np.asarray(labels))

    def __len__(self) -> int:
        return len(self.images)

    def __getitems__(self, indices: list[int]) -> dict[str, Tensor]:
        images = to_input(self.images[indices])
        mirrored = torch.rand(len(images)) < 0.5
        images[mirrored] = images[mirrored].flip(-1)
        return {"images": images, "labels": self.labels[indices].long()}


def as_made(batch: Any) -> Any:
    """The batch as the dataset made it (a name, so that worker processes can be sent it)."""
    return batch


def steps_of(slices: int, batch_size: int, epochs: float) -> int:
    """Optimizer steps of so many passes over the slices, at least 1.

    >>> steps_of(1000, 64, 2)
    30
    """
    return max(1, round(epochs * max(1, slices // min(batch_size, slices))))


def pretrain(
    encoder: SliceEncoder,
    images: Any,
    volumes: Any,
    *,
    method: str,
    steps: int,
    batch_size: int,
    dim: int = 128,
    hidden: int = 512,
    temperature: float = 0.1,
    spare_volume: bool = False,
    momentum: float = 0.99,
    queue_size: int = 4096,
    prototypes: int = 500,
    freeze_prototypes: int = 0,
    crop: tuple[float, float] = (0.4, 1.0),
    small_crops: int = 0,
    small_crop: tuple[float, float] = (0.1, 0.33),
    strength: Mapping[str, Any] | None = None,
    learning_rate: float = 1e-3,
    weight_decay: float = 1e-4,
    warmup: float = 0.05,
    seed: int = 0,
    **fitting: Any,
) -> FitResult:
    """Train the encoder in place on views of the slices.

    Args:
        encoder: what to train.
        images: (n, size, size) uint8. volumes: (n,) numbers.
        method: simclr, moco or swav.
        steps: optimizer steps. batch_size: slices a step, cut to n.
        dim, hidden, temperature, spare_volume, momentum: of the modules.
        queue_size: of moco; cut to n / 2, since a queue as long as the data set holds every slice itself.
        prototypes, freeze_prototypes: of swav.
        crop: share of the area that the two large views show. small_crops, small_crop: of swav.
        strength: of `medical.ct.augment.Strength`.
        learning_rate, weight_decay, warmup: of `ContrastiveModule`.
        seed: of the order and all random numbers.
        **fitting: of `core.learning.fit.fit`: checkpoint_dir, fingerprint, threads, precision, ...

    Raises:
        ConfigError: unknown method. DataError: fewer than two slices.
    """
    count = len(images)
    if count < 2:
        raise DataError("slices to pretrain on", seen=count, expected="at least 2", remedy="keep more slices")
    if method not in METHODS:
        raise ConfigError("pretrain.method", seen=method, expected=f"one of {', '.join(METHODS)}")
    batch_size = min(batch_size, count)
    crops = [Crops(2, encoder.size, *crop)]
    shared: dict[str, Any] = {
        "dim": dim, "hidden": hidden, "temperature": temperature, "learning_rate": learning_rate,
        "weight_decay": weight_decay, "warmup": warmup,
    }  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "pretraining head"))
        module: Any
        if method == "simclr":
            module = SimCLR(encoder.module, spare_volume=spare_volume, **shared)
        elif method == "moco":
            fitted = max(1, min(queue_size, count // 2) // batch_size) * batch_size
            module = MoCo(
                encoder.module, queue_size=fitted, momentum=momentum, spare_volume=spare_volume, **shared
            )
        else:
            module = SwAV(encoder.module, prototypes=prototypes, freeze=freeze_prototypes, **shared)
            crops.append(Crops(small_crops, max(8, encoder.size * 3 // 7), *small_crop))
    data = ViewBatch(images, volumes, crops, Strength(**(strength or {})))
    batches = StepBatches(data, StepSampler(count, batch_size, seed), as_made)
    return fit(module, batches, steps=steps, seed=seed, gradient_clip=1.0, title="pretrain", **fitting)


def finetune(
    encoder: SliceEncoder,
    images: Any,
    labels: Any,
    *,
    steps: int,
    batch_size: int = 64,
    freeze: float = 0.15,
    balanced: bool = True,
    learning_rate: float = 1e-4,
    weight_decay: float = 5e-4,
    seed: int = 0,
    **fitting: Any,
) -> Classifier:
    """Train the encoder in place, with a linear layer, on labelled slices.

    Args:
        labels: (n,) 0 .. classes - 1, two classes at least.
        freeze: share of the steps in which only the linear layer learns.
        balanced: classes weigh the same in the loss, whatever their counts.
        others: as in `pretrain`.
    """
    numbers = np.asarray(labels)
    counts = np.bincount(numbers)
    if len(counts) < 2 or not counts.all():
        raise DataError(
            "labels to fine-tune on",
            seen=dict(enumerate(counts.tolist())),
            expected="0, 1, ... each with slices",
        )
    weights = torch.as_tensor(len(numbers) / (len(counts) * counts), dtype=torch.float32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "classifier"))
        module = Classifier(
            encoder.module, classes=len(counts), freeze=round(freeze * steps), weights=weights if balanced else None,
            learning_rate=learning_rate, weight_decay=weight_decay,
        )  # fmt: skip
    sampler = StepSampler(len(numbers), min(batch_size, len(numbers)), seed)
    batches = StepBatches(LabelledBatch(images, numbers), sampler, as_made)
    fit(module, batches, steps=steps, seed=seed, diagnostics=False, title="fine-tune", **fitting)
    return module


@torch.no_grad()
def class_scores(module: Classifier, images: Any, batch_size: int = 256) -> np.ndarray:
    """(n, classes) probabilities of slices (n, size, size) uint8."""
    module.eval()
    rows = torch.as_tensor(np.asarray(images))
    parts = [module(to_input(part)).softmax(1) for part in rows.split(batch_size)]
    return np.asarray(torch.cat(parts).numpy())
