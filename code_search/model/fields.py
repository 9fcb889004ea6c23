"""The static encoder for code: one weight a token for prose, for the head of a function and for its body."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from core.encoders.static_text import StaticText

FIELDS = 3
HEAD = 24  # tokens among which the opening bracket is looked for


class FieldedText(nn.Module):
    """`StaticText` that tells the fields apart by itself.

    A sequence that starts with ``<text>`` is prose (field 0). In one that starts with ``<code>``, what stands
    before the first opening bracket among the first 24 tokens is the head (field 1: the words around the
    function's name, in any language), the rest the body (field 2).

    Args:
        vocabulary, dim, vectors, log_weights, dropout: of `StaticText`; log_weights is (3, vocabulary).
        text, bracket: ids of ``<text>`` and of ``(``.

    >>> fielded = FieldedText(6, 4, text=1, bracket=5)
    >>> fielded.fields_of(torch.tensor([[2, 3, 5, 4], [1, 3, 5, 4]])).tolist()
    [[1, 1, 2, 2], [0, 0, 0, 0]]
    """

    def __init__(
        self,
        vocabulary: int,
        dim: int,
        *,
        text: int,
        bracket: int,
        vectors: Tensor | None = None,
        log_weights: Tensor | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.tokens = StaticText(
            vocabulary, dim, FIELDS, vectors=vectors, log_weights=log_weights, dropout=dropout
        )
        self.dim, self.text, self.bracket = dim, text, bracket

    @property
    def settings(self) -> dict[str, Any]:
        """What rebuilds the module, weights aside."""
        return {
            "vocabulary": self.tokens.vocabulary,
            "dim": self.dim,
            "text": self.text,
            "bracket": self.bracket,
        }

    def fields_of(self, ids: Tensor) -> Tensor:
        """(B, L) ids to (B, L) fields."""
        opens = ids[:, :HEAD] == self.bracket
        first = torch.where(opens.any(1), opens.int().argmax(1), 0)
        head = torch.arange(ids.shape[1], device=ids.device) < first[:, None]
        prose = ids[:, :1] == self.text
        return torch.where(prose, 0, torch.where(head, 1, 2))

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """(B, L) ids and mask to (B, dim), not normalised. The prefix itself counts as a token."""
        return self.tokens(ids, mask, self.fields_of(ids))
