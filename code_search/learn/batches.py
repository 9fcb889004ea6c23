"""The batch of a step: one language, name hiding, and the augmented keys."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from code_search.augment import CYCLE, Vocabulary, augment_code, dynamic_masking, hide_names
from code_search.learn.pairs import PairArrays
from code_search.tokenize import CodeTokenizer
from core.learning.sampler import StepSampler


class PairBatches:
    """Batch ``step`` of the pairs: a function of it and of the global random state, which ``fit`` sets.

    A batch holds one language, drawn with probability proportional to n^0.7 as in CoCoSoDa. The soft
    augmentations take turns: masking of code and text on steps 0, 4, ...; the three others of code alone on
    the steps between. The keys equal the queries where ``augment`` is off.

    Args:
        pairs: the training pairs.
        tokenizer: made the pairs.
        batch_size: pairs a batch.
        seed: of the order.
        hide_name: probability of hiding a function's own name, in query and key alike.
        augment: whether keys are augmented.
        rate: of the augmentations.
        power: of a language's count in its probability.

    A batch: ``code``, ``code_key``, ``text``, ``text_key`` (B, L) int64, each with ``*_mask`` (B, L) bool,
        and ``groups`` (B,).
    """

    def __init__(
        self,
        pairs: PairArrays,
        tokenizer: CodeTokenizer,
        batch_size: int,
        *,
        seed: int = 0,
        hide_name: float = 0.0,
        augment: bool = True,
        rate: float = 0.1,
        power: float = 0.7,
    ) -> None:
        self.pairs, self.pad = pairs, tokenizer.markers.pad
        self.hide_name, self.augment, self.rate = hide_name, augment, rate
        self.sampler = StepSampler(len(pairs), batch_size, seed, strata=pairs.languages.tolist(), power=power)
        markers = tokenizer.markers
        self.vocabulary = Vocabulary(
            mask=markers.mask,
            ordinary=torch.from_numpy(tokenizer.ordinary),
            type_tokens=torch.tensor([markers.types[name] for name in markers.type_names], dtype=torch.int64),
        )
        self.protected = torch.tensor(markers.protected)
        hidden = tokenizer.code_ids(["f"], 16)[0]
        self.hidden = hidden[len(markers.code_prefix)]

    def __call__(self, step: int) -> dict[str, Tensor]:
        return self.of(np.asarray(self.sampler.batch(step)), step)

    def of(self, rows: np.ndarray, step: int) -> dict[str, Tensor]:
        """The batch of the given pairs, augmented as on ``step``."""
        pairs = self.pairs
        code, mask = _padded(pairs.code, pairs.code_ends, rows, self.pad)
        types, _ = _padded(pairs.types, pairs.code_ends, rows, -1)
        own, _ = _padded(pairs.own, pairs.code_ends, rows, 0)
        text, text_mask = _padded(pairs.text, pairs.text_ends, rows, self.pad)
        if self.hide_name:
            code, mask = hide_names(code, mask, own, self.hidden, self.hide_name)
        batch = {
            "code": code, "code_mask": mask, "code_key": code, "code_key_mask": mask,
            "text": text, "text_mask": text_mask, "text_key": text, "text_key_mask": text_mask,
            "groups": torch.from_numpy(pairs.groups[rows]),
        }  # fmt: skip
        if self.augment:
            operation = CYCLE[step % len(CYCLE)]
            batch["code_key"] = augment_code(
                operation, code, types, mask & ~torch.isin(code, self.protected), self.vocabulary, self.rate
            )
            if operation == "masking":
                free = text_mask & ~torch.isin(text, self.protected)
                batch["text_key"] = dynamic_masking(text, free, self.vocabulary, self.rate)
        return batch

    def shard(self, rank: int, world: int) -> Any:
        """The part of each batch that process ``rank`` of ``world`` works on."""
        return _Shard(self, rank, world)


class _Shard:
    def __init__(self, batches: PairBatches, rank: int, world: int) -> None:
        self.batches, self.rank, self.world = batches, rank, world

    def __call__(self, step: int) -> dict[str, Tensor]:
        rows = np.asarray(self.batches.sampler.batch(step))
        return self.batches.of(np.array_split(rows, self.world)[self.rank], step)


def _padded(flat: np.ndarray, ends: np.ndarray, rows: np.ndarray, filler: int) -> tuple[Tensor, Tensor]:
    """(B, L) int64 and mask of the given rows of a ragged array."""
    stops = ends[rows]
    starts = np.where(rows > 0, ends[rows - 1], 0)
    lengths = stops - starts
    places = np.arange(max(int(lengths.max(initial=0)), 1))
    mask = places < lengths[:, None]
    values = np.full(mask.shape, filler, dtype=np.int64)
    values[mask] = flat[(starts[:, None] + places)[mask]]
    return torch.from_numpy(values), torch.from_numpy(mask)
