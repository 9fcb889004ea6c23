"""Training batches of prepared signals: deterministic functions of the step, a whole batch in one read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.learning.sampler import StepBatches, StepSampler


class SignalSet:
    """Signals, targets and patient codes of some rows of an array, which may be a memory map.

    Args:
        signals: (N, 12, T) preprocessed. targets: (N, C) of 0/1. patients: N names.
        rows: which of them; all where left out.

    >>> data = SignalSet(np.zeros((3, 12, 8), "float32"), np.ones((3, 2)), ["a", "a", "b"])
    >>> batch = data.__getitems__([2, 0])
    >>> batch["x"].shape, batch["group"].tolist()
    (torch.Size([2, 12, 8]), [1, 0])
    """

    def __init__(
        self,
        signals: np.ndarray,
        targets: np.ndarray,
        patients: Sequence[Any],
        rows: np.ndarray | None = None,
    ) -> None:
        self.signals = signals
        self.rows = np.arange(len(signals)) if rows is None else np.asarray(rows)
        self.targets = torch.from_numpy(np.asarray(targets, dtype=np.float32)[self.rows])
        self.groups = torch.from_numpy(
            np.unique(np.asarray(patients)[self.rows], return_inverse=True)[1].astype(np.int64)
        )

    def __len__(self) -> int:
        return len(self.rows)

    def x(self, part: slice) -> Tensor:
        """Signals of a slice of the set, (b, 12, T)."""
        return torch.from_numpy(np.ascontiguousarray(self.signals[self.rows[part]], dtype=np.float32))

    def __getitems__(self, indices: list[int]) -> dict[str, Tensor]:
        rows = self.rows[indices]
        x = torch.from_numpy(np.ascontiguousarray(self.signals[rows], dtype=np.float32))
        return {"x": x, "y": self.targets[indices], "group": self.groups[indices]}


def step_batches(data: SignalSet, batch_size: int, seed: int) -> StepBatches:
    """Shuffled batches without replacement; a set smaller than a batch is one batch."""
    size = min(batch_size, len(data))
    return StepBatches(data, StepSampler(len(data), size, seed), collate=_whole)


def _whole(batch: Any) -> Any:
    return batch
