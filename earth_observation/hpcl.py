"""Hyper-pixel contrast (HPCL-Net): cells of a feature map as landslide or background, against global queues.

After Zhou et al. 2023, "A multi-source data fusion-based semantic segmentation model for relic landslide
detection". Its code was never published: the formulas here are a reconstruction from the abstract.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from core.errors import DataError


class HyperPixels(NamedTuple):
    """Cells of a mask (B, h, w): share of landslide pixels, label 1, 0 or -1 (left out), whether a boundary."""

    fraction: Tensor
    label: Tensor
    boundary: Tensor


def hyper_pixels(mask: Tensor, stride: int, *, rho: float = 0.5, ignore: int = 255) -> HyperPixels:
    """Cells of ``stride`` x ``stride`` pixels of a mask.

    A cell is landslide where at least ``rho`` of its valid pixels are, background where none is, and neither
    between the two or without a valid pixel (then its fraction is NaN).

    Args:
        mask: (B, H, W) of 0, 1 and ``ignore``; H and W multiples of ``stride``.

    >>> hyper_pixels(torch.tensor([[[1, 1, 0, 255], [1, 0, 0, 0]]]), 2).label.tolist()
    [[[1, 0]]]
    """
    if mask.shape[1] % stride or mask.shape[2] % stride:
        raise DataError("mask", seen=tuple(mask.shape), expected=f"sides that {stride} divides")
    cells = mask.unfold(1, stride, stride).unfold(2, stride, stride).flatten(3)
    valid, hits = (cells != ignore).sum(3), (cells == 1).sum(3)
    fraction = hits.double() / valid
    label = torch.full_like(hits, -1)
    label[hits == 0] = 0
    label[fraction >= rho] = 1
    label[valid == 0] = -1
    return HyperPixels(fraction, label, (hits > 0) & (hits < valid))


def choose_anchors(
    cells: HyperPixels, count: int, *, distance: int = 2, generator: torch.Generator | None = None
) -> Tensor:
    """Up to ``count`` landslide cells, near boundaries first, and as many background ones, half of them near.

    Returns:
        (A,) indices into the flattened cells (B * h * w).
    """
    near = F.max_pool2d(cells.boundary[:, None].float(), 2 * distance + 1, 1, distance)[:, 0] > 0
    beside = F.max_pool2d(cells.boundary[:, None].float(), 3, 1, 1)[:, 0] > 0
    chance = torch.rand(cells.label.shape, generator=generator).to(cells.label.device)

    def draw(wanted: Tensor, first: Tensor, number: int) -> Tensor:
        ranked = torch.where(wanted, chance + first.float(), -1.0).flatten()
        return ranked.topk(min(number, int(wanted.sum()))).indices

    slides = draw(cells.label == 1, near, count)
    empty = cells.label == 0
    many = max(len(slides), 1)
    hard = draw(empty & beside, beside, many // 2)
    return torch.cat([slides, hard, draw(empty & ~beside, beside, many - len(hard))])


def hpcl_loss(
    anchors: Tensor, labels: Tensor, landslide: Tensor, background: Tensor, *, temperature: float = 0.1
) -> Tensor:
    """Mean over anchors a of mean_p [ log(e^{a.p/t} + sum_n e^{a.n/t}) - a.p/t ].

    p runs over the queue of the anchor's own class, n over the other queue.

    Args:
        anchors: (A, d), any length. labels: (A,) of 1 (landslide) and 0; others are left out.
        landslide, background: (L, d) and (M, d) queued keys; no gradient is sent to them.

    Returns:
        Scalar >= 0; 0 without labelled anchors or with an empty queue.

    >>> a = torch.tensor([[1.0, 0.0]])
    >>> float(hpcl_loss(a, torch.tensor([1]), a, -a)) < 1e-6
    True
    """
    if len(landslide) == 0 or len(background) == 0 or not bool(((labels == 0) | (labels == 1)).any()):
        return anchors.sum() * 0
    own = F.normalize(anchors, dim=1)
    total, count = own.sum() * 0, 0
    for value, positive, negative in ((1, landslide, background), (0, background, landslide)):
        rows = own[labels == value]
        if len(rows):
            like = rows @ F.normalize(positive.detach(), dim=1).to(rows.dtype).T / temperature
            unlike = rows @ F.normalize(negative.detach(), dim=1).to(rows.dtype).T / temperature
            against = unlike.logsumexp(1, keepdim=True)
            total = total + F.softplus(against - like).mean(1).sum()
            count += len(rows)
    return total / count
