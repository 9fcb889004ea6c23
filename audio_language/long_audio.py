"""Scoring of recordings longer than a window against long captions, in the manner of CoLLAP."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.errors import ConfigError, DataError
from core.objectives.contrast import contrast


class LongAudioScorer(nn.Module):
    """Similarity of recordings, as rows of clips, and texts: attention over time picks the clips that matter.

        s(i, j) = sum_m softmax_m(q(t_j) . (k(a_im) + pos_m) / sqrt(d)) cos(a_im + v(pos_m), t_j)
                  + gamma cos(mean_m a_im, t_j)

    Clips get a sinusoidal position before attention, or the score could not know their order; ``v`` starts at
    zero, so that a new scorer is attention by content alone. Padded clips are masked.

    Args:
        dim: width of the embeddings. inner: of queries and keys. gamma: weight of the mean.

    Source: our reading of the abstract of CoLLAP (arXiv 2410.02271); its equations were not at hand.

    >>> scorer = LongAudioScorer(4)
    >>> clips = torch.eye(4)[None].repeat(2, 1, 1)
    >>> scorer(clips, torch.eye(4)[:3]).shape
    torch.Size([2, 3])
    """

    def __init__(self, dim: int, *, inner: int = 32, gamma: float = 1.0) -> None:
        super().__init__()
        if dim < 2 or inner < 1 or gamma < 0:
            raise ConfigError(
                "long-audio scorer (dim, inner, gamma)", seen=(dim, inner, gamma), expected=">= 2, 1, 0"
            )
        self.dim, self.gamma = dim, gamma
        self.query, self.key = nn.Linear(dim, inner), nn.Linear(dim, inner)
        self.place = nn.Linear(dim, dim, bias=False)
        nn.init.zeros_(self.place.weight)

    def forward(self, clips: Tensor, texts: Tensor, valid: Tensor | None = None) -> Tensor:
        """(N, T) scores of clips (N, M, d) and texts (T, d); ``valid`` (N, M) bool marks clips that are there."""
        if clips.dim() != 3 or texts.dim() != 2 or clips.shape[2] != self.dim or texts.shape[1] != self.dim:
            raise DataError(
                "long audio: (clips, texts)",
                seen=(tuple(clips.shape), tuple(texts.shape)),
                expected=f"(N, M, {self.dim}) and (T, {self.dim})",
            )
        if valid is None:
            valid = torch.ones(clips.shape[:2], dtype=torch.bool, device=clips.device)
        if not bool(valid.any(dim=1).all()):
            raise DataError(
                "long audio: a recording without any clip", expected="at least one valid clip each"
            )
        clips = torch.where(valid[..., None], clips, 0.0)
        places = positions(clips.shape[1], self.dim).to(clips)
        keys = self.key(clips + places)
        logits = torch.einsum("nmd,td->ntm", keys, self.query(texts)) / math.sqrt(keys.shape[-1])
        weight = logits.masked_fill(~valid[:, None], -math.inf).softmax(dim=-1)
        text = F.normalize(texts, dim=-1)
        each = torch.einsum("nmd,td->ntm", F.normalize(clips + self.place(places), dim=-1), text)
        mean = F.normalize(clips.sum(dim=1), dim=-1) @ text.T
        return (weight * each).sum(dim=-1) + self.gamma * mean

    def loss(
        self, clips: Tensor, texts: Tensor, valid: Tensor | None = None, *, temperature: float = 0.07
    ) -> Tensor:
        """Symmetric cross entropy of the fused scores; recording i belongs to text i."""
        scores = self(clips, texts, valid) / temperature
        count = len(scores)
        if scores.shape != (count, count):
            raise DataError(
                "long audio: pairs", seen=tuple(scores.shape), expected="a text for each recording"
            )
        # the kernel's softmax over scores that are no products: the scores go in as its bias
        nothing = scores.new_zeros(count, 1)
        forth, back = (contrast(nothing, nothing, bias=one, normalize=False) for one in (scores, scores.T))
        return (forth + back) / 2


def positions(count: int, dim: int) -> Tensor:
    """(count, dim) sinusoidal positions (Vaswani et al. 2017), scaled to unit length.

    >>> positions(3, 4).shape
    torch.Size([3, 4])
    """
    steps = torch.arange(count, dtype=torch.float32)[:, None]
    rates = torch.exp(-math.log(1000.0) * torch.arange((dim + 1) // 2) / max(1, dim // 2))
    angles = steps * rates
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :dim] / math.sqrt(dim / 2)
