"""CWCL: the similarity of a frozen modality says how much each pair belongs together."""

from __future__ import annotations

import torch
from torch import Tensor

from core.objectives.contrast import contrast
from core.objectives.rows import as_pair, as_rows, in_full_precision, unit_rows
from core.objectives.targets import expect_shape


@in_full_precision
def cwcl(
    x: Tensor,
    y: Tensor,
    reference: Tensor | None = None,
    *,
    scale: float | Tensor = 1 / 0.07,
    both_ways: bool = False,
    groups: Tensor | None = None,
    normalize: bool = True,
) -> Tensor:
    """Pulls each row of a frozen tower to all rows of a new modality, as much as their frozen features agree.

    Formula:
        w_ij = (1 + <f_i, f_j>) / 2, f = unit rows of `reference`;
        L = -1/N sum_i sum_j w_ij log softmax_j(a <x_i, y_j>) / sum_j w_ij - 1/N sum_j log softmax_i(a <x_i,
        y_j>)_j: weighted from the frozen side, plain InfoNCE back. Sum of the directions, not mean.

    Use when:
        One tower (text, images) is pre-trained and frozen and another modality (audio, ECG) is to join its
        space: a pair's neighbours in the frozen space are no longer treated as negatives.

    Cost:
        Time 8 N^2 d + 4 N d D for references of width D: the weights have rank D + 1, so the pull needs no N
        x N product; memory O(N (d + D) + tile).

    Source:
        Srinivasa et al. 2023, "CWCL: cross-modal transfer with continuously weighted contrastive loss".
        Verified against numbers of CellCLIP's implementation; no code of the authors was found.

    Distributed:
        gather.

    Used by:
        audio_temporal.

    Args:
        x: (N, d) of the frozen tower, any float dtype.
        y: (N, d) of the tower that is trained.
        reference: (N, D) features that say how alike samples are; x where left out. No gradient flows to
            them.
        scale: a = 1 / temperature, > 0; may carry gradient.
        both_ways: weigh the way back too.
        groups: (N,) integers; samples of one group are no negatives of each other on the way back. Weighted
            directions leave nothing out: there every column is a positive, as far as it is alike.
        normalize: put rows of x and y on the unit sphere.

    Returns:
        Scalar >= 0; 0 for a single sample.

    Raises:
        KindredError: shapes differ.

    Example:
        >>> cwcl(torch.eye(2), torch.eye(2), scale=1.0)
        tensor(0.9599)
    """
    x, y = as_pair("x", x, "y", y)
    reference = (x if reference is None else as_rows("reference", reference)).detach().to(x.dtype)
    expect_shape("reference", reference, (len(x), reference.shape[-1]))
    if len(x) < 2:
        return 0 * (x.sum() + y.sum())
    if normalize:
        x, y = unit_rows(x), unit_rows(y)
    features = unit_rows(reference)
    features = torch.cat([features, torch.ones_like(features[:, :1])], dim=1)  # <f_i, f_j> + 1 = 2 w_ij
    mass = (features @ features.sum(0)).clamp_min(torch.finfo(x.dtype).tiny)
    pull_x = features @ (features.T @ y) / mass[:, None]
    none = torch.zeros_like(mass)  # of the weighted direction the kernel solves the push alone
    if groups is None and not both_ways:
        push = 2 * contrast(
            x, y, scale=scale, positive_weight=none, normalize=False, symmetric=True, reduction="sum"
        )
        pull = x * pull_x
    else:
        push = contrast(x, y, scale=scale, positive_weight=none, normalize=False, reduction="sum") + contrast(
            y, x, scale=scale, positive_weight=none if both_ways else None, normalize=False, reduction="sum",
            row_groups=None if both_ways else groups,
        )  # fmt: skip
        pull = x * pull_x
        if both_ways:
            pull = pull + y * (features @ (features.T @ x) / mass[:, None])
    return (push - (scale * pull).sum()) / len(x)
