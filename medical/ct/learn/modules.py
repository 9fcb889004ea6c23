"""The trained modules: SimCLR, MoCo v2, SwAV on views of slices, and a classifier on top of the encoder."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.distributed import all_sum, gather, world_size
from core.encoders import ProjectionHead
from core.errors import ConfigError
from core.learning.module import ContrastiveModule
from core.momentum import EmbeddingQueue, MomentumEncoder
from core.objectives import NTXent, nt_xent, swav


class SimCLR(ContrastiveModule):
    """Two views of a slice find each other among all slices of the batch.

    Chen et al., "A simple framework for contrastive learning of visual representations", ICML 2020.

    Args:
        encoder: (B, 1, H, W) -> (B, dim), with an attribute ``dim``.
        dim, hidden: of the projection head. temperature: tau.
        spare_volume: slices of one volume are no negatives of each other.
        **optimization: of `core.learning.module.ContrastiveModule`.

    A batch: ``{"views": [two or more (B, 1, s, s)], "volumes": (B,) int64}``; the first two views are used.
    """

    def __init__(
        self,
        encoder: Any,
        *,
        dim: int = 128,
        hidden: int = 512,
        temperature: float = 0.1,
        spare_volume: bool = False,
        **optimization: Any,
    ) -> None:
        super().__init__(**optimization)
        self.encoder = encoder
        self.head = ProjectionHead(encoder.dim, dim, hidden=[hidden], norm="batch")
        self.objective = NTXent(temperature)
        self.spare_volume = spare_volume

    def terms(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """The loss of one step."""
        x, y = self.head(self.encoder(torch.cat(batch["views"][:2]))).chunk(2)
        self.watch(x, y)
        return {"loss": self.objective(x, y, batch["volumes"] if self.spare_volume else None)}


class MoCo(ContrastiveModule):
    """A view finds the momentum encoder's key of the other view among a queue of earlier keys.

    He et al., CVPR 2020, with the head and augmentation of MoCo v2 (Chen et al. 2020). Keys are computed in
    eval mode, so no shuffling of batch statistics is needed.

    Args:
        queue_size: a multiple of the batch over all processes. momentum: of the key encoder.
        others: as in `SimCLR`.
    """

    def __init__(
        self,
        encoder: Any,
        *,
        queue_size: int,
        momentum: float = 0.99,
        dim: int = 128,
        hidden: int = 512,
        temperature: float = 0.1,
        spare_volume: bool = False,
        **optimization: Any,
    ) -> None:
        super().__init__(**optimization)
        self.encoder = encoder
        self.head = ProjectionHead(encoder.dim, dim, hidden=[hidden], norm="batch")
        self.keys = MomentumEncoder(nn.Sequential(encoder, self.head), momentum)
        self.queue = EmbeddingQueue(dim, queue_size)
        self.temperature, self.spare_volume = temperature, spare_volume

    def terms(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """The loss of one step; then the queue takes the keys in."""
        first, second = batch["views"][:2]
        query = F.normalize(self.head(self.encoder(first)), dim=1)
        self.keys.update()
        key = F.normalize(self.keys(second), dim=1)
        volumes = batch["volumes"] if self.spare_volume else None
        queue = self.queue
        negatives: Any = "queue" if bool(queue.valid.any()) else "batch"  # the first step has nothing else
        loss = nt_xent(
            query, key, temperature=self.temperature, groups=volumes, queue=queue.embeddings,
            queue_groups=None if volumes is None else queue.groups, queue_valid=queue.valid, negatives=negatives,
        )  # fmt: skip
        queue.enqueue(gather(key), None if volumes is None else gather(volumes))
        self.watch(query, key)
        return {"loss": loss}


class SwAV(ContrastiveModule):
    """Views predict each other's balanced assignment to prototypes; large and small crops.

    Caron et al., NeurIPS 2020; the method that the reduction was published with.

    Args:
        prototypes: number of them; about ten times the classes that are expected.
        high: how many of the views are large crops.
        freeze: steps during which the prototypes stay as drawn. The paper of SwAV has 313; the code of the
            reduction paper compares that number with epochs, and so freezes them for 313 of 800 epochs.
        epsilon, iterations: of `core.objectives.sinkhorn`.
        others: as in `SimCLR`.
    """

    def __init__(
        self,
        encoder: Any,
        *,
        prototypes: int = 500,
        high: int = 2,
        freeze: int = 0,
        dim: int = 128,
        hidden: int = 2048,
        temperature: float = 0.1,
        epsilon: float = 0.05,
        iterations: int = 3,
        **optimization: Any,
    ) -> None:
        super().__init__(**optimization)
        if prototypes < 2 or high < 1:
            raise ConfigError("SwAV (prototypes, high)", seen=(prototypes, high), expected=">= 2, >= 1")
        self.encoder = encoder
        self.head = ProjectionHead(encoder.dim, dim, hidden=[hidden], norm="batch")
        self.prototypes = nn.Linear(dim, prototypes, bias=False)
        self.high, self.freeze = high, freeze
        self.settings = {"temperature": temperature, "epsilon": epsilon, "iterations": iterations}
        self.steps: Tensor
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def terms(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """The loss of one step."""
        weight = F.normalize(self.prototypes.weight, dim=1)
        if int(self.steps) < self.freeze:
            weight = weight.detach() + 0 * weight  # stays in the graph, without a gradient
        sizes = [view.shape[-1] for view in batch["views"]]
        groups = [[v for v in batch["views"] if v.shape[-1] == size] for size in dict.fromkeys(sizes)]
        features = torch.cat([self.encoder(torch.cat(group)) for group in groups])
        z = F.normalize(self.head(features), dim=1)
        scores = (z @ weight.T).chunk(len(sizes))
        self.steps += 1
        self.watch(*z.chunk(len(sizes))[:2])
        reduce = all_sum if world_size() > 1 else None
        loss = swav(list(scores[: self.high]), list(scores[self.high :]), reduce=reduce, **self.settings)  # type: ignore[arg-type]
        return {"loss": loss}


class Classifier(ContrastiveModule):
    """A linear layer on the encoder, trained by cross entropy; the encoder joins after ``freeze`` steps.

    Args:
        classes: number of labels. weights: (classes,) of the loss, None for equal ones.

    A batch: ``{"images": (B, 1, H, W), "labels": (B,) int64}``.
    """

    idle_parts = True  # the encoder, at first

    def __init__(
        self,
        encoder: Any,
        *,
        classes: int,
        freeze: int = 0,
        weights: Tensor | None = None,
        **optimization: Any,
    ) -> None:
        super().__init__(**optimization)
        self.encoder = encoder
        self.last = nn.Linear(encoder.dim, classes)
        self.freeze = freeze
        self.weights: Tensor | None
        self.register_buffer("weights", weights)
        self.steps: Tensor
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, classes)."""
        out: Tensor = self.last(self.encoder(images))
        return out

    def terms(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The loss of one step."""
        frozen = int(self.steps) < self.freeze
        self.encoder.train(not frozen)
        with torch.set_grad_enabled(not frozen):
            features = self.encoder(batch["images"])
        self.steps += 1
        return {"loss": F.cross_entropy(self.last(features), batch["labels"], weight=self.weights)}
