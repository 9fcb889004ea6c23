"""SepCLR: separate what patients share with controls from what is salient in patients."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from core.objectives.partition import in_row_tiles
from core.objectives.rows import as_rows, in_full_precision, mean_over, unit_rows
from core.objectives.uniformity import log_mean, log_sum_kernel


@in_full_precision
def joint_entropy(common: Tensor, salient: Tensor, *, bandwidth: float = 0.5) -> Tensor:
    """Kernel estimate of minus the joint entropy of two factors; low when their pairs spread.

    Formula:
        L = mean_i log mean_j k(c_i, c_j) k(s_i, s_j), k(a, b) = exp(-|a - b|^2 / (2 bandwidth)), j = i
        included.

    Use when:
        Two parts of an embedding must not be functions of each other (the k-JEM term of SepCLR).

    Cost:
        6 N^2 (d_c + d_s) time.

    Source:
        Louiset et al. 2024, "Separating common from salient patterns with contrastive representation
        learning", k-JEM; repository neurospin-projects/2024_rlouiset_sep_clr. Verified against numbers of the
        official code.

    Distributed:
        gather.

    Used by:
        no pipeline yet.

    Args:
        common: (N, d_c), any float dtype; not normalised here.
        salient: (N, d_s).
        bandwidth: tau > 0.

    Returns:
        Scalar in [-log N, 0]; 0 for a batch of 1.

    Raises:
        KindredError: not two (N, width) tensors of one N.

    Example:
        >>> joint_entropy(torch.ones(4, 2), torch.ones(4, 3))
        tensor(0.)
    """
    common, salient = as_rows("common", common), as_rows("salient", salient)
    both = torch.cat(
        [common, salient.to(common.dtype)], dim=1
    )  # the product of the kernels is the kernel of both
    sums, counts = log_sum_kernel(both, both, sharpness=1 / (2 * bandwidth), own=True)
    return (sums - counts.clamp_min(1).to(sums.dtype).log()).sum() / max(len(both), 1)


def _label_pull(
    x: Tensor, y: Tensor, own: Tensor, columns: Tensor, labels: Tensor, all_own: Tensor, sharpness: Tensor
) -> Tensor:
    distance = x.square().sum(1)[:, None] + columns.square().sum(1)[None, :] - 2 * (x @ columns.T)
    near = (-sharpness * (y[:, None] - labels[None, :]).square()).exp()
    return (near * distance * (own[:, None] != all_own[None, :])).sum(1)


@in_full_precision
def label_alignment(x: Tensor, labels: Tensor, *, bandwidth: float = 0.025) -> Tensor:
    """Pulls embeddings together in the measure in which their labels are near.

    Formula:
        L = mean_{i < j} exp(-(y_i - y_j)^2 / (2 bandwidth)) |x_i - x_j|^2.

    Use when:
        A factor of the salient part is known (an attribute, a score) and should live on its own axis.

    Cost:
        6 N^2 d time, memory O(N d + tile).

    Source:
        The published code of SepCLR (supervised disentangling experiment); repository
        neurospin-projects/2024_rlouiset_sep_clr. Verified against numbers of the official code.

    Distributed:
        gather.

    Used by:
        no pipeline yet.

    Args:
        x: (N, d) or (N,) embeddings, any float dtype; not normalised.
        labels: (N,) numbers, usually scaled to [0, 1].
        bandwidth: tau > 0, in squared units of the labels.

    Returns:
        Scalar >= 0; 0 for a batch of 1.

    Raises:
        KindredError: `x` is not floating.

    Example:
        >>> label_alignment(torch.tensor([0.0, 2.0]), torch.tensor([1.0, 1.0]))
        tensor(4.)
    """
    x = as_rows("x", x if x.ndim == 2 else x[:, None])
    y, own = labels.detach().reshape(-1).to(x.dtype), torch.arange(len(x), device=x.device)
    sharpness = x.new_tensor(1 / (2 * bandwidth))
    each = in_row_tiles(_label_pull, [x, y, own], [x, y, own, sharpness], width=len(x))
    return each.sum() / max(len(x) * (len(x) - 1), 1)


class Separation(NamedTuple):
    """The terms of `sepclr`, each a scalar, and their weighted sum."""

    total: Tensor
    common: Tensor
    salient: Tensor
    background: Tensor
    independence: Tensor


def _spread(x: Tensor, bandwidth: float, groups: Tensor | None) -> Tensor:
    return log_mean(*log_sum_kernel(x, x, sharpness=1 / (2 * bandwidth), groups=groups))


@in_full_precision
def sepclr(
    common: tuple[Tensor, Tensor],
    salient: tuple[Tensor, Tensor],
    is_target: Tensor,
    *,
    bandwidth: float = 0.5,
    uniformity_weight: float = 2.0,
    salient_weight: float = 1.0,
    background_weight: float = 10.0,
    independence_weight: float = 10.0,
    groups: Tensor | None = None,
) -> Separation:
    """Two contrastive spaces: one common to all samples, one that is informative for targets (patients) only.

    Formula:
        align(a, b) = mean |a - b|^2 / (2 tau), uniform(a) = log mean_{i<j} exp(-|a_i - a_j|^2 / (2 tau));
        common = align(c1, c2) + w (uniform(c1) + uniform(c2)) / 2 on unit rows of all samples;
        salient = align over targets + w (uniform(s1') + uniform(s2')) / 2, where s' = s for targets, 0 for
        background; background = mean |s|^2 / (2 tau) over background; independence = `joint_entropy`(c, s');
        total = common + salient_weight salient + background_weight background + independence_weight
        independence.

    Use when:
        Controls and patients are at hand and the question is what distinguishes patients.

    Cost:
        six Gram matrices: 36 N^2 d time.

    Source:
        Louiset et al. 2024, "Separating common from salient patterns with contrastive representation
        learning"; repository neurospin-projects/2024_rlouiset_sep_clr. Its terms are verified against numbers
        of the official code; their sum follows the published training script (read, not run).

    Distributed:
        gather (both factors, `is_target`, groups).

    Used by:
        no pipeline yet; fits patients-against-controls studies.

    Args:
        common: two views (N, d_c); normalised here.
        salient: two views (N, d_s); not normalised.
        is_target: (N,) bool, True for patients.
        bandwidth: tau > 0.
        uniformity_weight: w.
        salient_weight: published 1 to 1000.
        background_weight: published 10 to 1000.
        independence_weight: published 10.
        groups: (N,) integer ids; pairs of one group are left out of the uniformity terms.

    Returns:
        `Separation`; a term without samples is 0.

    Raises:
        KindredError: shapes differ.

    Example:
        >>> x = torch.ones(4, 2)
        >>> sepclr((x, x), (x, x), torch.ones(4, dtype=torch.bool)).common
        tensor(0.)
    """
    c = [unit_rows(as_rows("common", view, like=common[0])) for view in common]
    s = [as_rows("salient", view, like=salient[0]) for view in salient]
    shown = [torch.where(is_target[:, None], view, 0.0) for view in s]
    scale = 1 / (2 * bandwidth)
    rows = max(len(c[0]), 1)
    pull = scale * (c[0] - c[1]).square().sum() / rows
    common_term = (
        pull + uniformity_weight * (_spread(c[0], bandwidth, groups) + _spread(c[1], bandwidth, groups)) / 2
    )
    pull = scale * mean_over((s[0] - s[1]).square().sum(1), is_target)
    salient_term = (
        pull
        + uniformity_weight
        * (_spread(shown[0], bandwidth, groups) + _spread(shown[1], bandwidth, groups))
        / 2
    )
    background = sum(scale * mean_over(view.square().sum(1), ~is_target) for view in s) / 2
    independence = sum(joint_entropy(a, b, bandwidth=bandwidth) for a, b in zip(c, shown)) / 2
    total = (
        common_term
        + salient_weight * salient_term
        + background_weight * background
        + independence_weight * independence
    )
    return Separation(
        total, common_term, salient_term, torch.as_tensor(background), torch.as_tensor(independence)
    )
