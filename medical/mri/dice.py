"""Overlap of segmentations: the soft Dice loss of fine-tuning, and the Dice score of a volume."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import log_softmax, one_hot

from core.objectives.rows import in_full_precision

EPSILON = 1e-10


@in_full_precision
def dice_loss(logits: Tensor, target: Tensor, *, background: bool = True) -> Tensor:
    """1 - mean over (slice, class) of 2 sum(p y) / (sum p + sum y + 1e-10), p the softmax of the logits.

    Args:
        logits: (B, C, H, W), any float dtype.
        target: (B, H, W) int64 classes, or (B, C, H, W) class probabilities (of Mixup).
        background: whether class 0 counts.

    Returns:
        Scalar in [0, 1].

    >>> round(float(dice_loss(torch.zeros(1, 2, 1, 2), torch.tensor([[[0, 1]]]))), 4)
    0.5
    """
    share = logits.float().softmax(1) if logits.dtype != torch.float64 else logits.softmax(1)
    truth = one_hot(target, logits.shape[1]).permute(0, 3, 1, 2) if target.ndim == 3 else target
    share, truth = share.flatten(2), truth.to(share.dtype).flatten(2)
    if not background:
        share, truth = share[:, 1:], truth[:, 1:]
    overlap = 2 * (share * truth).sum(2) / (share.sum(2) + truth.sum(2) + EPSILON)
    return 1 - overlap.mean()


@in_full_precision
def dice_ce_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Balanced cross-entropy + 1 - mean over structures of the soft Dice of the whole batch.

    A pixel of class k weighs 1 / sqrt(pixels of class k in the batch). Where structures are small or absent from
    many slices the Dice of single slices (`dice_loss`) has next to no gradient for them, and with plain
    cross-entropy a short training ends with background everywhere; with the weights structures are found early.

    Args and shapes as in `dice_loss`.

    >>> round(float(dice_ce_loss(torch.zeros(1, 2, 1, 2), torch.tensor([[[0, 1]]]))), 4)  # log 2 + 1/2
    1.1931
    """
    logits = logits.float() if logits.dtype != torch.float64 else logits
    log_share = log_softmax(logits, 1)
    truth = one_hot(target, logits.shape[1]).permute(0, 3, 1, 2) if target.ndim == 3 else target
    truth = truth.to(log_share.dtype)
    share = log_share.exp()
    overlap = 2 * (share * truth).sum((0, 2, 3)) / (share.sum((0, 2, 3)) + truth.sum((0, 2, 3)) + EPSILON)
    weighted = truth * truth.sum((0, 2, 3), keepdim=True).clamp_min(1).rsqrt()
    return 1 - overlap[1:].mean() - (weighted * log_share).sum() / weighted.sum()


def dice_scores(truth: Any, found: Any, classes: int) -> np.ndarray:
    """Dice of each structure over a whole volume: (classes - 1,) float64.

    NaN where a structure is absent from both (it is to be left out and counted), 0 where it is absent from
    one only.

    Args:
        truth, found: integer arrays of one shape, values 0 .. classes - 1.
        classes: with the background.

    >>> dice_scores([0, 1, 1], [0, 1, 0], 3)
    array([0.66666667,        nan])
    """
    a, b = np.asarray(truth).ravel(), np.asarray(found).ravel()
    both = np.bincount(a[a == b], minlength=classes)[1:classes].astype(np.float64)
    sizes = (np.bincount(a, minlength=classes) + np.bincount(b, minlength=classes))[1:classes]
    return np.where(sizes > 0, 2 * both / np.maximum(sizes, 1), np.nan)
