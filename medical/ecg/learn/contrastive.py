"""Contrastive start of a backbone: two views of a recording find each other among those of other patients."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from core.encoders.heads import ProjectionHead
from core.encoders.signal import SignalResNet
from core.learning.fit import FitResult, fit
from core.learning.module import ContrastiveModule
from core.objectives.nt_xent import NTXent
from medical.ecg.augment import view
from medical.ecg.learn.batches import SignalSet, step_batches


class ContrastiveStart(ContrastiveModule):
    """NT-Xent (Chen et al. 2020) between random segments with random leads; a patient's other recordings are
    no negatives.

    Args:
        backbone: trained in place. temperature: of NT-Xent. width: of the projection.
        segment, drop_leads: of `medical.ecg.augment.view`.
    """

    def __init__(
        self,
        backbone: SignalResNet,
        *,
        temperature: float = 0.1,
        width: int = 64,
        segment: float = 0.5,
        drop_leads: float = 0.25,
        **optimization: Any,
    ) -> None:
        super().__init__(**optimization)
        self.backbone = backbone
        self.head = ProjectionHead(backbone.dim, width, hidden=[backbone.dim], norm="batch")
        self.objective = NTXent(temperature)
        self.view_settings = {"segment": segment, "drop_leads": drop_leads}

    def terms(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """``loss`` of one batch."""
        first, second = (self.head(self.backbone(view(batch["x"], **self.view_settings))) for _ in range(2))
        self.watch(first, second)
        return {"loss": self.objective(first, second, batch["group"])}


def contrastive_start(
    backbone: SignalResNet,
    data: SignalSet,
    *,
    steps: int,
    batch_size: int,
    learning_rate: float = 1e-3,
    weight_decay: float = 1e-4,
    temperature: float = 0.1,
    segment: float = 0.5,
    drop_leads: float = 0.25,
    seed: int = 0,
    **fitting: Any,
) -> FitResult:
    """Train ``backbone`` in place; ``fitting`` goes to `core.learning.fit.fit`."""
    module = ContrastiveStart(
        backbone, temperature=temperature, segment=segment, drop_leads=drop_leads, learning_rate=learning_rate,
        weight_decay=weight_decay, warmup=0.1,
    )  # fmt: skip
    batches = step_batches(data, batch_size, seed)
    return fit(module, batches, steps=steps, seed=seed, title="contrastive start", **fitting)
