"""Batches as functions of the step: batch i depends on (seed, i) alone, so a resumed run sees the same ones.

``StepSampler`` says which items make up batch i, ``StepBatches`` fetches and collates them, ``loader``
runs either of them (or any function ``step -> batch``) in worker processes with the random state of each
step set beforehand. The content of a batch does not depend on the number of workers.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from core.errors import ConfigError, DataError
from core.learning.determinism import derive_seed, generator

_BLOCK = 4096  # steps whose strata are drawn together


class StepSampler:
    """Shuffled batches without replacement; the order of each epoch is a function of (seed, epoch).

    Args:
        size: number of items.
        batch_size: items a batch over all processes. The last short batch of an epoch is left out.
        seed: fixes everything.
        strata: one label an item (language, site, modality): each batch then holds items of ONE label.
        power: with strata, a label is drawn with probability proportional to count ** power (1: as in the
            data, 0: uniform, 0.7: the CoCoSoDa rule).

    Raises:
        ConfigError: when a stratum (or the whole) has fewer items than a batch.

    >>> sampler = StepSampler(10, 4, seed=0)
    >>> sorted(sampler.batch(0) + sampler.batch(1)) == sorted(set(sampler.batch(0) + sampler.batch(1)))
    True
    >>> sampler.batch(7) == StepSampler(10, 4, seed=0).batch(7) != sampler.batch(8)
    True
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        seed: int = 0,
        *,
        strata: Sequence[Any] | None = None,
        power: float = 1.0,
    ) -> None:
        if batch_size < 1:
            raise ConfigError("batch_size", seen=batch_size, expected="a number >= 1")
        if strata is not None and len(strata) != size:
            raise DataError(
                "strata of the sampler", seen=len(strata), expected=f"one for each of {size} items"
            )
        self.size, self.batch_size, self.seed = size, batch_size, seed
        if strata is None:
            self.names: list[str] = [""]
            self._items = [np.arange(size)]
        else:
            self.names, codes = _labels(strata)
            self._items = [np.flatnonzero(codes == code) for code in range(len(self.names))]
        for name, items in zip(self.names, self._items, strict=True):
            if len(items) < batch_size:
                raise ConfigError(
                    "batch_size" + (f" for {name!r}" if name else ""),
                    seen=batch_size,
                    expected=f"at most the number of training items, {len(items)}",
                    remedy="lower batch_size, or add items",
                )
        weights = np.array([len(items) for items in self._items], dtype=np.float64) ** power
        self._shares = weights / weights.sum()
        self._draws: list[np.ndarray] = []
        self._earlier: list[np.ndarray] = [np.zeros(len(self.names), dtype=np.int64)]  # before each block
        self._orders: dict[int, tuple[int, np.ndarray]] = {}

    @property
    def one_batch(self) -> bool:
        """Whether each batch is the whole set."""
        return self.size == self.batch_size

    def batch(self, step: int) -> list[int]:
        """Item indices of batch ``step`` (>= 0), ``batch_size`` of them."""
        stratum, turn = self._turn(step)
        items = self._items[stratum]
        epoch, place = divmod(turn, len(items) // self.batch_size)
        cached = self._orders.get(stratum)
        if cached is None or cached[0] != epoch:
            order = generator(self.seed, "order", self.names[stratum], epoch).permutation(items)
            cached = self._orders[stratum] = (epoch, order)
        start = place * self.batch_size
        return cached[1][start : start + self.batch_size].tolist()

    def stratum(self, step: int) -> str:
        """The label that batch ``step`` is drawn from; "" without strata."""
        return self.names[self._turn(step)[0]]

    def _turn(self, step: int) -> tuple[int, int]:
        """(stratum of the step, number of earlier steps of that stratum)."""
        if len(self.names) == 1:
            return 0, step
        while len(self._draws) * _BLOCK <= step:
            rng = generator(self.seed, "stratum", len(self._draws))
            draws = rng.choice(len(self.names), size=_BLOCK, p=self._shares)
            self._draws.append(draws)
            self._earlier.append(self._earlier[-1] + np.bincount(draws, minlength=len(self.names)))
        block, place = divmod(step, _BLOCK)
        stratum = int(self._draws[block][place])
        within = int((self._draws[block][:place] == stratum).sum())
        return stratum, int(self._earlier[block][stratum]) + within


class StepBatches:
    """Batch ``step`` of a map-style dataset: the sampler's items, collated.

    Args:
        dataset: anything with ``dataset[index]``; a method ``__getitems__(indices)`` is used when it has
            one. Its random augmentation may draw from Python's, numpy's or torch's global generator.
        sampler: a `StepSampler`, or anything with ``batch(step) -> list[int]``.
        collate: list of items -> batch; torch's default stacks dicts of arrays.

    >>> batches = StepBatches([{"x": float(i)} for i in range(6)], StepSampler(6, 2, seed=3))
    >>> batches(0)["x"].shape
    torch.Size([2])
    """

    def __init__(
        self,
        dataset: Any,
        sampler: Any,
        collate: Callable[[list[Any]], Any] = default_collate,
        *,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.dataset, self.sampler, self.collate = dataset, sampler, collate
        self.rank, self.world = rank, world

    def shard(self, rank: int, world: int) -> StepBatches:
        """The part of each batch that process ``rank`` of ``world`` works on: contiguous, in rank order.

        Where the whole set is one batch, what cannot be shared out evenly sits out the step.

        Raises:
            ConfigError: the batch size is no multiple of ``world``, or a set has fewer items than that.
        """
        count = len(self.sampler.batch(0))
        if count < world or (count % world and not getattr(self.sampler, "one_batch", False)):
            raise ConfigError("batch_size", seen=count, expected=f"a multiple of the {world} processes")
        return StepBatches(self.dataset, self.sampler, self.collate, rank=rank, world=world)

    def __call__(self, step: int) -> Any:
        indices = self.sampler.batch(step)
        if self.world > 1:
            share = len(indices) // self.world
            indices = indices[self.rank * share : (self.rank + 1) * share]
        if hasattr(self.dataset, "__getitems__"):
            return self.collate(self.dataset.__getitems__(indices))
        return self.collate([self.dataset[index] for index in indices])


def reseed(seed: int, *names: object) -> None:
    """Set the global generators of Python, numpy and torch to a function of ``seed`` and ``names``.

    Cheap enough (some 20 microseconds) for every step.
    """
    value = derive_seed(seed, *names)
    random.seed(value)
    np.random.seed(value % 2**32)  # noqa: NPY002 - augmentation libraries draw from the global state
    torch.default_generator.manual_seed(value)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(value)


def loader(
    batches: Callable[[int], Any], *, start: int, steps: int, seed: int, rank: int = 0, workers: int = 0
) -> DataLoader:
    """Yield ``batches(start), ..., batches(steps - 1)``, in ``workers`` processes (0: in this one).

    Each batch is made with the global generators set from (seed, step, rank).
    """
    return DataLoader(
        _Steps(batches, seed, rank),
        batch_size=None,
        sampler=_Remaining(start, steps),
        num_workers=workers,
        collate_fn=_same,
        prefetch_factor=2 if workers else None,
    )


class _Steps(Dataset):
    def __init__(self, batches: Callable[[int], Any], seed: int, rank: int) -> None:
        self.batches, self.seed, self.rank = batches, seed, rank

    def __getitem__(self, step: int) -> Any:
        reseed(self.seed, "batch", step, self.rank)
        return self.batches(step)


class _Remaining(torch.utils.data.Sampler[int]):
    """Steps ``start`` to ``steps - 1``; its length is ``steps``, as a progress count that goes on expects."""

    def __init__(self, start: int, steps: int) -> None:
        self.start, self.steps = start, steps

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.start, self.steps))

    def __len__(self) -> int:
        return self.steps


def _same(batch: Any) -> Any:
    return batch


def _labels(strata: Sequence[Any]) -> tuple[list[str], np.ndarray]:
    names, codes = np.unique(np.asarray([str(label) for label in strata]), return_inverse=True)
    return names.tolist(), codes
