"""SupReMix: contrast for regression with mixtures as hard negatives and hard positives."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from core.objectives.partition import in_row_tiles
from core.objectives.rows import (
    EMPTY,
    as_rows,
    ids_or_rows,
    in_full_precision,
    mean_over,
    safe_sqrt,
    unit_rows,
)


class Mixtures(NamedTuple):
    """Which rows are mixed: all (N, S) int64, and `share` (N, S) in [0, 1).

    other: partner of the anchor in hard negatives, `share` the anchor's part.
    lower, upper: rows with a smaller and a larger label, mixed to the anchor's label in hard positives.
    """

    other: Tensor
    share: Tensor
    lower: Tensor
    upper: Tensor


def draw_mixtures(
    labels: Tensor, samples: int, *, window: float = float("inf"), generator: torch.Generator | None = None
) -> Mixtures:
    """Draws `samples` mixtures of each kind a row; where no partner exists, any row (the loss leaves it out).

    >>> draw_mixtures(torch.tensor([0.0, 1.0, 2.0]), 2).lower.shape
    torch.Size([3, 2])
    """
    gap = labels[None, :] - labels[:, None]
    near = gap.abs() <= window

    def draw(allowed: Tensor) -> Tensor:
        weight = torch.where(allowed.any(1, keepdim=True), allowed.float(), 1.0)
        return torch.multinomial(weight, samples, replacement=True, generator=generator)

    share = torch.rand(len(labels), samples, generator=generator, device=labels.device)
    return Mixtures(draw(gap != 0), share, draw((gap < 0) & near), draw((gap > 0) & near))


def _mixed_cosine(x: Tensor, first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    """(N,) products of x_i with the unit vector along share * first_i + (1 - share) * second_i."""
    mixture = share[:, None] * first + (1 - share)[:, None] * second
    return (x * mixture).sum(1) / safe_sqrt(mixture.square().sum(1)).clamp_min(torch.finfo(x.dtype).eps)


def _real(
    rows: Tensor,
    y: Tensor,
    ids: Tensor,
    own: Tensor,
    columns: Tensor,
    labels: Tensor,
    column_ids: Tensor,
    all_own: Tensor,
    power: Tensor,
    want_sum: Tensor,
) -> Tensor:
    """Log of the weighted sum over real rows, or (where `want_sum` is 0) the sum of the positives' logits."""
    distance = (y[:, None] - labels[None, :]).abs()
    other = own[:, None] != all_own[None, :]
    positive = (distance == 0) & other
    keep = positive | (other & (ids[:, None] != column_ids[None, :]))
    logits = rows @ columns.T
    total = (logits + power * distance.log1p()).masked_fill(~keep, EMPTY).logsumexp(1)
    return torch.where(want_sum > 0, total, torch.where(positive, logits, 0.0).sum(1))


@in_full_precision
def supremix(
    embeddings: Tensor,
    labels: Tensor,
    *,
    samples: int = 8,
    temperature: float = 0.07,
    distance_power: float = 1.0,
    window: float = float("inf"),
    mixtures: Mixtures | None = None,
    generator: torch.Generator | None = None,
    groups: Tensor | None = None,
) -> Tensor:
    """Supervised contrast for real-valued labels that respects their order.

    Formula:
        negatives of anchor i: rows of another label, and `samples` mixtures norm(a z_i + (1 - a) z_n) of
        label a y_i + (1 - a) y_n; positives: rows of the same label, and `samples` mixtures norm(b z_l + (1 -
        b) z_u), y_l < y_i < y_u, b such that the mixed label is y_i; L_i = -mean over positives p of log [
        e^{s_ip/t} / sum_k (|y_i - y_k| + 1)^power e^{s_ik/t} ], k over all of them; L = mean over anchors
        with a positive and a negative.

    Use when:
        The target is a number (age, biomass, an interval) and embeddings should be ordered along it.

    Cost:
        6 N^2 d + 12 N S d time, memory O(N S d + tile); mixtures are sampled (the released form is O(N^3 d)).

    Source:
        Wu et al. 2023, "Mixup your own pairs", from the paper's text; its repository holds no code and no
        reference numbers exist. The sampling is ours; the power of the distance weight is unverified (public
        copies use -1 and 1).

    Distributed:
        gather (embeddings and labels; every rank must use the same mixtures: pass a generator seeded alike).

    Used by:
        no pipeline yet.

    Args:
        embeddings: (N, d), any float dtype; normalised here. Two views of a sample are two rows of one label.
        labels: (N,) numbers.
        samples: mixtures of each kind an anchor, S >= 1.
        temperature: t > 0.
        distance_power: exponent of the distance weight in the denominator.
        window: farthest label that may serve in a hard positive.
        mixtures: the draws; made from `generator` where left out.
        generator: source of the draws.
        groups: (N,) integer ids; rows of the anchor's group with another label are left out, also in
            mixtures.

    Returns:
        Scalar; 0 where no anchor has both.

    Raises:
        KindredError: `embeddings` is not (N, d) floating.

    Example:
        >>> x, y = torch.randn(6, 4), torch.tensor([0.0, 0.0, 1.0, 1.0, 2.0, 2.0])
        >>> bool(torch.isfinite(supremix(x, y)))
        True
    """
    x = unit_rows(as_rows("embeddings", embeddings))
    y = labels.detach().reshape(-1).to(x.dtype)
    ids, own = ids_or_rows(groups, x), torch.arange(len(x), device=x.device)
    if len(x) == 0:
        return x.sum()
    if mixtures is None:
        mixtures = draw_mixtures(y, samples, window=window, generator=generator)
    hot = x / temperature
    per_row, shared = [hot, y, ids, own], [x, y, ids, own, x.new_tensor(float(distance_power))]
    totals = [in_row_tiles(_real, per_row, [*shared, x.new_tensor(1.0)], width=len(x))]
    pull = in_row_tiles(_real, per_row, [*shared, x.new_tensor(0.0)], width=len(x))
    positives = _counts(y, y) - 1
    has_negative = totals[0] > EMPTY / 2
    for other, share, lower, upper in zip(*(part.T for part in mixtures), strict=True):
        gap = (1 - share) * (y - y[other]).abs()
        apart = (y != y[other]) & ((ids != ids[other]) if groups is not None else True)
        cosine = _mixed_cosine(hot, x, x[other], share)
        totals.append(torch.where(apart, cosine + distance_power * gap.log1p(), EMPTY))
        between = (y[lower] < y) & (y < y[upper]) & (y - y[lower] <= window) & (y[upper] - y <= window)
        if groups is not None:
            between = between & (ids != ids[lower]) & (ids != ids[upper])
        part = torch.where(between, (y[upper] - y) / torch.where(between, y[upper] - y[lower], 1.0), 0.5)
        cosine = _mixed_cosine(hot, x[lower], x[upper], part)
        totals.append(torch.where(between, cosine, EMPTY))
        pull = pull + torch.where(between, cosine, 0.0)
        positives = positives + between
    total = torch.stack(totals).logsumexp(0)
    return mean_over(total - pull / positives.clamp_min(1), (positives > 0) & has_negative)


def _counts(values: Tensor, among: Tensor) -> Tensor:
    """(N,) how many entries of `among` equal each of `values`."""
    ordered = among.sort().values
    return torch.searchsorted(ordered, values, right=True) - torch.searchsorted(ordered, values)
