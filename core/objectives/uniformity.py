"""Uniformity: how evenly embeddings spread over the sphere, within one set and across two."""

from __future__ import annotations

import torch
from torch import Tensor

from core.objectives.partition import left_out, log_partition, partners
from core.objectives.rows import EMPTY, as_pair, as_rows, in_full_precision, unit_rows


def log_sum_kernel(
    x: Tensor, y: Tensor, *, sharpness: float, groups: Tensor | None = None, own: bool = False
) -> tuple[Tensor, Tensor]:
    """Per row: log sum_j exp(-sharpness |x_i - y_j|^2), and how many j are in the sum.

    Args:
        x: (N, d).
        y: (N, d).
        sharpness: > 0.
        groups: (N,) ids: j of the row's group are left out.
        own: whether j = i is in the sum; without effect where `groups` is given.

    Returns:
        (N,) log sums, `EMPTY` where nothing is in the sum; (N,) counts.

    >>> x = torch.zeros(3, 2)
    >>> [t.tolist() for t in log_sum_kernel(x, x, sharpness=2.0)]
    [[0.6931471824645996, 0.6931471824645996, 0.6931471824645996], [2, 2, 2]]
    """
    ones = torch.ones_like(x[:, :1])
    rows = torch.cat(
        [2 * sharpness * x, ones], dim=1
    )  # <row, column> = 2 s <x, y> - s |y|^2, so one GEMM is enough
    columns = torch.cat([y, -sharpness * y.square().sum(1, keepdim=True)], dim=1)
    pairs, period = left_out(groups, x)
    sums = log_partition(rows, columns, *pairs, period=None if own else period)
    sums = torch.where(sums > EMPTY / 2, sums - sharpness * x.square().sum(1), sums)
    if groups is not None:
        return sums, partners(groups, groups)
    return sums, torch.full_like(sums, len(y) - (0 if own else 1), dtype=torch.long)


def log_mean(sums: Tensor, counts: Tensor) -> Tensor:
    """Log of the mean over all pairs, from the log sums and counts of rows; 0 where there is no pair.

    >>> log_mean(torch.zeros(2), torch.tensor([1, 1]))
    tensor(0.)
    """
    pairs = counts.sum()
    return torch.where(pairs > 0, torch.logsumexp(sums, 0) - pairs.clamp_min(1).to(sums.dtype).log(), 0.0)


@in_full_precision
def uniformity(
    x: Tensor, *, sharpness: float = 2.0, groups: Tensor | None = None, normalize: bool = True
) -> Tensor:
    """Log of the mean Gaussian potential between rows: the lower, the more evenly they spread.

    Formula:
        L = log mean_{i < j} exp(-sharpness |x_i - x_j|^2), on unit rows.

    Use when:
        You want the push of a contrastive loss alone, or a number that shows collapse (0 means that all
        rows are equal).

    Cost:
        6 N^2 d time (one Gram matrix and its gradient).

    Source:
        Wang and Isola 2020, "Understanding contrastive representation learning through alignment and
        uniformity on the hypersphere". Verified against a transcription of the public code.

    Distributed:
        gather: pairs across ranks count, and the log is taken of the mean over all of them.

    Used by:
        diagnostics of every pipeline.

    Args:
        x: (N, d) embeddings, any float dtype.
        sharpness: the t of the paper, > 0.
        groups: (N,) integer ids; pairs of one group (patient, scene, duplicate) are left out.
        normalize: put rows on the unit sphere first.

    Returns:
        Scalar <= 0; 0 where no pair is left (batch of 1, one group).

    Raises:
        KindredError: `x` is not (N, d) floating or `groups` not (N,) integers.

    Example:
        >>> uniformity(torch.ones(4, 3))
        tensor(0.)
    """
    x = as_rows("x", x)
    x = unit_rows(x) if normalize else x
    return log_mean(*log_sum_kernel(x, x, sharpness=sharpness, groups=groups))


@in_full_precision
def cross_uniformity(
    x: Tensor, y: Tensor, *, sharpness: float = 2.0, groups: Tensor | None = None, normalize: bool = True
) -> Tensor:
    """Log of the mean Gaussian potential between the rows of one modality and the other's non-partners.

    Formula:
        L = log mean_{i != j} exp(-sharpness |x_i - y_j|^2), on unit rows.

    Use when:
        The gap between two modalities hurts retrieval: pushes non-partners of different modalities apart
        (term XU of `contrastive_gap`).

    Cost:
        6 N^2 d time.

    Source:
        "It's Not a Modality Gap: characterizing and addressing the contrastive gap", term XU. Verified
        against a transcription of the public code.

    Distributed:
        gather.

    Used by:
        diagnostics; the X-ray, ECG and report pipeline as an option.

    Args:
        x: (N, d) one modality.
        y: (N, d) the other; row i is the partner of x's row i.
        sharpness: > 0.
        groups: (N,) integer ids; pairs of one group are left out.
        normalize: put rows on the unit sphere first.

    Returns:
        Scalar <= 0; 0 where no pair is left.

    Raises:
        KindredError: shapes differ, or `groups` is not (N,) integers.

    Example:
        >>> cross_uniformity(torch.ones(4, 3), torch.ones(4, 3))
        tensor(0.)
    """
    x, y = as_pair("x", x, "y", y)
    if normalize:
        x, y = unit_rows(x), unit_rows(y)
    return log_mean(*log_sum_kernel(x, y, sharpness=sharpness, groups=groups))
