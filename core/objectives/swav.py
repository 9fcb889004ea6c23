"""SwAV: predict the prototype assignment of one view from another; assignments balanced by Sinkhorn."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from core.errors import KindredError
from core.objectives.rows import as_rows, in_full_precision

Reduce = Callable[[Tensor], Tensor]


@torch.no_grad()
@in_full_precision
def sinkhorn(
    scores: Tensor, *, epsilon: float = 0.05, iterations: int = 3, reduce: Reduce | None = None
) -> Tensor:
    """Balanced soft assignment of samples to prototypes: each prototype gets equal mass, each sample mass 1.

    Formula:
        Q = exp(scores / epsilon), then `iterations` times: divide each prototype by its sum over samples,
        then each sample by its sum over prototypes. In the log domain, so no score overflows.

    Use when:
        You need the targets of `swav`, or any equipartition of a batch.

    Cost:
        4 iterations B K time, memory O(B K), no gradient.

    Source:
        Caron et al. 2020, "Unsupervised learning of visual features by contrasting cluster assignments",
        eqs. 3-5; Cuturi 2013. Verified against numbers of lightly's code.

    Distributed:
        statistic: pass `reduce`; the mass of a prototype is then that over all ranks.

    Used by:
        ct_reduction.

    Args:
        scores: (B, K) similarities of samples with prototypes, any float dtype.
        epsilon: entropy weight > 0; small is sharp.
        iterations: >= 1.
        reduce: sums a tensor over ranks; None on a single process.

    Returns:
        (B, K) float32 or float64, rows sum to 1.

    Raises:
        KindredError: `scores` is not (B, K) floating, or iterations < 1.

    Example:
        >>> sinkhorn(torch.zeros(2, 4))
        tensor([[0.2500, 0.2500, 0.2500, 0.2500],
                [0.2500, 0.2500, 0.2500, 0.2500]])
    """
    if iterations < 1:
        raise KindredError("sinkhorn iterations", seen=iterations, expected="at least 1", remedy="use 3")
    log_q = as_rows("scores", scores) / epsilon
    for _ in range(iterations):
        mass = log_q.logsumexp(0, keepdim=True)
        log_q = log_q - (mass if reduce is None else _log_sum_over_ranks(mass, reduce))
        log_q = log_q.log_softmax(1)
    return log_q.exp()


def _log_sum_over_ranks(mass: Tensor, reduce: Reduce) -> Tensor:
    """Log of the sum over ranks of exp(mass), from sums alone: shifted by the mean over ranks, in float64."""
    wide = mass.double()
    filled = torch.isfinite(wide)  # not on a rank without rows
    shift = reduce(torch.where(filled, wide, 0.0)) / reduce(filled.double()).clamp_min(1)
    return (reduce((wide - shift).exp()).log() + shift).to(mass.dtype)


@in_full_precision
def swav(
    high: Sequence[Tensor],
    low: Sequence[Tensor] = (),
    *,
    queue: Sequence[Tensor] | None = None,
    temperature: float = 0.1,
    epsilon: float = 0.05,
    iterations: int = 3,
    reduce: Reduce | None = None,
) -> Tensor:
    """Swapped prediction of prototype assignments between the crops of a sample.

    Formula:
        Q_i = sinkhorn(scores of high-resolution crop i);
        L = -mean over i, over the other crops v != i, over samples of sum_k Q_i,k log softmax_k(scores_v /
        t).

    Use when:
        No negatives are wanted, batches are small, or clusters of the data are of interest themselves.

    Cost:
        O(crops^2 B K); the prototypes' matrix product (B d K) is the caller's.

    Source:
        Caron et al. 2020, "Unsupervised learning of visual features by contrasting cluster assignments", eqs.
        1-2. Verified against numbers of lightly's code, with and without queue and small crops.

    Distributed:
        statistic: pass `reduce`; assignments and loss are then those of the whole batch.

    Used by:
        ct_reduction.

    Args:
        high: scores of the high-resolution crops, each (B, K): unit embeddings times unit prototypes.
        low: scores of the small crops, each (B, K).
        queue: for each high-resolution crop the scores (Kq, K) of stored samples that help to balance.
        temperature: t > 0 of the prediction.
        epsilon: of `sinkhorn`.
        iterations: of `sinkhorn`.
        reduce: sums a tensor over ranks, with gradient.

    Returns:
        Scalar >= 0; 0 for an empty batch.

    Raises:
        KindredError: no second crop, or shapes differ.

    Example:
        >>> round(float(swav([torch.eye(3), torch.eye(3)])), 4)
        0.0001
    """
    if len(high) < 1 or len(high) + len(low) < 2:
        raise KindredError(
            "swav crops",
            seen=f"{len(high)} high, {len(low)} low",
            expected="at least one high-resolution crop and a second crop",
            remedy="pass the scores of two views",
        )
    crops = [as_rows(f"crops[{i}]", scores, like=high[0]) for i, scores in enumerate([*high, *low])]
    total = crops[0].new_zeros(())
    for index in range(len(high)):
        stored = None if queue is None else as_rows(f"queue[{index}]", queue[index])
        scores = crops[index] if stored is None else torch.cat([crops[index], stored.to(crops[index].dtype)])
        target = sinkhorn(scores.detach(), epsilon=epsilon, iterations=iterations, reduce=reduce)
        target = target[: len(crops[index])]
        for other in range(len(crops)):
            if other != index:
                total = total - (target * (crops[other] / temperature).log_softmax(1)).sum()
    rows = total.new_tensor(float(len(crops[0])))
    if reduce is not None:
        total, rows = reduce(total), reduce(rows)
    return total / rows.clamp_min(1) / (len(crops) - 1) / len(high)
