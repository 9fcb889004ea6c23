"""MoCHi: harder negatives mixed from the hardest ones in the queue."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus

from core.errors import KindredError
from core.objectives.rows import EMPTY, as_pair, as_rows, in_full_precision, mean_over, unit_rows


class Mixing(NamedTuple):
    """Which hard negatives are mixed and how much.

    first, second: (N, s) places in the list of hard negatives (0 = hardest), mixed as alpha : 1 - alpha.
    alpha: (N, s) in (0, 1).
    third: (N, s') places mixed with the query. beta: (N, s') in (0, 0.5), the query's share.
    """

    first: Tensor
    second: Tensor
    alpha: Tensor
    third: Tensor
    beta: Tensor


def draw_mixing(
    rows: int,
    hard: int,
    *,
    synthetic: int,
    harder: int,
    generator: torch.Generator | None = None,
    device: torch.device | str = "cpu",
) -> Mixing:
    """Draws a `Mixing` for `rows` queries out of `hard` negatives each.

    >>> draw_mixing(2, 8, synthetic=4, harder=3).beta.shape
    torch.Size([2, 3])
    """
    where = generator.device if generator is not None else device

    def places(count: int) -> Tensor:
        return torch.randint(hard, (rows, count), generator=generator, device=where).to(device)

    def shares(count: int) -> Tensor:
        return torch.rand(rows, count, generator=generator, device=where).to(device)

    return Mixing(places(synthetic), places(synthetic), shares(synthetic), places(harder), shares(harder) / 2)


def _pair_products(queue: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """<queue[first], queue[second]> entry by entry, in slices of 16 rows so that (N, s, d) never exists."""
    tiles = zip(first.split(16), second.split(16), strict=True)
    return torch.cat([(queue[a] * queue[b]).sum(-1) for a, b in tiles])


def mochi_logits(
    query: Tensor, queue: Tensor, mixing: Mixing, *, hard: int, usable: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Cosines of unit queries with the queue, with the s mixed negatives and with the s' harder ones.

    The mixed vectors are never formed: a cosine with norm(a u + b v) is (a <q,u> + b <q,v>) / |a u + b v|.
    They carry no gradient; the query does.

    Args:
        query: (N, d). queue: (K, d), no gradient. mixing: see `Mixing`. Unit rows give cosines.
        hard: length of the list of hardest negatives, at most K.
        usable: (N, K) bool, queue entries that may be negatives; others give `EMPTY`.

    Returns:
        (N, K), (N, s), (N, s').

    >>> mixing = draw_mixing(1, 2, synthetic=3, harder=1)
    >>> [tuple(x.shape) for x in mochi_logits(torch.eye(1, 2), torch.eye(4, 2), mixing, hard=2)]
    [(1, 4), (1, 3), (1, 1)]
    """
    cosine = query @ queue.T
    mixing = mixing._replace(alpha=mixing.alpha.to(cosine), beta=mixing.beta.to(cosine))
    if usable is not None:
        cosine = cosine.masked_fill(~usable, EMPTY)
    place = cosine.detach().topk(hard, dim=1).indices
    near = cosine.gather(1, place)  # of the query with its hard negatives, hardest first
    real = near.detach() > EMPTY / 2

    def mix(own: Tensor, other: Tensor, share: Tensor, square: Tensor, keep: Tensor) -> Tensor:
        length = square.clamp_min(torch.finfo(square.dtype).eps).sqrt()
        return torch.where(keep, (share * own + (1 - share) * other) / length, EMPTY)

    def square(own: Tensor, other: Tensor, product: Tensor, share: Tensor) -> Tensor:
        return share**2 * own + (1 - share) ** 2 * other + 2 * share * (1 - share) * product

    with torch.no_grad():  # mixtures carry no gradient, so neither do their lengths
        size = queue.square().sum(1)[place]
        first, second, third = (size.gather(1, at) for at in (mixing.first, mixing.second, mixing.third))
        product = _pair_products(queue, place.gather(1, mixing.first), place.gather(1, mixing.second))
        soft = square(first, second, product, mixing.alpha)
        own = query.square().sum(1, keepdim=True)
        sharp = square(own, third, near.gather(1, mixing.third), mixing.beta)
    synthetic = mix(
        near.gather(1, mixing.first),
        near.gather(1, mixing.second),
        mixing.alpha,
        soft,
        real.gather(1, mixing.first) & real.gather(1, mixing.second),
    )
    itself = (query * query.detach()).sum(1, keepdim=True)  # the query as a constant vector, times the query
    harder = mix(itself, near.gather(1, mixing.third), mixing.beta, sharp, real.gather(1, mixing.third))
    return cosine, synthetic, harder


