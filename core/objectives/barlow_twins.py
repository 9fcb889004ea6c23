"""Barlow Twins: the cross-correlation of two views should be the identity."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from core.objectives.rows import as_pair, in_full_precision

Reduce = Callable[[Tensor], Tensor]


def batch_moments(x: Tensor, reduce: Reduce | None) -> tuple[Tensor, Tensor]:
    """Centres the columns of `x` over the whole batch (all ranks) and counts its rows.

    Args:
        x: (N, d). reduce: sums a tensor over ranks with gradient, or None.

    Returns:
        (N, d) centred rows; scalar count, at least 1.

    >>> import torch
    >>> batch_moments(torch.tensor([[1.0], [3.0]]), None)
    (tensor([[-1.],
            [ 1.]]), tensor(2.))
    """
    total, count = x.sum(0), x.new_tensor(float(len(x)))
    if reduce is not None:
        total, count = reduce(total), reduce(count)
    count = count.clamp_min(1)
    return x - total / count, count


def summed(x: Tensor, reduce: Reduce | None) -> Tensor:
    """`x` summed over ranks, or `x` itself on a single process.

    >>> import torch
    >>> summed(torch.ones(2), None)
    tensor([1., 1.])
    """
    return x if reduce is None else reduce(x)


def off_diagonal_energy(a: Tensor, b: Tensor, diagonal: Tensor, reduce: Reduce | None) -> Tensor:
    """Sum of the squared off-diagonal entries of a^T b.

    On a single process with fewer rows than columns the d x d matrix is never formed: |a^T b|^2 is the inner
    product of the two N x N Gram matrices.

    Args:
        a: (N, d). b: (N, d). diagonal: (d,) of a^T b over all ranks. reduce: sum over ranks, or None.

    >>> import torch
    >>> off_diagonal_energy(torch.eye(2), torch.ones(2, 2), torch.ones(2), None)
    tensor(2.)
    """
    if reduce is None and len(a) < a.shape[1]:
        return ((a @ a.T) * (b @ b.T)).sum() - diagonal.square().sum()
    return summed(a.T @ b, reduce).square().sum() - diagonal.square().sum()


@in_full_precision
def barlow_twins(
    x: Tensor,
    y: Tensor,
    *,
    redundancy: float = 5e-3,
    epsilon: float = 1e-5,
    reduce: Reduce | None = None,
) -> Tensor:
    """Makes each embedding dimension agree across views and independent of the other dimensions.

    Formula:
        C = normalise(x)^T normalise(y) / N, columns standardised over the batch (biased variance + epsilon);
        L = sum_k (1 - C_kk)^2 + redundancy sum_{k != l} C_kl^2.

    Use when:
        No negatives are wanted and the projector is wide (d >= 2048).

    Cost:
        2 N d^2 (or 4 N^2 d where N < d on one process) forward; memory O(min(d, N)^2 + N d).

    Source:
        Zbontar et al. 2021, "Barlow Twins: self-supervised learning via redundancy reduction", eqs. 1-2.
        Verified against numbers of lightly's code.

    Distributed:
        statistic: pass `reduce`; mean, variance and correlation are then those of the whole batch.

    Used by:
        no pipeline yet.

    Args:
        x: (N, d) one view, any float dtype.
        y: (N, d) the other.
        redundancy: weight of the off-diagonal term, > 0.
        epsilon: added to the variance.
        reduce: sums a tensor over ranks, with gradient.

    Returns:
        Scalar >= 0. A batch of 1 (or equal rows) has zero correlation: the value is d.

    Raises:
        KindredError: shapes differ.

    Example:
        >>> import torch
        >>> barlow_twins(torch.ones(4, 3), torch.ones(4, 3))
        tensor(3.)
    """
    x, y = as_pair("x", x, "y", y)
    (x, count), (y, _) = batch_moments(x, reduce), batch_moments(y, reduce)
    # 1/N is split between the two sides, so that a^T b is the correlation itself
    a = x * (summed(x.square().sum(0), reduce) + count * epsilon).rsqrt()
    b = y * (summed(y.square().sum(0), reduce) + count * epsilon).rsqrt()
    diagonal = summed((a * b).sum(0), reduce)
    return (1 - diagonal).square().sum() + redundancy * off_diagonal_energy(a, b, diagonal, reduce)
