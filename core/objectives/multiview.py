"""Objectives for more than two views of a sample: MV-InfoNCE and MV-DHEL, in the log domain."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from core.objectives.partition import left_out, log_partition
from core.objectives.rows import EMPTY, as_stack, in_full_precision, mean_over, unit_rows


def _positives(stack: Tensor, temperature: float) -> Tensor:
    """(N,) log sum over view pairs l < m of exp(s(i,l; i,m) / t)."""
    count = len(stack)
    by_sample = stack.transpose(0, 1)
    similarity = by_sample @ by_sample.transpose(1, 2) / temperature
    first, second = torch.triu_indices(count, count, 1, device=stack.device)
    return similarity[:, first, second].logsumexp(1)


@in_full_precision
def mv_infonce(
    views: Tensor | Sequence[Tensor],
    *,
    temperature: float = 0.2,
    groups: Tensor | None = None,
    normalize: bool = True,
) -> Tensor:
    """InfoNCE over all views at once: one softmax a sample that holds every interaction between views.

    Formula:
        L = -1/N sum_i log [ 2 sum_{l < m} exp(s(i,l; i,m)/t) / sum_l sum_{(j,m) != (i,l)} exp(s(i,l; j,m)/t)
        ].

    Use when:
        A sample has three or more views (slices, seasons, crops, time points) and pairwise averaging would
        count each negative many times.

    Cost:
        6 (V N)^2 d time, memory O(V N d + tile).

    Source:
        Koromilas et al., "A principled framework for multi-view contrastive learning", MV-InfoNCE; repository
        pakoromilas/Multi-View-CL. Verified against numbers of the official code (which overflows at t = 0.01;
        this one does not).

    Distributed:
        gather.

    Used by:
        planned for eo_pretraining (four seasons a place).

    Args:
        views: (V, N, d) or a list of V tensors (N, d), V >= 2.
        temperature: t > 0.
        groups: (N,) integer ids; other samples of the group are left out of the denominator.
        normalize: put rows on the unit sphere first.

    Returns:
        Scalar >= 0; samples without any negative are left out of the mean, and 0 where none is left.

    Raises:
        KindredError: fewer than two views, or shapes differ.

    Example:
        >>> eye = torch.eye(2)
        >>> round(float(mv_infonce([eye, eye, eye], temperature=1.0)), 4)
        0.4394
    """
    stack = as_stack("views", views)
    stack = unit_rows(stack) if normalize else stack
    flat, views_count = stack.flatten(0, 1), len(stack)
    pairs, period = left_out(groups, stack[0], row_copies=views_count, column_copies=views_count)
    apart = log_partition(flat / temperature, flat, *pairs, period=period)
    apart = apart.view(views_count, -1).logsumexp(0)
    # the denominator is the numerator plus the pairs of different samples, so the ratio is a softplus
    return mean_over(
        torch.nn.functional.softplus(apart - _positives(stack, temperature) - _LOG2), apart > EMPTY / 2
    )


_LOG2 = 0.6931471805599453


@in_full_precision
def mv_dhel(
    views: Tensor | Sequence[Tensor],
    *,
    temperature: float = 0.2,
    groups: Tensor | None = None,
    normalize: bool = True,
) -> Tensor:
    """Decoupled multi-view objective: alignment of all views together, uniformity of each view by itself.

    Formula:
        L = -1/N sum_i [ log sum_{l < m} exp(s(i,l; i,m)/t) - sum_l log sum_{j != i} exp(s(i,l; j,l)/t) ].

    Use when:
        Many views: V times cheaper than `mv_infonce`, and it does not collapse dimensions as V grows.

    Cost:
        6 V N^2 d time, memory O(V N d + tile).

    Source:
        Koromilas et al., "A principled framework for multi-view contrastive learning", MV-DHEL; repository
        pakoromilas/Multi-View-CL. Verified against numbers of the official code.

    Distributed:
        gather.

    Used by:
        planned for eo_pretraining (four seasons a place).

    Args:
        views: (V, N, d) or a list of V tensors (N, d), V >= 2.
        temperature: t > 0.
        groups: (N,) integer ids; samples of one group are no negatives of each other.
        normalize: put rows on the unit sphere first.

    Returns:
        Scalar of either sign; samples without any negative are left out of the mean, and 0 where none is
        left.

    Raises:
        KindredError: fewer than two views, or shapes differ.

    Example:
        >>> eye = torch.eye(2)
        >>> mv_dhel([eye, eye], temperature=1.0)
        tensor(-1.)
    """
    stack = as_stack("views", views)
    stack = unit_rows(stack) if normalize else stack
    pairs, period = left_out(groups, stack[0])
    apart = torch.stack([log_partition(view / temperature, view, *pairs, period=period) for view in stack])
    return mean_over(apart.sum(0) - _positives(stack, temperature), (apart > EMPTY / 2).all(0))
