"""Trainings on labels: the feature extractor of a branch, the joint training of its prototypes, the black box."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.learning.fit import FitResult, fit
from core.learning.module import ContrastiveModule
from core.learning.sampler import reseed
from medical.ecg.augment import jitter
from medical.ecg.evaluate import macro_auroc
from medical.ecg.learn.batches import SignalSet, step_batches
from medical.ecg.losses import LossWeights, class_weights, cooccurrence, prototype_loss
from medical.ecg.model.branch import PrototypeBranch
from medical.ecg.model.network import BlackBox

WeightKind = Literal["none", "published", "standard"]


class Supervised(ContrastiveModule):
    """Binary cross entropy of ``call(x)`` over all labels: the feature extractor and the black box.

    Args:
        network: trained in place. call: (B, 12, T) -> logits; the network itself by default.
        pos_weight: (C,) or None. augment: arguments of `jitter`; empty: none.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        call: Callable[[Tensor], Tensor] | None = None,
        pos_weight: Tensor | None = None,
        augment: dict[str, float] | None = None,
        **optimization: Any,
    ) -> None:
        super().__init__(**optimization)
        self.network, self.call, self.augment = network, call or network, augment
        self.register_buffer("pos_weight", pos_weight, persistent=False)

    def logits(self, x: Tensor) -> Tensor:
        """What validation scores."""
        return self.call(x)

    def terms(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """``loss`` of one batch."""
        x = jitter(batch["x"], **self.augment) if self.augment else batch["x"]
        weight: Any = self.pos_weight
        return {"loss": F.binary_cross_entropy_with_logits(self.call(x), batch["y"], pos_weight=weight)}


class Joint(Supervised):
    """Backbone, add-on layers and prototypes together, the linear layer fixed at +1 / -0.5.

    Args:
        branch: trained in place. labels_together: co-occurrence of its labels over the training records; None
            leaves the contrastive term out. weights: of the terms.
    """

    def __init__(
        self,
        branch: PrototypeBranch,
        *,
        labels_together: Tensor | None,
        weights: LossWeights,
        separation_mode: Literal["published", "absent_only"] = "published",
        **options: Any,
    ) -> None:
        super().__init__(branch, **options)
        self.branch, self.weights, self.separation_mode = branch, weights, separation_mode
        self.register_buffer("labels_together", labels_together, persistent=False)
        branch.classifier.requires_grad_(False)
        branch.head.requires_grad_(False)
        branch.projected.fill_(False)  # training moves the features away from where prototypes lie

    def logits(self, x: Tensor) -> Tensor:
        return self.branch.logits(self.branch.similar(x).pooled)

    def terms(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """All terms of `medical.ecg.losses.prototype_loss`."""
        x = jitter(batch["x"], **self.augment) if self.augment else batch["x"]
        pooled = self.branch.similar(x).pooled
        together: Any = self.labels_together
        weight: Any = self.pos_weight
        return prototype_loss(
            self.branch.logits(pooled), pooled, batch["y"], self.branch.prototypes, self.branch.identity, together,
            weights=self.weights, pos_weight=weight, separation_mode=self.separation_mode,
        )  # fmt: skip


def extract(
    branch: PrototypeBranch,
    data: SignalSet,
    valid: SignalSet,
    *,
    weighting: WeightKind = "published",
    augment: dict[str, float] | None = None,
    steps: int,
    batch_size: int,
    seed: int = 0,
    learning_rate: float = 1e-3,
    weight_decay: float = 1.7e-4,
    **fitting: Any,
) -> FitResult:
    """Train the backbone of a branch through its plain head, keeping the best weights on ``valid``."""
    module = Supervised(
        branch, call=branch.extract, pos_weight=_pos_weight(data, weighting), augment=augment,
        learning_rate=learning_rate, weight_decay=weight_decay, warmup=0.05,
    )  # fmt: skip
    for part in (branch.prototypes, branch.classifier, branch.bias, *branch.addon.parameters()):
        part.requires_grad_(False)
    result = _fit(module, data, valid, steps, batch_size, seed, f"extract {branch.config.name}", fitting)
    for part in branch.parameters():
        part.requires_grad_(True)
    branch.bias.requires_grad_(branch.config.classifier == "balanced")
    return result


def joint(
    branch: PrototypeBranch,
    data: SignalSet,
    valid: SignalSet,
    *,
    loss: LossWeights | None = None,
    contrastive: bool = True,
    separation_mode: Literal["published", "absent_only"] = "published",
    start: Literal["data", "normal"] = "data",
    evidence: Tensor | None = None,
    weighting: WeightKind = "published",
    augment: dict[str, float] | None = None,
    steps: int,
    batch_size: int,
    seed: int = 0,
    learning_rate: float = 1e-3,
    weight_decay: float = 1.7e-4,
    **fitting: Any,
) -> FitResult:
    """Train backbone, add-on layers and prototypes of a branch, keeping the best weights on ``valid``.

    Args:
        branch: trained in place; its backbone may have been trained before.
        contrastive: with the term that arranges prototypes by the co-occurrence of their labels.
        start: ``data`` starts each prototype at the feature of a random training recording of its class;
            ``normal`` keeps the random numbers that it was built with, as published.
        evidence: (C, D) weights of each label on the features of the untrained backbone; with ``data``, windows
            start where they say most for the label, else anywhere. Without it a window may settle beside the
            evidence, which a feature step sees as well.
    """
    loss = loss or LossWeights()
    if not contrastive:
        loss = replace(loss, contrastive=0.0)
    if start == "data":
        start_from_data(branch, data, seed, evidence)
    module = Joint(
        branch, labels_together=cooccurrence(data.targets) if contrastive else None, weights=loss,
        separation_mode=separation_mode, pos_weight=_pos_weight(data, weighting), augment=augment,
        learning_rate=learning_rate, weight_decay=weight_decay, warmup=0.05,
    )  # fmt: skip
    return _fit(module, data, valid, steps, batch_size, seed, f"joint {branch.config.name}", fitting)


def black_box(
    network: BlackBox,
    data: SignalSet,
    valid: SignalSet,
    *,
    weighting: WeightKind = "published",
    augment: dict[str, float] | None = None,
    steps: int,
    batch_size: int,
    seed: int = 0,
    learning_rate: float = 1e-3,
    weight_decay: float = 1.7e-4,
    **fitting: Any,
) -> FitResult:
    """Train the black box on all labels, keeping the best weights on ``valid``."""
    module = Supervised(
        network, pos_weight=_pos_weight(data, weighting), augment=augment, learning_rate=learning_rate,
        weight_decay=weight_decay, warmup=0.05,
    )  # fmt: skip
    return _fit(module, data, valid, steps, batch_size, seed, "black box", fitting)


@torch.no_grad()
def start_from_data(
    branch: PrototypeBranch, data: SignalSet, seed: int, evidence: Tensor | None = None
) -> None:
    """Put each prototype on the feature of a random training recording of its class (see `joint`)."""
    reseed(seed, "prototypes", branch.config.name)
    branch.eval()
    allowed = data.targets @ branch.identity.T.cpu()
    for prototype in range(branch.count):
        rows = torch.nonzero(allowed[:, prototype]).flatten()
        if not len(rows):
            continue
        row = int(rows[torch.randint(len(rows), ())])
        x = data.x(slice(row, row + 1))
        found = branch.features(x)[0]
        if branch.length:
            last = found.shape[1] - branch.length
            begin = int(torch.randint(last + 1, ()))
            if evidence is not None:
                label = int(branch.identity[prototype].argmax())
                peak = int((evidence[label] @ branch.maps(x)[0]).argmax())
                begin = min(max(0, peak - branch.length // 2), last)
            found = found[:, begin : begin + branch.length]
        branch.prototypes[prototype] = found


@torch.inference_mode()
def scores(call: Callable[[Tensor], Tensor], data: SignalSet, *, batch_size: int = 256) -> np.ndarray:
    """Logits of all recordings of a set, (N, C)."""
    parts = [call(data.x(slice(i, i + batch_size))) for i in range(0, len(data), batch_size)]
    return torch.cat([part.cpu() for part in parts]).numpy()


def _fit(
    module: Supervised,
    data: SignalSet,
    valid: SignalSet,
    steps: int,
    batch_size: int,
    seed: int,
    title: str,
    fitting: dict[str, Any],
) -> FitResult:
    truth = valid.targets.numpy()

    def validate(trained: Any, step: int) -> dict[str, float]:
        device = next(trained.parameters()).device
        found = scores(lambda x: trained.logits(x.to(device)), valid)
        value, counted = macro_auroc(truth, found)
        return {"valid_auroc": value if counted else 0.0}

    return fit(
        module, step_batches(data, batch_size, seed), steps=steps, seed=seed, title=title, gradient_clip=1.0,
        validate=validate, keep_best="valid_auroc", **fitting,
    )  # fmt: skip


def _pos_weight(data: SignalSet, kind: WeightKind) -> Tensor | None:
    return None if kind == "none" else class_weights(data.targets, kind)
