"""The heads on few labels: classes of a chip in closed training, land cover and change of every pixel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.errors import DataError
from core.learning.determinism import generator
from core.learning.fit import FitResult, fit
from core.learning.module import ContrastiveModule
from core.learning.sampler import StepBatches, StepSampler
from earth_observation.data.store import ChipStore
from earth_observation.learn.views import DatePairs, LabelledChips, as_it_is, changed_cover
from earth_observation.linear import fit_linear
from earth_observation.model import LandCover

EMBED_BATCH = 128


@torch.no_grad()
def embed_chips(
    encoder: Callable[[Tensor], Tensor], store: ChipStore, product: str, chips: Sequence[int] | np.ndarray
) -> np.ndarray:
    """Embeddings (n, dim) float32 of whole chips."""
    found = []
    for start in range(0, len(chips), EMBED_BATCH):
        x = torch.from_numpy(store.read(product, chips[start : start + EMBED_BATCH])).float() / 255
        found.append(encoder(x).float().numpy())
    return np.concatenate(found) if found else np.zeros((0, 1), dtype=np.float32)


def few_labels(store: ChipStore, chips: np.ndarray, share: float, seed: int) -> np.ndarray:
    """A share of the labelled chips, drawn without replacement; the draws of a seed are nested in one another.

    At least two, and at least one chip that shows each of two classes where there is one.
    """
    known = chips[store.classes[chips].sum(1) > 0]
    order = generator(seed, "few labels").permutation(known)
    count = max(2, round(share * len(order)))
    while count < len(order) and len(np.unique(store.classes[order[:count]], axis=0)) < 2:
        count += 1
    if len(order) < 2:
        raise DataError("labelled training chips", seen=len(order), expected="at least two")
    return np.sort(order[:count])


class MapTraining(ContrastiveModule):
    """Land cover of every pixel: cross entropy and Dice over labelled pixels; the encoder stays as it is."""

    def __init__(self, model: LandCover, **optimization: Any) -> None:
        super().__init__(**optimization)
        self.model = model

    def train(self, mode: bool = True) -> MapTraining:
        """Train mode for the head alone: batch norm of the frozen encoder keeps its statistics."""
        super().train(mode)
        self.model.encoder.eval()
        return self

    def terms(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Loss of a batch of `LabelledChips`."""
        return {"loss": segmentation_loss(self.model.map(batch["x"]), batch["cover"])}


class ChangeTraining(MapTraining):
    """Change between two dates, weighted against its rarity."""

    def __init__(self, model: LandCover, weight: Tensor, **optimization: Any) -> None:
        super().__init__(model, **optimization)
        self.register_buffer("weight", weight)

    def terms(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Loss of a batch of `DatePairs`."""
        logits = self.model.change(batch["before"], batch["after"])
        return {"loss": segmentation_loss(logits, batch["changed"], weight=self.weight)}  # type: ignore[arg-type]


class FineTuning(ContrastiveModule):
    """Encoder and class head together, on the labelled chips."""

    def __init__(self, model: LandCover, **optimization: Any) -> None:
        super().__init__(**optimization)
        self.model = model

    def terms(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Multi-label soft margin of a batch of `LabelledChips`."""
        assert self.model.classify is not None
        embedded = self.model(batch["x"])
        self.watch(embedded)
        loss = F.multilabel_soft_margin_loss(self.model.classify(embedded), batch["labels"])
        return {"loss": loss}


def segmentation_loss(
    logits: Tensor, cover: Tensor, *, weight: Tensor | None = None, ignore: int = 255
) -> Tensor:
    """Cross entropy plus one minus the mean Dice of the classes that are there; 0 where nothing is labelled.

    >>> segmentation_loss(torch.zeros(1, 2, 1, 1), torch.tensor([[[255]]])).item()
    0.0
    """
    known = cover != ignore
    if not bool(known.any()):
        return logits.sum() * 0
    entropy = F.cross_entropy(logits, cover, weight=weight, ignore_index=ignore)
    shares = logits.softmax(1).movedim(1, -1)[known]
    truth = F.one_hot(cover[known], logits.shape[1]).to(shares.dtype)
    there = truth.sum(0) > 0
    dice = (2 * (shares * truth).sum(0) + 1) / (shares.sum(0) + truth.sum(0) + 1)
    out: Tensor = entropy + 1 - dice[there].mean()
    return out


def train_classes(
    model: LandCover,
    store: ChipStore,
    product: str,
    chips: np.ndarray,
    *,
    regularisation: float,
    steps: int = 0,
    seed: int = 0,
    batch_size: int = 16,
    learning_rate: float = 1e-3,
    **fitting: Any,
) -> FitResult | None:
    """Fit the class head on frozen embeddings; then train head and encoder together for ``steps``."""
    weights, bias = fit_linear(
        embed_chips(model, store, product, chips), store.classes[chips], regularisation=regularisation
    )
    head = model.add_head("classify")
    assert isinstance(head, nn.Linear)
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(weights))
        head.bias.copy_(torch.from_numpy(bias))
    if not steps:
        return None
    module = FineTuning(model, learning_rate=learning_rate, warmup=0.1)
    return _fit(module, LabelledChips(store, product, chips), steps, batch_size, seed, "fine-tuning", fitting)


