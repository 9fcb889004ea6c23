"""What happens around a training step: its random state, the history, diagnostics, checkpoints, the bar."""

from __future__ import annotations

import copy
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from core.errors import ConfigError, KindredError
from core.evaluation.collapse import diagnose, is_collapsed
from core.learning.checkpoint import checkpoint_path, prune_checkpoints
from core.learning.sampler import reseed

Record = dict[str, float]


class Reseed(Callback):
    """Set the global generators from (seed, step, rank) before each step: what makes resuming exact."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        reseed(self.seed, "step", batch_idx, trainer.global_rank)


class History(Callback):
    """Means of the module's terms over windows of ``every`` steps, as a list of records, kept in checkpoints.

    A record: ``step`` (steps done), ``seconds`` (of training so far), ``lr``, the terms, and with
    ``diagnostics`` those of the embeddings that the module watched last. Warns once when the loss falls
    while they collapse.

    Raises:
        KindredError: when the loss is NaN or infinite, naming the step.
    """

    def __init__(self, every: int, diagnostics: bool, logger: Callable[[Record], None] | None) -> None:
        self.every, self.diagnostics, self.logger = every, diagnostics, logger
        self.records: list[Record] = []
        self.seconds = 0.0
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}
        self._warned = False
        self._clock = 0.0

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        self._clock = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        for name, value in module.latest.items():
            value = value.float()
            self._sums[name] = self._sums[name] + value if name in self._sums else value
            self._counts[name] = self._counts.get(name, 0) + 1
        step = batch_idx + 1
        if step % self.every == 0 or step == trainer.max_steps:
            self.close_window(trainer, module, step)

    def extend(self, values: Record) -> None:
        """Add values (of a validation) to the newest record."""
        self.records[-1].update(values)

    def close_window(self, trainer: Trainer, module: Any, step: int) -> None:
        """Average what was gathered since the last record into a new one."""
        now = time.perf_counter()
        self.seconds, self._clock = self.seconds + now - self._clock, now
        record: Record = {"step": step, "seconds": round(self.seconds, 3)}
        record["lr"] = float(trainer.optimizers[0].param_groups[0]["lr"])
        record |= {name: float(total) / self._counts[name] for name, total in self._sums.items()}
        self._sums, self._counts = {}, {}
        refuse_non_finite(record["loss"], step)
        if self.diagnostics and module.watched is not None and len(module.watched[0]) > 1:
            found = diagnose(*module.watched)
            self._warn_of_collapse(record["loss"], found)
            record |= found
        self.records.append(record)
        if self.logger is not None and trainer.is_global_zero:
            self.logger(record)

    def _warn_of_collapse(self, loss: float, found: Record) -> None:
        if self._warned or not self.records or not is_collapsed(found) or loss >= self.records[0]["loss"]:
            return
        self._warned = True
        warnings.warn(
            f"the loss falls ({self.records[0]['loss']:.3g} to {loss:.3g}) while the embedding collapses "
            f"(std {found['embedding_std']:.3g} of 1, effective rank {found['effective_rank']:.3g}): "
            "what is learned tells items apart by next to nothing. Lower the learning rate, or look at the "
            "augmentations and negatives",
            stacklevel=1,
        )

    def state_dict(self) -> dict[str, Any]:
        return {
            "records": copy.deepcopy(self.records),
            "seconds": self.seconds + time.perf_counter() - self._clock if self._clock else self.seconds,
            "sums": dict(self._sums),
            "counts": dict(self._counts),
            "warned": self._warned,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.records, self.seconds = state_dict["records"], state_dict["seconds"]
        self._sums, self._counts = state_dict["sums"], state_dict["counts"]
        self._warned = state_dict["warned"]


class Validation(Callback):
    """Call ``validate(module, step) -> {metric: value}`` every ``every`` steps and after the last one.

    The module is in eval mode and no gradient is taken. Metrics join the history's record of the step. With
    ``keep_best`` the weights at the highest value of that metric are kept, for ``restore``.
    """

    def __init__(
        self,
        validate: Callable[[Any, int], Record],
        every: int,
        keep_best: str | None,
        history: History,
    ) -> None:
        self.validate, self.every, self.keep_best, self.history = validate, every, keep_best, history
        self.best: float | None = None
        self.best_step = 0
        self._weights: dict[str, Tensor] = {}

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        step = batch_idx + 1
        if step % self.every and step != trainer.max_steps:
            return
        modes = {name: part.training for name, part in module.named_modules()}
        module.eval()
        with torch.no_grad():
            found = self.validate(module, step)
        for name, part in module.named_modules():
            part.training = modes[name]
        if not self.history.records or self.history.records[-1]["step"] != step:
            self.history.close_window(trainer, module, step)
        self.history.extend(found)
        if self.keep_best is None:
            return
        if self.keep_best not in found:
            raise ConfigError("keep_best", seen=self.keep_best, expected=f"one of {sorted(found)}")
        if self.best is None or found[self.keep_best] > self.best:
            self.best, self.best_step = float(found[self.keep_best]), step
            self._weights = {name: value.detach().clone() for name, value in module.state_dict().items()}

    def restore(self, module: LightningModule) -> None:
        """Put the best weights back into ``module``, where ``keep_best`` asked for them."""
        if self._weights:
            module.load_state_dict(self._weights)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_step": self.best_step, "weights": self._weights}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best, self.best_step = state_dict["best"], state_dict["best_step"]
        self._weights = state_dict["weights"]


class Checkpoints(Callback):
    """Save every ``every`` steps and after the last, and keep the two newest. Must be the last callback."""

    def __init__(self, folder: Path, every: int) -> None:
        self.folder, self.every = folder, every

    def on_train_batch_end(
        self, trainer: Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        step = batch_idx + 1
        if step % self.every and step != trainer.max_steps:
            return
        refuse_non_finite(float(module.latest["loss"]), step)
        trainer.save_checkpoint(checkpoint_path(self.folder, step), weights_only=False)
        if trainer.is_global_zero:
            prune_checkpoints(self.folder)


class Bar(Callback):
    """A tqdm bar with the newest loss; in a log file, a line every half minute."""

    def __init__(self, title: str, history: History) -> None:
        self.title, self.history = title, history
        self._bar: Any = None

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        from tqdm.auto import tqdm

        if trainer.is_global_zero:
            pause = 0.2 if sys.stderr.isatty() else 30.0
            start = trainer.global_step
            self._bar = tqdm(
                total=trainer.max_steps, initial=start, desc=self.title, unit="step", mininterval=pause
            )

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._bar is not None:
            self._bar.update()
            if self.history.records and self.history.records[-1]["step"] == batch_idx + 1:
                self._bar.set_postfix(loss=f"{self.history.records[-1]['loss']:.4g}", refresh=False)

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        self._close()

    def on_exception(self, trainer: Trainer, module: LightningModule, exception: BaseException) -> None:
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def refuse_non_finite(loss: float, step: int) -> None:
    """Raise KindredError where the loss is NaN or infinite."""
    if loss != loss or loss in (float("inf"), float("-inf")):
        raise KindredError(
            f"training: the loss at step {step}",
            seen=loss,
            expected="a finite number",
            remedy="lower learning_rate, raise temperature, or look for bad values in the input",
        )
