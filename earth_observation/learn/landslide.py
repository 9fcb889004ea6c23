"""Training of HPCL-Net: segmentation, and hyper-pixels against queues of both classes over all images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from core.encoders.heads import ProjectionHead
from core.learning.fit import FitResult, fit
from core.learning.module import ContrastiveModule
from core.learning.sampler import StepBatches, StepSampler
from earth_observation.hpcl import choose_anchors, hpcl_loss, hyper_pixels
from earth_observation.landslide.ground import landslide_batch
from earth_observation.landslide.net import KeyQueue, TwoSourceNet, slow_copy
from earth_observation.learn.heads import segmentation_loss
from earth_observation.learn.views import as_it_is


class HyperPixelTraining(ContrastiveModule):
    """L = cross entropy + Dice + alpha L_hpcl; the contrast starts when both queues hold ``least`` keys.

    The values are not published; they are starting points. Only ``net`` is kept for inference.

    Args:
        net: trained in place. alpha: 0 trains the segmentation alone. queue: keys of each class.
        keys_an_image: enqueued at most, so that one large slide cannot fill a queue. anchors: of each class a step.
        weight: of the landslide class in the cross entropy.
    """

    def __init__(
        self,
        net: TwoSourceNet,
        *,
        alpha: float = 0.1,
        temperature: float = 0.1,
        momentum: float = 0.99,
        queue: int = 4096,
        least: int = 64,
        keys_an_image: int = 32,
        anchors: int = 64,
        rho: float = 0.5,
        dim: int = 128,
        weight: float = 2.0,
        **optimization: Any,
    ) -> None:
        super().__init__(**optimization)
        self.net, self.head = net, ProjectionHead(net.dim, dim, hidden=[dim], spatial=2)
        self.slow = slow_copy(net, self.head, momentum)
        self.queues = torch.nn.ModuleList([KeyQueue(dim, queue) for _ in range(2)])
        self.alpha, self.temperature, self.least, self.rho = alpha, temperature, least, rho
        self.keys_an_image, self.anchors = keys_an_image, anchors
        self.register_buffer("weight", torch.tensor([1.0, weight]))

    def terms(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Losses of a batch of `landslide_batch`."""
        inputs = (batch["picture"], batch["terrain"], batch["known"])
        fused = self.net.fused(*inputs)
        both = torch.cat([batch["picture"], batch["terrain"] * batch["known"][:, None]], dim=1)
        seg = segmentation_loss(self.net.decoder(fused, both), batch["mask"], weight=self.weight)  # type: ignore[arg-type]
        if not self.alpha:
            return {"loss": seg, "segmentation": seg}
        cells = hyper_pixels(batch["mask"], self.net.stride, rho=self.rho)
        queries = self.head(fused).movedim(1, -1).flatten(0, 2)
        self.slow.update()
        keys = F.normalize(self.slow(*inputs).movedim(1, -1), dim=-1)
        background, landslide = (queue.keys() for queue in self.queues)  # type: ignore[operator]
        contrast = queries.sum() * 0
        if min(len(background), len(landslide)) >= self.least:
            chosen = choose_anchors(cells, self.anchors)
            labels = cells.label.flatten()[chosen]
            contrast = hpcl_loss(queries[chosen], labels, landslide, background, temperature=self.temperature)
        self._enqueue(keys, cells.label)
        return {"loss": seg + self.alpha * contrast, "segmentation": seg, "hpcl": contrast}

    @torch.no_grad()
    def _enqueue(self, keys: Tensor, labels: Tensor) -> None:
        for image, own in zip(keys.flatten(1, 2), labels.flatten(1)):
            for value, queue in enumerate(self.queues):
                found = (own == value).nonzero().flatten()
                order = torch.randperm(len(found))[: self.keys_an_image]
                queue.put(image[found[order]])  # type: ignore[operator]


class LandslideTiles:
    """Batches of tiles, each batch turned by a random quarter."""

    def __init__(self, tiles: Mapping[str, np.ndarray], metres: float) -> None:
        self.tiles, self.metres = tiles, metres

    def __len__(self) -> int:
        return len(self.tiles["mask"])

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Tensor]:
        return landslide_batch(self.tiles, indices, self.metres, turns=int(torch.randint(4, ())))


def train_landslides(
    net: TwoSourceNet,
    tiles: Mapping[str, np.ndarray],
    *,
    metres: float,
    steps: int,
    batch_size: int = 8,
    learning_rate: float = 3e-3,
    alpha: float = 0.1,
    momentum: float = 0.95,
    seed: int = 0,
    **fitting: Any,
) -> FitResult:
    """Train ``net`` in place on tiles of `earth_observation.landslide.ground.cut_ground`.

    Args:
        alpha: of the hyper-pixel contrast; 0 trains the segmentation alone. momentum: of the keys' network; of a
            short training the default of `HyperPixelTraining` would keep the network it began with.
        fitting: of `core.learning.fit.fit`.
    """
    data = LandslideTiles(tiles, metres)
    sampler = StepSampler(len(data), min(batch_size, len(data)), seed)
    optimization: dict[str, Any] = {"learning_rate": learning_rate, "warmup": 0.1, "schedule": "cosine"}
    module = HyperPixelTraining(net, alpha=alpha, momentum=momentum, **optimization)
    batches = StepBatches(data, sampler, as_it_is)
    return fit(module, batches, steps=steps, seed=seed, title="landslides", diagnostics=False, **fitting)