@in_full_precision
def mochi(
    query: Tensor,
    key: Tensor,
    queue: Tensor,
    *,
    temperature: float = 0.2,
    hard: int = 1024,
    synthetic: int = 1024,
    harder: int = 128,
    mixing: Mixing | None = None,
    generator: torch.Generator | None = None,
    groups: Tensor | None = None,
    queue_groups: Tensor | None = None,
    queue_valid: Tensor | None = None,
    normalize: bool = True,
) -> Tensor:
    """InfoNCE against a queue, with synthetic negatives that lie nearer the query than any stored one.

    Formula:
        L_i = -log softmax of <q_i, k_i>/t among itself, the queue, `synthetic` h = norm(a n_u + (1 - a) n_v)
        and `harder` h' = norm(b q + (1 - b) n_w), where n_. are the `hard` nearest queue entries, a ~ U(0,
        1), b ~ U(0, 0.5). Mixtures carry no gradient.

    Use when:
        A MoCo-style queue holds mostly easy negatives. Leave it off for the first tenth of training.

    Cost:
        6 N K d time, plus N (s + s') d for the mixtures; memory O(N (K + s + s')).

    Source:
        Kalantidis et al. 2020, "Hard negative mixing for contrastive learning". Verified against
        numbers of an unofficial implementation only (no official code is public).

    Distributed:
        none: queries meet the queue alone, and the queue is the same on every rank.

    Used by:
        no pipeline yet.

    Args:
        query: (N, d) of the online encoder, any float dtype.
        key: (N, d) of the momentum encoder; no gradient flows to it.
        queue: (K, d) stored keys; no gradient.
        temperature: t > 0.
        hard: number of hardest entries mixtures are drawn from; cut to K.
        synthetic: mixtures of two stored entries a query.
        harder: mixtures with the query itself a query.
        mixing: the draws; made from `generator` where left out.
        generator: source of the draws.
        groups: (N,) integer ids of the queries.
        queue_groups: (K,) integer ids; entries of the query's group are no negatives.
        queue_valid: (K,) bool; False entries (not filled yet) are left out.
        normalize: put rows on the unit sphere first.

    Returns:
        Scalar >= 0; 0 where the queue holds no usable entry.

    Raises:
        KindredError: shapes differ, or only one of `groups` and `queue_groups` is given.

    Example:
        >>> x = torch.eye(4)
        >>> loss = mochi(x, x, x.roll(1, 0), hard=3, synthetic=2, harder=1)
        >>> bool(loss > 0)
        True
    """
    (query, key), queue = as_pair("query", query, "key", key), as_rows("queue", queue)
    if (groups is None) != (queue_groups is None):
        raise KindredError(
            "mochi groups",
            expected="both `groups` and `queue_groups`, or neither",
            remedy="store the group of each key beside it in the queue",
        )
    key, queue = key.detach(), queue.detach().to(query.dtype)
    if normalize:
        query, key, queue = unit_rows(query), unit_rows(key), unit_rows(queue)
    hard = min(hard, len(queue))
    if mixing is None:
        mixing = draw_mixing(
            len(query), hard, synthetic=synthetic, harder=harder, generator=generator, device=query.device
        )
    usable = None if queue_valid is None else queue_valid[None, :].expand(len(query), -1)
    if groups is not None and queue_groups is not None:
        apart = groups[:, None] != queue_groups[None, :]
        usable = apart if usable is None else usable & apart
    logits = torch.cat(mochi_logits(query, queue, mixing, hard=hard, usable=usable), dim=1)
    logits = torch.where(logits > EMPTY / 2, logits / temperature, EMPTY)
    negative = logits.logsumexp(1)
    return mean_over(softplus(negative - (query * key).sum(1) / temperature), negative > EMPTY / 2)
