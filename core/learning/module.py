"""The Lightning module that every training here derives from: named loss terms, an optimizer, a schedule."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from core.errors import ConfigError, KindredError

Schedule = Literal["constant", "linear", "cosine"]


class ContrastiveModule(LightningModule):
    """Base of the trained modules. A subclass builds its parts and defines ``terms(batch)``.

    ``terms`` returns the scalars of one step by name, ``"loss"`` among them; all are averaged into the
    history. Calling ``self.watch(x, y)`` in it hands embeddings to the collapse diagnostics. State that a
    step changes (queues, momentum encoders) is changed inside ``terms``, so that each checkpoint holds
    it.

    Args:
        learning_rate: peak rate of AdamW.
        weight_decay: of matrices; vectors, biases and scalars are not decayed.
        warmup: share of the steps over which the rate rises from 0, in [0, 1).
        schedule: what follows the warm-up: constant, linear or cosine decay to 0 at the last step.
        betas, epsilon: of AdamW.

    >>> class Line(ContrastiveModule):
    ...     def __init__(self):
    ...         super().__init__(learning_rate=0.1)
    ...         self.layer = torch.nn.Linear(1, 1)
    ...     def terms(self, batch):
    ...         return {"loss": (self.layer(batch) - 1).square().mean()}
    >>> from core.learning.fit import fit
    >>> fit(Line(), lambda step: torch.ones(2, 1), steps=40, progress=False).history[-1]["loss"] < 0.1
    True
    """

    idle_parts = False
    """Whether there are steps in which a trained parameter gets no gradient; `fit` then chooses ddp accordingly."""

    def __init__(
        self,
        *,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.01,
        warmup: float = 0.0,
        schedule: Schedule = "cosine",
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
    ) -> None:
        super().__init__()
        if learning_rate <= 0 or weight_decay < 0 or not 0 <= warmup < 1:
            raise ConfigError(
                "(learning_rate, weight_decay, warmup)",
                seen=(learning_rate, weight_decay, warmup),
                expected="> 0, >= 0, and from 0 to below 1",
            )
        if schedule not in ("constant", "linear", "cosine"):
            raise ConfigError("schedule", seen=schedule, expected="constant, linear or cosine")
        self.optimization = {
            "lr": learning_rate,
            "weight_decay": weight_decay,
            "betas": betas,
            "eps": epsilon,
        }
        self.warmup, self.schedule = warmup, schedule
        self.latest: dict[str, Tensor] = {}
        self.watched: tuple[Tensor, Tensor | None] | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "on_train_batch_end" in vars(cls):
            raise TypeError(
                f"{cls.__name__}.on_train_batch_end would run after the checkpoint of the step is written; "
                "change state inside terms()"
            )

    def terms(self, batch: Any) -> dict[str, Tensor]:
        """The scalars of one step, ``"loss"`` among them."""
        raise NotImplementedError(f"{type(self).__name__} must define terms(batch)")

    def watch(self, x: Tensor, y: Tensor | None = None) -> None:
        """Remember embeddings (N, d), and the other side of the pairs, for the diagnostics of this step."""
        self.watched = (x.detach(), None if y is None else y.detach())

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Trained parameters in groups for AdamW: matrices with weight decay, the rest without."""
        trained = [p for p in self.parameters() if p.requires_grad]
        if not trained:
            raise KindredError(f"{type(self).__name__} has no parameter to train", remedy="unfreeze a part")
        matrices = [p for p in trained if p.ndim >= 2]
        rest = [p for p in trained if p.ndim < 2]
        groups: list[dict[str, Any]] = [{"params": matrices}, {"params": rest, "weight_decay": 0.0}]
        return [group for group in groups if group["params"]]

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """One step, for Lightning."""
        found = self.terms(batch)
        self.latest = {name: value.detach() for name, value in found.items()}
        return found["loss"]

    def configure_optimizers(self) -> Any:
        """AdamW with the schedule, for Lightning."""
        # Lightning does not clip the gradients of a fused optimizer under mixed precision
        fused = not str(self.trainer.precision).endswith("mixed")
        optimizer = torch.optim.AdamW(self.parameter_groups(), fused=fused, **self.optimization)
        if self.schedule == "constant" and self.warmup == 0:
            return optimizer
        rate = rate_schedule(self.schedule, self.trainer.max_steps, self.warmup)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def rate_schedule(schedule: Schedule, steps: int, warmup: float = 0.0) -> Callable[[int], float]:
    """Factor of the peak rate at a step: linear rise over ``warmup * steps``, then the decay.

    >>> rate = rate_schedule("linear", 10, warmup=0.2)
    >>> [round(rate(step), 3) for step in (0, 1, 2, 6, 10)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    rising = round(warmup * steps)

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        progress = min(1.0, (step - rising) / max(1, steps - rising))
        return {"constant": 1.0, "linear": 1 - progress}.get(
            schedule, 0.5 * (1 + math.cos(math.pi * progress))
        )

    return factor
