"""A small training with all that a resume must restore: dropout, buffers, momentum copy, queue, schedule."""

from __future__ import annotations

import hashlib
import time

import torch

from core.learning.module import ContrastiveModule
from core.learning.sampler import StepBatches, StepSampler
from core.momentum import EmbeddingQueue, MomentumEncoder


class Toy(ContrastiveModule):
    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__(learning_rate=0.01, warmup=0.1)
        self.net = torch.nn.Sequential(
            torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(0.2), torch.nn.Linear(8, 4)
        )
        self.slow = MomentumEncoder(self.net, 0.9)
        self.queue = EmbeddingQueue(4, 24)

    def terms(self, batch: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.net(batch + 0.1 * torch.randn_like(batch))
        self.slow.update()
        key = self.slow(batch)
        self.watch(x, key)
        pull, push = (x - key - batch).square().mean(), (x @ self.queue.embeddings.T).square().mean()
        self.queue.enqueue(key)
        return {"loss": pull + 0.1 * push, "pull": pull}


class Plain(ContrastiveModule):
    """A mean over rows: its gradient over two processes is that over one."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__(learning_rate=0.01)
        self.layer = torch.nn.Linear(4, 4)

    def terms(self, batch: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": (self.layer(batch) - batch.flip(1)).square().mean()}


class Items:
    def __init__(self, pause: float = 0.0) -> None:
        self.pause = pause

    def __getitem__(self, index: int) -> torch.Tensor:
        time.sleep(self.pause)
        return torch.sin(torch.arange(4.0) * (index + 1)) + index / 10


def toy_batches(pause: float = 0.0, batch_size: int = 8) -> StepBatches:
    return StepBatches(Items(pause / batch_size), StepSampler(30, batch_size, seed=1))


def digest(module: torch.nn.Module) -> str:
    """Of all weights and buffers, bit by bit."""
    total = hashlib.sha256()
    for name, value in module.state_dict().items():
        total.update(name.encode() + value.numpy().tobytes())
    return total.hexdigest()
