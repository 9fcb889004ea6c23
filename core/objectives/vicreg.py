"""VICReg: variance, invariance and covariance regularisation of two views."""

from __future__ import annotations

from torch import Tensor

from core.objectives.barlow_twins import Reduce, batch_moments, off_diagonal_energy, summed
from core.objectives.rows import as_pair, in_full_precision


@in_full_precision
def vicreg(
    x: Tensor,
    y: Tensor,
    *,
    invariance: float = 25.0,
    variance: float = 25.0,
    covariance: float = 1.0,
    epsilon: float = 1e-4,
    reduce: Reduce | None = None,
) -> Tensor:
    """Pulls views together while keeping every dimension alive and uncorrelated.

    Formula:
        L = invariance * mean (x - y)^2
        + variance/2 * sum over both views of mean_k max(0, 1 - sqrt(var_k + epsilon))
        + covariance * sum over both views of 1/d sum_{k != l} cov_kl^2; variances and covariances unbiased.

    Use when:
        No negatives are wanted and the two branches may differ (other widths of encoder, other sensors).

    Cost:
        4 N d^2 (or 4 N^2 d where N < d on one process) forward; memory O(min(d, N)^2 + N d).

    Source:
        Bardes et al. 2022, "VICReg: variance-invariance-covariance regularization for self-supervised
        learning", eqs. 1-6. Verified against numbers of lightly's code.

    Distributed:
        statistic: pass `reduce`; all three terms are then those of the whole batch.

    Used by:
        no pipeline yet.

    Args:
        x: (N, d) one view, any float dtype; not normalised.
        y: (N, d) the other.
        invariance: weight of the mean squared difference.
        variance: weight of the hinge on the standard deviation.
        covariance: weight of the squared covariances.
        epsilon: added to the variance under the root.
        reduce: sums a tensor over ranks, with gradient.

    Returns:
        Scalar >= 0. A batch of 1 has zero variance and covariance: only the hinge and the invariance remain.

    Raises:
        KindredError: shapes differ.

    Example:
        >>> import torch
        >>> round(float(vicreg(torch.ones(4, 3), torch.ones(4, 3))), 4)  # 25 (1 - sqrt(1e-4))
        24.75
    """
    x, y = as_pair("x", x, "y", y)
    width = max(x.shape[1], 1)
    difference = summed((x - y).square().sum(), reduce)
    hinge, energy = x.new_zeros(()), x.new_zeros(())
    for view in (x, y):
        centred, count = batch_moments(view, reduce)
        scaled = centred * (count - 1).clamp_min(1).rsqrt()
        spread = summed(scaled.square().sum(0), reduce)
        hinge = hinge + (1 - (spread + epsilon).sqrt()).clamp_min(0).sum() / width / 2
        energy = energy + off_diagonal_energy(scaled, scaled, spread, reduce) / width
    return invariance * difference / (count * width) + variance * hinge + covariance * energy
