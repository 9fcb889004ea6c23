"""Supervised contrastive learning: labels, masks or soft weights say who belongs together."""

from __future__ import annotations

import torch
from torch import Tensor

from core.errors import KindredError
from core.objectives.contrast import Empty, Reduction, contrast
from core.objectives.rows import as_rows


def supcon(
    x: Tensor,
    labels: Tensor | None = None,
    *,
    mask: Tensor | None = None,
    label_weights: str = "cosine",
    temperature: float | Tensor = 0.07,
    base_temperature: float | None = None,
    anchors: str = "all",
    groups: Tensor | None = None,
    empty: Empty = "drop",
    normalize: bool = True,
    reduction: Reduction = "mean",
) -> Tensor:
    """Pulls every sample to all samples that share its label, however many there are.

    Formula:
        L_i = -(t / t_base) sum_{j != i} w_ij [ s_ij - lse_{k != i} s_ik ] / sum_{j != i} w_ij, s = <x_i,
        x_j>/t; w_ij = 1 where the labels are equal, or any weight >= 0 (overlap of label sets, a given mask).

    Use when:
        Labels are known, single or multiple per sample, and the embedding is to be structured by them. One
        positive per sample: `nt_xent` is the same.

    Cost:
        Time 16 R^2 d / 4 for R = N V rows (half of the Gram matrix is mirrored), 8 R^2 d with a mask; label
        vectors of C classes add 2 R^2 C. Memory O(R d + tile).

    Source:
        Khosla et al. 2020, "Supervised contrastive learning", L_out. Verified against numbers of the official
        code and of pytorch-metric-learning 2.9.0.

    Distributed:
        gather.

    Used by:
        ecg_prototypes, eo_pretraining.

    Args:
        x: (N, d), or (N, V, d): V views of each sample, any float dtype.
        labels: (N,) integers, or (N, C) numbers >= 0 (multi-hot). Left out without a mask: views of one
            sample.
        mask: (N, N) bool or float >= 0, w_ij, instead of labels; need not be symmetric.
        label_weights: for (N, C) labels: "cosine", "jaccard", "shared" or "inner".
        temperature: t > 0; may carry gradient.
        base_temperature: t_base; t where left out, so that the factor is 1. The official code has 0.07.
        anchors: "all" views, or "one": only the first view of each sample is an anchor.
        groups: (N,) integers; samples of one group that are not positives are no negatives either.
        empty: what happens to an anchor without positives: "drop" leaves it out of the mean (as
            pytorch-metric-learning does), "zero" counts it as 0 (as the official code does).
        normalize: put rows on the unit sphere.
        reduction: "mean", "sum" or "none": (V N,), view by view.

    Returns:
        Scalar; 0 where no anchor has a positive.

    Raises:
        KindredError: labels and mask together, shapes that do not fit, an unknown word.

    Example:
        >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
        >>> supcon(x, torch.tensor([0, 1, 0]), temperature=1.0)
        tensor(0.3133)
    """
    x = as_rows("x", x, ndim=x.ndim if x.ndim == 3 else 2)
    views = x.shape[1] if x.ndim == 3 else 1
    count = len(x)
    if anchors not in ("all", "one"):
        raise KindredError("anchors", seen=anchors, expected="all or one")
    if labels is not None and mask is not None:
        raise KindredError("labels", seen="labels and mask", expected="one of the two", remedy="drop one")
    rows = x.transpose(0, 1).reshape(views * count, x.shape[-1]) if x.ndim == 3 else x  # view by view
    if labels is None and mask is None:
        labels = torch.arange(count, device=x.device)
    repeated = None if labels is None else labels.repeat(views, *([1] * (labels.ndim - 1)))
    weights = None if mask is None else mask.repeat(views, views)
    groups = None if groups is None else groups.repeat(views)
    whole = anchors == "all" or views == 1
    loss = contrast(
        rows if whole else rows[:count], None if whole else rows,
        positives=weights if whole or weights is None else weights[:count],
        row_labels=repeated if whole or repeated is None else repeated[:count], column_labels=repeated,
        label_weights=label_weights, row_groups=groups if whole or groups is None else groups[:count],
        column_groups=groups, exclude_self=True, scale=1 / temperature, empty=empty, normalize=normalize,
        reduction=reduction,
    )  # fmt: skip
    return loss if base_temperature is None else loss * (temperature / base_temperature)
