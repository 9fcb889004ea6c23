"""Feature transformation: harder positives by extrapolation, more varied negatives by interpolation."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from core.errors import KindredError
from core.objectives.partition import log_partition
from core.objectives.rows import EMPTY, as_pair, as_rows, in_full_precision, mean_over, unit_rows


def extrapolate(query: Tensor, key: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """Moves the two sides of each positive pair apart along their line: share in [1, 2].

    Args:
        query: (N, d). key: (N, d). share: broadcast to (N, d); 1 changes nothing.

    >>> extrapolate(torch.tensor([[1.0]]), torch.tensor([[0.0]]), torch.tensor(1.5))
    (tensor([[1.5000]]), tensor([[-0.5000]]))
    """
    return share * query + (1 - share) * key, share * key + (1 - share) * query


def interpolate(queue: Tensor, share: Tensor, order: Tensor) -> Tensor:
    """Mixes each stored key with another one: share in [0, 1], `order` a permutation of the queue.

    >>> interpolate(torch.tensor([[0.0], [2.0]]), torch.tensor(0.5), torch.tensor([1, 0]))
    tensor([[1.],
            [1.]])
    """
    return share * queue + (1 - share) * queue[order]


def _beta(shape: torch.Size, concentration: float, generator: torch.Generator | None, like: Tensor) -> Tensor:
    """Beta(c, c) draws as a ratio of gamma draws; `torch.distributions` takes no generator."""
    where = generator.device if generator is not None else like.device
    alpha = torch.full(shape, concentration, device=where)
    a, b = (
        torch._standard_gamma(alpha, generator=generator),
        torch._standard_gamma(alpha, generator=generator),
    )
    return (a / (a + b).clamp_min(1e-30)).to(like)


@in_full_precision
def feature_transform(
    query: Tensor,
    key: Tensor,
    queue: Tensor,
    *,
    temperature: float = 0.2,
    positive_concentration: float = 2.0,
    negative_concentration: float = 1.6,
    positive_share: Tensor | None = None,
    negative_share: Tensor | None = None,
    order: Tensor | None = None,
    generator: torch.Generator | None = None,
    groups: Tensor | None = None,
    queue_groups: Tensor | None = None,
    queue_valid: Tensor | None = None,
    normalize: bool = True,
) -> Tensor:
    """InfoNCE against a queue, positives pushed apart and negatives mixed in feature space.

    Formula:
        q' = l q + (1 - l) k, k' = l k + (1 - l) q, l ~ Beta(2, 2) + 1 a dimension;
        n'_j = m n_j + (1 - m) n_order(j), m ~ Beta(1.6, 1.6) a dimension; not normalised again;
        L_i = -log softmax of <q'_i, k'_i>/t among itself and <q'_i, n'_j>/t.

    Use when:
        A MoCo-style run has positives that became too easy. Leave it off for the first epochs.

    Cost:
        6 N K d time, memory O(K d + tile).

    Source:
        Zhu et al. 2021, "Improving contrastive learning by visualizing feature transformation";
        repository DTennant/CL-Visualizing-Feature-Transformation. Verified against numbers of the official
        code.

    Distributed:
        none: queries meet the queue alone, and the queue is the same on every rank.

    Used by:
        no pipeline yet.

    Args:
        query: (N, d) of the online encoder, any float dtype.
        key: (N, d) of the momentum encoder; no gradient flows to it.
        queue: (K, d) stored keys; no gradient.
        temperature: t > 0.
        positive_concentration: of the Beta of l; 0 < c.
        negative_concentration: of the Beta of m; 0 < c.
        positive_share: l, broadcast to (N, d); drawn where left out.
        negative_share: m, broadcast to (K, d); drawn where left out.
        order: (K,) permutation; drawn where left out.
        generator: source of the draws.
        groups: (N,) integer ids of the queries.
        queue_groups: (K,) integer ids; a mixture that holds an entry of the query's group is left out.
        queue_valid: (K,) bool; a mixture that holds a False entry is left out.
        normalize: put rows on the unit sphere before (not after) the transformation.

    Returns:
        Scalar >= 0; 0 where the queue holds no usable entry.

    Raises:
        KindredError: shapes differ, or only one of `groups` and `queue_groups` is given.

    Example:
        >>> x = torch.eye(4)
        >>> bool(feature_transform(x, x, x.roll(1, 0)) > 0)
        True
    """
    (query, key), queue = as_pair("query", query, "key", key), as_rows("queue", queue)
    if (groups is None) != (queue_groups is None):
        raise KindredError(
            "feature_transform groups",
            expected="both `groups` and `queue_groups`, or neither",
            remedy="store the group of each key beside it in the queue",
        )
    key, queue = key.detach(), queue.detach().to(query.dtype)
    if normalize:
        query, key, queue = unit_rows(query), unit_rows(key), unit_rows(queue)
    if positive_share is None:
        positive_share = _beta(query.shape, positive_concentration, generator, query) + 1
    if negative_share is None:
        negative_share = _beta(queue.shape, negative_concentration, generator, queue)
    if order is None:
        where = generator.device if generator is not None else queue.device
        order = torch.randperm(len(queue), generator=generator, device=where).to(queue.device)
    query, key = extrapolate(query, key, positive_share.to(query.dtype))
    queue = interpolate(queue, negative_share.to(query.dtype), order)
    ids = []
    if groups is not None and queue_groups is not None:
        ids = [(groups, queue_groups), (groups, queue_groups[order])]
    valid = None if queue_valid is None else queue_valid & queue_valid[order]
    negative = log_partition(query / temperature, queue, *ids, valid=valid)
    return mean_over(softplus(negative - (query * key).sum(1) / temperature), negative > EMPTY / 2)
