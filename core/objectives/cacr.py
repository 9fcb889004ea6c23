"""Contrastive attraction and repulsion (CACR): the far positive and the near negative count most."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from core.objectives.partition import in_row_tiles
from core.objectives.rows import EMPTY, as_stack, ids_or_rows, in_full_precision, mean_over, unit_rows


def _repulsion(x: Tensor, ids: Tensor, y: Tensor, y_ids: Tensor, sharpness: float) -> Tensor:
    cost = x.square().sum(1)[:, None] + y.square().sum(1)[None, :] - 2 * (x @ y.T)
    apart = ids[:, None] != y_ids[None, :]
    weight = (-sharpness * cost).masked_fill(~apart, EMPTY).softmax(1) * apart
    return (weight * cost).sum(1)


@in_full_precision
def cacr(
    views: Tensor | Sequence[Tensor],
    *,
    attraction_sharpness: float = 1.0,
    repulsion_sharpness: float = 2.0,
    attraction: float = 1.0,
    repulsion: float = 1.0,
    groups: Tensor | None = None,
    normalize: bool = True,
) -> Tensor:
    """Pulls each query to its farthest positives and pushes it from its nearest negatives.

    Formula:
        c(x, y) = |x - y|^2;
        CA = mean over queries of sum_k softmax_k(t+ c(x, y_k)) c(x, y_k) over the other views y_k of the
        sample; CR = -mean over samples and view pairs l < m of sum_{j != i} softmax_j(-t- c(x_il, x_jm))
        c(x_il, x_jm); L = attraction CA + repulsion CR. The weights carry gradient.

    Use when:
        Several positives a sample are at hand (the paper draws 4): with two views the attraction has one
        positive and reduces to alignment.

    Cost:
        V (V - 1) / 2 Gram matrices: 3 V (V - 1) N^2 d time, memory O(V N d + tile).

    Source:
        Zheng et al. 2021, "Contrastive attraction and contrastive repulsion for representation learning",
        Euclidean cost. Verified against numbers of the official small-scale code.

    Distributed:
        gather.

    Used by:
        no pipeline yet.

    Args:
        views: (V, N, d) or a list of V tensors (N, d), V >= 2.
        attraction_sharpness: t+ >= 0; 0 weighs positives evenly.
        repulsion_sharpness: t- >= 0; 0 weighs negatives evenly.
        attraction: weight of CA.
        repulsion: weight of CR.
        groups: (N,) integer ids; samples of one group are no negatives of each other.
        normalize: put rows on the unit sphere first.

    Returns:
        Scalar; with unit rows within [-4 repulsion, 4 attraction]. Without any negative CR is 0.

    Raises:
        KindredError: fewer than two views, or shapes differ.

    Example:
        >>> eye = torch.eye(3)
        >>> cacr([eye, eye])
        tensor(-2.)
    """
    stack = as_stack("views", views)
    stack = unit_rows(stack) if normalize else stack
    count, samples, _ = stack.shape
    ids = ids_or_rows(groups, stack[0])
    pull = stack.new_zeros(())
    for query in range(count):
        others = torch.cat([stack[:query], stack[query + 1 :]])
        cost = (others - stack[query]).square().sum(-1)
        weight = (attraction_sharpness * cost).softmax(0)
        pull = pull + (weight * cost).sum() / (count * max(samples, 1))
    push = stack.new_zeros(())
    has_negative = (ids[:, None] != ids[None, :]).any(1) if samples else ids.bool()
    for first in range(count):
        for second in range(first + 1, count):
            rows = in_row_tiles(
                lambda x, i, y, j: _repulsion(x, i, y, j, repulsion_sharpness),
                [stack[first], ids],
                [stack[second], ids],
                width=samples,
            )
            push = push - mean_over(rows, has_negative)
    return attraction * pull + repulsion * push / (count * (count - 1) / 2)
