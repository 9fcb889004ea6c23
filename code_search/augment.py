"""The four soft augmentations of CoCoSoDa: they change some tokens of a key and leave its meaning guessable.

All take ids (B, L) int64 and return new ids of the same shape; the input is left as it is. ``free`` (B, L)
bool says which tokens may be touched: never padding, prefix or suffix. Random numbers come from torch's
global generator, or from ``generator``. CoCoSoDa (Shi et al., ICSE 2023), section 3.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from core.errors import ConfigError

Operation = Literal["masking", "replacement", "type_replacement", "type_masking"]
CYCLE: tuple[Operation, ...] = ("masking", "replacement", "type_replacement", "type_masking")
REPLACED = 0.8
RANDOM = 0.1


@dataclass(frozen=True)
class Vocabulary:
    """What the augmentations need: the mask token, ordinary ids (V,), the token of each type (T,)."""

    mask: int
    ordinary: Tensor
    type_tokens: Tensor


def dynamic_masking(
    ids: Tensor,
    free: Tensor,
    vocabulary: Vocabulary,
    rate: float = 0.1,
    *,
    generator: torch.Generator | None = None,
) -> Tensor:
    """DM: tokens are drawn with probability ``rate``; 80 % become the mask, 10 % a random token, 10 % stay.

    >>> vocabulary = Vocabulary(mask=9, ordinary=torch.tensor([1, 2]), type_tokens=torch.tensor([8]))
    >>> dynamic_masking(torch.ones(1, 3, dtype=torch.int64), torch.tensor([[False] * 3]), vocabulary).tolist()
    [[1, 1, 1]]
    """
    drawn = free & _draw(ids.shape, rate, generator)
    fate = torch.rand(ids.shape, generator=generator)
    place = torch.randint(len(vocabulary.ordinary), ids.shape, generator=generator)
    changed = torch.where(fate < REPLACED, vocabulary.mask, vocabulary.ordinary[place])
    return torch.where(drawn & (fate < REPLACED + RANDOM), changed, ids)


def dynamic_replacement(
    ids: Tensor, types: Tensor, free: Tensor, vocabulary: Vocabulary, rate: float = 0.1,
    *, generator: torch.Generator | None = None,
) -> Tensor:  # fmt: skip
    """DR: a token is drawn with probability ``rate``; then 80 % become the token of their type, 20 % stay.

    Args:
        types: (B, L) codes from 0 to T - 1, negative where a token has no type.
    """
    drawn = free & (types >= 0) & _draw(ids.shape, rate * REPLACED, generator)
    return torch.where(drawn, vocabulary.type_tokens[types.clamp_min(0)], ids)


def type_replacement(
    ids: Tensor, types: Tensor, free: Tensor, vocabulary: Vocabulary, rate: float = 0.1,
    *, generator: torch.Generator | None = None,
) -> Tensor:  # fmt: skip
    """DRST: as DR, but among the tokens of one type, drawn for each row from the types present in it."""
    drawn = _of_one_type(types, free, len(vocabulary.type_tokens), generator)
    drawn &= _draw(ids.shape, rate * REPLACED, generator)
    return torch.where(drawn, vocabulary.type_tokens[types.clamp_min(0)], ids)


def type_masking(
    ids: Tensor, types: Tensor, free: Tensor, vocabulary: Vocabulary, rate: float = 0.1,
    *, generator: torch.Generator | None = None,
) -> Tensor:  # fmt: skip
    """DMST: the tokens that DRST draws become the mask."""
    drawn = _of_one_type(types, free, len(vocabulary.type_tokens), generator)
    drawn &= _draw(ids.shape, rate * REPLACED, generator)
    return torch.where(drawn, vocabulary.mask, ids)


def augment_code(
    operation: Operation, ids: Tensor, types: Tensor, free: Tensor, vocabulary: Vocabulary, rate: float = 0.1,
    *, generator: torch.Generator | None = None,
) -> Tensor:  # fmt: skip
    """Apply one of the four by name. Raises ConfigError for another name or a rate outside 0..1."""
    if not 0 <= rate <= 1:
        raise ConfigError("augmentation rate", seen=rate, expected="a number from 0 to 1")
    if operation == "masking":
        return dynamic_masking(ids, free, vocabulary, rate, generator=generator)
    typed = {
        "replacement": dynamic_replacement,
        "type_replacement": type_replacement,
        "type_masking": type_masking,
    }
    if operation not in typed:
        raise ConfigError("augmentation", seen=operation, expected=f"one of {', '.join(CYCLE)}")
    return typed[operation](ids, types, free, vocabulary, rate, generator=generator)


def hide_names(ids: Tensor, mask: Tensor, own: Tensor, hidden: int, rate: float) -> tuple[Tensor, Tensor]:
    """With probability ``rate`` a row's own name becomes the token ``hidden`` wherever it stands.

    Not part of CoCoSoDa: it teaches the encoder to read bodies, for queries that do not use the name's words.

    Args:
        own: (B, L) int8: 1 on the first piece of the function's own name, 2 on its further pieces, else 0.

    Returns:
        ids and mask; the further pieces are masked out.

    >>> own = torch.tensor([[0, 1, 2]])
    >>> hide_names(torch.tensor([[5, 6, 7]]), own >= 0, own, hidden=3, rate=1.0)
    (tensor([[5, 3, 7]]), tensor([[ True,  True, False]]))
    """
    rows = torch.rand(len(ids), 1) < rate
    return torch.where(rows & (own == 1), hidden, ids), mask & ~(rows & (own == 2))


def _draw(shape: torch.Size, rate: float, generator: torch.Generator | None) -> Tensor:
    return torch.rand(shape, generator=generator) < rate


def _of_one_type(types: Tensor, free: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
    """(B, L) bool: free tokens of a type drawn evenly from those that have a free token in the row."""
    usable = free & (types >= 0)
    present = torch.zeros(len(types), count).scatter_reduce_(
        1, types.clamp_min(0), usable.float(), "amax", include_self=True
    )
    chosen = (present * (torch.rand(present.shape, generator=generator) + 1e-6)).argmax(1, keepdim=True)
    return usable & (types == chosen)