def train_map(
    model: LandCover,
    store: ChipStore,
    product: str,
    chips: np.ndarray,
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    seed: int = 0,
    **fitting: Any,
) -> FitResult | None:
    """Train the map head on chips with a label raster; None where no pixel is labelled."""
    if not (np.asarray(store.landcover[chips]) != 255).any():
        return None
    _train_only(model, model.add_head("decoder"))
    module = MapTraining(model, learning_rate=learning_rate, warmup=0.1)
    result = _fit(
        module, LabelledChips(store, product, chips), steps, batch_size, seed, "land cover", fitting
    )
    model.requires_grad_(True)
    return result


def train_changes(
    model: LandCover,
    store: ChipStore,
    product: str,
    chips: np.ndarray,
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    seed: int = 0,
    **fitting: Any,
) -> FitResult | None:
    """Train the change head on pairs of dates; None where no pair holds both change and no change."""
    data = DatePairs(store, product, chips)
    if not len(data):
        return None
    counts = np.bincount(changed_cover(store, data.pairs).ravel(), minlength=256)[:2]
    if counts.min() == 0:
        return None
    _train_only(model, model.add_head("changes"))
    weight = torch.tensor([1.0, float(np.sqrt(counts[0] / counts[1]))])
    module = ChangeTraining(model, weight, learning_rate=learning_rate, warmup=0.1)
    result = _fit(module, data, steps, batch_size, seed, "change", fitting)
    model.requires_grad_(True)
    return result


def _train_only(model: LandCover, head: nn.Module) -> None:
    model.requires_grad_(False)
    head.requires_grad_(True)


def _fit(
    module: ContrastiveModule,
    data: Any,
    steps: int,
    batch_size: int,
    seed: int,
    title: str,
    fitting: dict[str, Any],
) -> FitResult:
    sampler = StepSampler(len(data), min(batch_size, len(data)), seed)
    return fit(
        module,
        StepBatches(data, sampler, as_it_is),
        steps=steps,
        seed=seed,
        title=title,
        diagnostics=False,
        **fitting,
    )


def adapt(
    model: LandCover,
    store: ChipStore,
    product: str,
    *,
    labelled: float,
    regularisation: float,
    map_steps: int,
    change_steps: int,
    finetune_steps: int,
    batch_size: int,
    learning_rate: float,
    every_n_steps: int | None = None,
    seed: int = 0,
    checkpoint_dir: Any = None,
    **fitting: Any,
) -> dict[str, list[dict[str, float]]]:
    """Put heads on a pretrained encoder in place, from a share of the labelled training chips.

    Args:
        labelled: share of the chips; pairs of dates for the change head are taken among all training chips.
        map_steps, change_steps, finetune_steps: 0 leaves that training out.

    Returns:
        Histories by head.
    """
    train = store.indices("train", product)
    few = few_labels(store, train, labelled, seed)

    def options(name: str) -> dict[str, Any]:
        folder = None if checkpoint_dir is None else checkpoint_dir / name
        return {
            "batch_size": batch_size, "learning_rate": learning_rate, "seed": seed, "every_n_steps": every_n_steps,
            "checkpoint_dir": folder, **fitting,
        }  # fmt: skip

    results = {
        "classes": train_classes(
            model,
            store,
            product,
            few,
            regularisation=regularisation,
            steps=finetune_steps,
            **options("classes"),
        )
    }
    if map_steps:
        results["land cover"] = train_map(model, store, product, few, steps=map_steps, **options("map"))
    if change_steps:
        results["change"] = train_changes(
            model, store, product, train, steps=change_steps, **options("change")
        )
    return {name: result.history for name, result in results.items() if result is not None}
