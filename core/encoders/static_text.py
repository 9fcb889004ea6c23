"""A text as a weighted sum of the vectors of its tokens: the encoder that is fast enough for every laptop."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.errors import ConfigError

GAIN = 3.0


class StaticText(nn.Module):
    """Sum over the distinct tokens of a text of weight[field, token] * vector[token].

    Static token vectors (fastText, Joulin et al. 2017; distilled ones as in Model2Vec), with one learned
    weight for each token and field (title and body of one document, say). A token counts once in a field
    however often it occurs: the limit of a sublinear term frequency. The order of tokens does not matter.

    Args:
        vocabulary: number of tokens.
        dim: width of the vectors.
        fields: number of fields.
        vectors: (vocabulary, dim) to start from; small random ones otherwise.
        log_weights: (fields, vocabulary) logarithms of the weights to start from, such as log idf; 0
            otherwise.
        dropout: probability of leaving a token out in training.

    ==========  ===================  =========================================
    tensor      shape                meaning
    ==========  ===================  =========================================
    ids         (B, L) int64         from 0 to vocabulary - 1
    mask        (B, L) bool          False for what does not count
    fields      (B, L) int64         from 0 to fields - 1; all 0 when left out
    returns     (B, dim) float32     not normalised; zeros for an empty text
    ==========  ===================  =========================================

    >>> text = StaticText(3, 2, vectors=torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    >>> text(torch.tensor([[1, 2, 1]]), torch.ones(1, 3, dtype=torch.bool)).tolist()
    [[1.0, 1.0]]
    """

    def __init__(
        self,
        vocabulary: int,
        dim: int,
        fields: int = 1,
        *,
        vectors: Tensor | None = None,
        log_weights: Tensor | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if vocabulary < 1 or dim < 1 or fields < 1 or not 0 <= dropout < 1:
            raise ConfigError(
                "static text encoder (vocabulary, dim, fields, dropout)",
                seen=(vocabulary, dim, fields, dropout),
                expected="numbers >= 1, and dropout from 0 to below 1",
            )
        self.vocabulary, self.dim, self.fields, self.dropout = vocabulary, dim, fields, dropout
        start = torch.randn(vocabulary, dim) / dim**0.5 if vectors is None else vectors
        weights = torch.zeros(fields, vocabulary) if log_weights is None else log_weights
        if start.shape != (vocabulary, dim) or weights.shape != (fields, vocabulary):
            raise ConfigError(
                "static text encoder: (vectors, log_weights)",
                seen=(tuple(start.shape), tuple(weights.shape)),
                expected=f"{(vocabulary, dim)} and {(fields, vocabulary)}",
            )
        self.vectors = nn.Parameter(start.to(torch.float32).clone())
        # Divided by GAIN, so that one learning rate moves weights and vectors at fitting speeds.
        self.log_weights = nn.Parameter(weights.to(torch.float32).flatten() / GAIN)

    def forward(self, ids: Tensor, mask: Tensor, fields: Tensor | None = None) -> Tensor:
        """(B, L) ids, mask and fields to (B, dim)."""
        keys = ids if fields is None else ids + fields * self.vocabulary
        absent = self.fields * self.vocabulary
        keys = torch.where(mask, keys, absent).sort(dim=1).values
        kept = keys < absent
        kept[:, 1:] &= keys[:, 1:] != keys[:, :-1]
        if self.training and self.dropout:
            kept &= torch.rand(kept.shape, device=kept.device) >= self.dropout
        flat = keys[kept]
        counts = kept.sum(dim=1)
        weights = (self.log_weights[flat] * GAIN).exp()
        return F.embedding_bag(
            flat % self.vocabulary,
            self.vectors,
            counts.cumsum(0) - counts,
            mode="sum",
            per_sample_weights=weights,
        )
