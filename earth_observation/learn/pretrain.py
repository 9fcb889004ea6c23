"""Pretraining of an encoder: SoftCon, MoCo v3 without its soft term, or plain supervision by the free labels."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from core.distributed import gather
from core.encoders.heads import ProjectionHead
from core.encoders.vit import VisionTransformer, random_mask
from core.errors import ConfigError
from core.learning.fit import FitResult, fit
from core.learning.module import ContrastiveModule
from core.learning.sampler import StepBatches, StepSampler
from core.momentum import MomentumEncoder
from earth_observation.augment import Augment
from earth_observation.data.store import ChipStore
from earth_observation.learn.views import TwoViews, as_it_is
from earth_observation.model import Encoder
from earth_observation.softcon import softcon_loss

OBJECTIVES = ("softcon", "moco", "supervised")
MASK_CELL = 8
"""Pixels a side of the squares that are hidden from a ResNet."""


class SoftCon(ContrastiveModule):
    """Two views, a trained branch that sees part of its patches, a slow branch that sees all.

    The keys come from a momentum copy of encoder and projector; queries pass a predictor too (MoCo v3). A random
    first layer must learn, so that nothing is frozen here.

    Args:
        encoder: trained in place.
        weight: of the soft term; 0 is MoCo v3. mask_ratio: share of the patches that queries do not see.
        mask_mode: "drop" takes hidden patches out (a ViT only), "token" puts a learned token there; a ResNet
            sees them as zeros in either case.
        momentum: at the first step; rises to 1 by a cosine over ``steps``.
        hidden, projection: widths of projector and predictor. projector_layers: 3 is MoCo v3's. What the soft term
            asks for is learned first by the layers next to it: with 1, the label structure lands in the encoder.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        weight: float,
        steps: int,
        form: str = "sigmoid",
        similarity: str = "cosine",
        temperature: float = 0.2,
        momentum: float = 0.99,
        mask_ratio: float = 0.5,
        mask_mode: str = "drop",
        hidden: int = 256,
        projection: int = 64,
        projector_layers: int = 3,
        **optimization: Any,
    ) -> None:
        super().__init__(**optimization)
        self.encoder = encoder
        plain: dict[str, Any] = {"norm": "batch", "last_norm": "batch_plain", "bias": False}
        self.projector = ProjectionHead(
            encoder.dim, projection, hidden=[hidden] * (projector_layers - 1), **plain
        )
        self.predictor = ProjectionHead(projection, projection, hidden=[hidden], **plain)
        self.slow = MomentumEncoder(nn.Sequential(encoder, self.projector), momentum)
        self.loss = {"weight": weight, "form": form, "similarity": similarity, "temperature": temperature}
        self.mask_ratio, self.mask_mode, self.steps, self.momentum = mask_ratio, mask_mode, steps, momentum

    def terms(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Losses of a batch of `TwoViews`."""
        both = torch.cat([batch["view1"], batch["view2"]])
        queries = self.predictor(self.projector(self._partly(both)))
        self.slow.update(self._momentum())
        keys = self.slow(both)
        q = tuple(gather(one) for one in queries.chunk(2))
        k = tuple(gather(one) for one in keys.chunk(2))
        labels = (gather(batch["labels1"]), gather(batch["labels2"]))
        self.watch(*queries.chunk(2))
        return softcon_loss((q[0], q[1]), (k[0], k[1]), labels, **self.loss)  # type: ignore[arg-type]

    def _partly(self, x: Tensor) -> Tensor:
        """Embeddings of images of which a random part is hidden."""
        if not self.mask_ratio:
            out: Tensor = self.encoder(x)
            return out
        if isinstance(self.encoder, VisionTransformer):
            side = self.encoder.patch
            cells = (x.shape[2] // side) * (x.shape[3] // side)
            mask = random_mask(len(x), cells, self.mask_ratio, device=x.device)
            return self.encoder(x, mask, mask_mode=self.mask_mode)
        rows, columns = -(-x.shape[2] // MASK_CELL), -(-x.shape[3] // MASK_CELL)
        mask = random_mask(len(x), rows * columns, self.mask_ratio, device=x.device).view(
            -1, 1, rows, columns
        )
        hidden = mask.repeat_interleave(MASK_CELL, 2).repeat_interleave(MASK_CELL, 3)
        return self.encoder(x.masked_fill(hidden[:, :, : x.shape[2], : x.shape[3]], 0))

    def _momentum(self) -> float:
        step = min(int(self.global_step), self.steps)
        return 1 - (1 - self.momentum) * (1 + math.cos(math.pi * step / max(self.steps, 1))) / 2


class Supervised(ContrastiveModule):
    """The baseline that reads the free labels as if they were true: one logit a class."""

    def __init__(self, encoder: Encoder, classes: int, **optimization: Any) -> None:
        super().__init__(**optimization)
        self.encoder, self.head = encoder, nn.Linear(encoder.dim, classes)

    def terms(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Binary cross entropy of both views; images without labels count nowhere."""
        x, labels = (
            torch.cat([batch["view1"], batch["view2"]]),
            torch.cat([batch["labels1"], batch["labels2"]]),
        )
        embedded = self.encoder(x)
        self.watch(*embedded.chunk(2))
        known = (labels.sum(1) > 0).float()
        each = nn.functional.binary_cross_entropy_with_logits(
            self.head(embedded), labels, reduction="none"
        ).mean(1)
        return {"loss": (each * known).sum() / known.sum().clamp_min(1)}


def pretrain(
    encoder: Encoder,
    store: ChipStore,
    *,
    product: str,
    steps: int,
    batch_size: int,
    crop: int,
    objective: str = "softcon",
    least_area: float = 0.2,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.05,
    warmup: float = 0.1,
    seed: int = 0,
    weight: float = 0.1,
    form: str = "sigmoid",
    similarity: str = "cosine",
    temperature: float = 0.2,
    momentum: float = 0.99,
    mask_ratio: float = 0.5,
    mask_mode: str = "drop",
    hidden: int = 256,
    projection: int = 64,
    projector_layers: int = 3,
    **fitting: Any,
) -> FitResult:
    """Train ``encoder`` in place on the training chips of a product.

    Args:
        product: of the store. crop: pixels a side of the views. least_area: see `Augment`.
        objective: "softcon", "moco" (its weight is 0), "supervised" (the baseline of free labels).
        seed: of the order, the views, the masks. fitting: of `core.learning.fit.fit`.
        The rest: see `SoftCon` and `ContrastiveModule`.
    """
    if objective not in OBJECTIVES:
        raise ConfigError("pretrain.objective", seen=objective, expected=f"one of {', '.join(OBJECTIVES)}")
    radar = store.sensors[product].unit == "db"
    data = TwoViews(store, product, Augment(crop, area=least_area, radar=radar))
    batches = StepBatches(data, StepSampler(len(data), min(batch_size, len(data)), seed), as_it_is)
    optimization: dict[str, Any] = {
        "learning_rate": learning_rate, "weight_decay": weight_decay, "warmup": warmup, "schedule": "cosine"
    }  # fmt: skip
    if objective == "supervised":
        module: ContrastiveModule = Supervised(encoder, len(store.table), **optimization)
    else:
        module = SoftCon(
            encoder,
            weight=weight if objective == "softcon" else 0.0,
            steps=steps,
            form=form,
            similarity=similarity,
            temperature=temperature,
            momentum=momentum,
            mask_ratio=mask_ratio,
            mask_mode=mask_mode,
            hidden=hidden,
            projection=projection,
            projector_layers=projector_layers,
            **optimization,
        )
    return fit(module, batches, steps=steps, seed=seed, title=f"{objective} ({product})", **fitting)
