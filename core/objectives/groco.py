"""GroCo: positives and hard negatives, sorted by a differentiable network, must form two groups."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from core.errors import KindredError
from core.objectives.rows import EMPTY, as_stack, ids_or_rows, in_full_precision, mean_over, unit_rows


def sorted_share(values: Tensor, top: int, *, steepness: float = 1.0) -> Tensor:
    """How much of each value ends among the `top` largest when values are sorted softly, in [0, 1].

    An odd-even network of n layers compares neighbours; a pair (a, b) keeps its order with share
    atan(steepness (b - a)) / pi + 1/2. The n x n permutation matrix is never formed: the layers are applied
    backwards to the indicator of the top places, which costs n instead of n^2 a layer.

    Args:
        values: (N, n). top: number of top places, 0 to n. steepness: > 0; large approaches hard sorting.

    Returns:
        (N, n); each row sums to `top`.

    >>> sorted_share(torch.tensor([[0.0, 100.0, -100.0]]), 1).round(decimals=2)
    tensor([[0., 1., 0.]])
    """
    count = values.shape[1]
    shares: list[tuple[int, Tensor]] = []
    for layer in range(count):
        start = layer % 2
        left, right = values[:, start : count - 1 : 2], values[:, start + 1 :: 2]
        keep = torch.atan(steepness * (right - left)) / math.pi + 0.5
        shares.append((start, keep))
        low, high = keep * left + (1 - keep) * right, (1 - keep) * left + keep * right
        values = _weave(values, start, low, high)
    place = torch.arange(count, device=values.device) >= count - top
    mass = place.to(values.dtype).expand(values.shape)
    for start, keep in reversed(shares):
        low, high = mass[:, start : count - 1 : 2], mass[:, start + 1 :: 2]
        mass = _weave(mass, start, keep * low + (1 - keep) * high, (1 - keep) * low + keep * high)
    return mass


def _weave(whole: Tensor, start: int, left: Tensor, right: Tensor) -> Tensor:
    """`whole` with the neighbours (start, start + 1), (start + 2, start + 3), ... replaced."""
    pairs = torch.stack([left, right], dim=2).flatten(1)
    return torch.cat([whole[:, :start], pairs, whole[:, start + pairs.shape[1] :]], dim=1)


@in_full_precision
def groco(
    views: Tensor | Sequence[Tensor],
    *,
    hardest: int = 10,
    steepness: float = 1.0,
    stop_gradient: bool = True,
    groups: Tensor | None = None,
) -> Tensor:
    """Asks that each anchor's positives rank above its hardest negatives, as two groups, not pair by pair.

    Formula:
        For each view as anchor: s = [cosines with the `hardest` nearest other samples of the view, cosines
        with the anchor's other views], each ascending; p_k = share of entry k among the top places
        (`sorted_share`); L = mean over anchors and entries of binary cross entropy (p_k, 1 for positives and
        0 for negatives).

    Use when:
        Nearest-neighbour retrieval is the aim and only the order near the top matters.

    Cost:
        2 V N^2 d for the similarities, N n^2 for sorting n = hardest + V - 1 values; memory O(N^2).

    Source:
        Shvetsova et al. 2023, "Learning by sorting: self-supervised learning with group ordering
        constraints"; repository ninatu/learning_by_sorting; Petersen et al. 2022, "Monotonic
        differentiable sorting networks" (Cauchy). Verified against numbers of the official code.

    Distributed:
        gather.

    Used by:
        no pipeline yet.

    Args:
        views: (V, N, d) or a list of V tensors (N, d), V >= 2; normalised here.
        hardest: negatives an anchor; cut to N - 1.
        steepness: of the soft comparison, > 0.
        stop_gradient: whether only the anchor receives gradient.
        groups: (N,) integer ids; other samples of the group are no negatives.

    Returns:
        Scalar >= 0; 0 for a batch of 1. An anchor with fewer than `hardest` negatives is filled up with
        entries of similarity -1.

    Raises:
        KindredError: fewer than two views, shapes differ, or `hardest` < 1.

    Example:
        >>> eye = torch.eye(3)
        >>> round(float(groco([eye, eye], hardest=2)), 4)
        0.1849
    """
    stack = unit_rows(as_stack("views", views))
    count, rows = stack.shape[:2]
    if hardest < 1:
        raise KindredError("groco hardest", seen=hardest, expected="at least 1", remedy="use 10")
    hardest = min(hardest, rows - 1)
    if hardest < 1:
        return (stack * 0).sum()
    ids = ids_or_rows(groups, stack[0])
    apart = ids[:, None] != ids[None, :]
    others = stack.detach() if stop_gradient else stack
    loss = stack.new_zeros(())
    for anchor in range(count):
        own = stack[anchor]
        partners = torch.cat([others[:anchor], others[anchor + 1 :]])
        positive = (partners * own).sum(-1).T.sort(dim=1).values
        similarity = (own @ others[anchor].T).masked_fill(~apart, EMPTY)
        near = similarity.topk(hardest, dim=1).values.flip(1)
        negative = torch.where(near > EMPTY / 2, near, -1.0)
        share = sorted_share(torch.cat([negative, positive], dim=1), count - 1, steepness=steepness)
        tiny = torch.finfo(share.dtype).eps ** 2
        wrong = torch.cat([share[:, :hardest], 1 - share[:, hardest:]], dim=1)
        each = -(1 - wrong).clamp_min(tiny).log()
        loss = loss + mean_over(each.mean(1), apart.any(1))
    return loss / count
