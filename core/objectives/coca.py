"""CoCa: contrast of image and text together with captioning."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from core.objectives.contrast import contrast
from core.objectives.rows import as_rows, in_full_precision


class Coca(NamedTuple):
    """The terms of `coca`, each a scalar, and their weighted sum."""

    total: Tensor
    contrast: Tensor
    caption: Tensor


@in_full_precision
def coca(
    image: Tensor,
    text: Tensor,
    logits: Tensor,
    labels: Tensor,
    *,
    scale: float | Tensor = 1 / 0.07,
    contrast_weight: float = 1.0,
    caption_weight: float = 2.0,
    padding: int = 0,
    groups: Tensor | None = None,
    reduce: Callable[[Tensor], Tensor] | None = None,
) -> Coca:
    """CLIP on pooled embeddings plus next-word cross entropy of a decoder that sees the image.

    Formula:
        total = contrast_weight CLIP(image, text) + caption_weight mean over words that are not padding of
        -log softmax(logits)[label].

    Use when:
        Reports or captions should be written as well as retrieved; needs a decoder.

    Cost:
        8 N^2 d for the contrast, 2 N T V for the captions.

    Source:
        Yu et al. 2022, "CoCa: contrastive captioners are image-text foundation models". Verified
        against numbers of open_clip's code.

    Distributed:
        gather. Where logits are too large to gather: gather the embeddings, keep the words, pass `reduce`.

    Used by:
        no pipeline yet.

    Args:
        image: (N, d) pooled by the contrastive query, any float dtype.
        text: (N, d).
        logits: (N', T, V) of the decoder.
        labels: (N', T) int64 next words.
        scale: multiplier of the cosines.
        contrast_weight: weight of CLIP.
        caption_weight: weight of captioning.
        padding: label that is not counted.
        groups: (N,) integer ids; other members of the group are left out of the contrast.
        reduce: sums a tensor over ranks, with gradient.

    Returns:
        `Coca`; the caption term is 0 where all words are padding.

    Raises:
        KindredError: shapes differ.

    Example:
        >>> eye = torch.eye(2)
        >>> coca(eye, eye, torch.zeros(2, 3, 5), torch.ones(2, 3, dtype=torch.long)).caption
        tensor(1.6094)
    """
    log_probability = as_rows("logits", logits, ndim=3).log_softmax(-1)
    counted = labels != padding
    chosen = log_probability.gather(-1, torch.where(counted, labels, 0)[..., None])[..., 0]
    total = -torch.where(counted, chosen, 0.0).sum()
    words = counted.sum().to(total.dtype)
    if reduce is not None:
        total, words = reduce(total), reduce(words)
    caption = total / words.clamp_min(1)
    clip = contrast(image, text, scale=scale, symmetric=True, row_groups=groups)
    return Coca(contrast_weight * clip + caption_weight * caption, clip, caption)
