"""What connects the checkpoints and batches of this package to Lightning."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightning.fabric.plugins.io.checkpoint_io import CheckpointIO
from lightning.pytorch import LightningDataModule

from core.errors import CheckpointError
from core.learning.checkpoint import load_checkpoint, save_checkpoint
from core.learning.sampler import loader


class SafeCheckpointIO(CheckpointIO):
    """Lightning's checkpoints through `save_checkpoint` and `load_checkpoint`."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        save_checkpoint(path, checkpoint)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict:
        return load_checkpoint(path)

    def remove_checkpoint(self, path: Any) -> None:
        Path(path).unlink(missing_ok=True)


class Source(LightningDataModule):
    """Hands Lightning the loader of this process, starting at the step to resume from."""

    def __init__(self, batches: Any, start: int, steps: int, seed: int, workers: int) -> None:
        super().__init__()
        self.batches, self.start, self.steps, self.seed, self.workers = batches, start, steps, seed, workers

    def train_dataloader(self) -> _Resumed:
        trainer: Any = self.trainer
        rank, world = trainer.global_rank, trainer.world_size
        if trainer.strategy.broadcast(self.start) != self.start:
            raise CheckpointError(
                f"process {rank} resumes from another step than the first process",
                remedy="let all processes see one checkpoint folder, and start them again",
            )
        batches = self.batches.shard(rank, world) if world > 1 else self.batches
        source = loader(
            batches, start=self.start, steps=self.steps, seed=self.seed, rank=rank, workers=self.workers
        )
        return _Resumed(source, self.steps)


class _Resumed:
    """A loader that says it keeps its place: it does, by construction."""

    def __init__(self, source: Any, steps: int) -> None:
        self.source, self.steps = source, steps

    def __iter__(self) -> Iterator[Any]:
        return iter(self.source)

    def __len__(self) -> int:
        return self.steps

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        return None


@contextlib.contextmanager
def quiet_lightning() -> Iterator[None]:
    """Lightning's notes on hardware, tips and worker counts say nothing that the caller asked for."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"lightning\..*")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
