"""M3CoL: mixed inputs have two partners; later, partners are as soft as the other modality says."""

from __future__ import annotations

import torch
from torch import Tensor

from core.objectives.partition import left_out, log_partition
from core.objectives.rows import EMPTY, as_pair, ids_or_rows, in_full_precision, mean_over, unit_rows
from core.objectives.soft_targets import soft_cross_entropy


@in_full_precision
def m3col(
    mixed: Tensor,
    fixed: Tensor,
    share: Tensor,
    order: Tensor,
    *,
    temperature: float = 0.1,
    groups: Tensor | None = None,
    compat: bool = False,
    normalize: bool = True,
) -> Tensor:
    """Mixup contrast: an embedding of a mixed input is attracted to both sources in the other modality.

    Formula:
        mixed_i embeds l_i x_i + (1 - l_i) x_order(i); target row i puts l_i on column i and 1 - l_i on
        order(i); L = (CE over rows + CE over columns with the transposed targets) / 2.

    Use when:
        Two modalities share relations beyond the one-to-one pairs; first third of training, then `soft_clip`.

    Cost:
        6 N^2 d time, memory O(N d + tile).

    Source:
        Kumar et al. 2024, "Harnessing shared relations via multimodal mixup contrastive learning";
        repository RaghavSinghal10/M3CoL. Verified against numbers of the official code; where order(i) = i
        that code gives column i the weight 1 - l (`compat=True`), ours 1.

    Distributed:
        gather (both embeddings, shares, and order plus the rank's first row).

    Used by:
        no pipeline yet.

    Args:
        mixed: (N, d) embeddings of mixed inputs, any float dtype.
        fixed: (N, d) embeddings of the other modality, not mixed.
        share: (N,) l in [0, 1]; 1 leaves the row as it was.
        order: (N,) int64 permutation: the second source of each row.
        temperature: t > 0.
        groups: (N,) integer ids; columns of the group of either source that are not sources are left out.
        compat: reproduce the published weight of a row that is mixed with itself.
        normalize: put rows on the unit sphere first.

    Returns:
        Scalar >= 0; rows that see their source alone are left out of the mean.

    Raises:
        KindredError: shapes differ.

    Example:
        >>> x = torch.eye(3)
        >>> round(float(m3col(x, x, torch.ones(3), torch.tensor([1, 2, 0]), temperature=1.0)), 4)
        0.5514
    """
    x, y = as_pair("mixed", mixed, "fixed", fixed)
    if normalize:
        x, y = unit_rows(x), unit_rows(y)
    x = x / temperature
    ids, share = ids_or_rows(groups, x), share.to(x.dtype)
    first, second = (x * y).sum(1), (x * y[order]).sum(1)
    alone = order == torch.arange(len(x), device=x.device)  # mixed with itself: one source
    on_first = torch.where(alone, 1 - share if compat else 1.0, share)
    on_second = torch.where(alone, 0.0, 1 - share)
    distinct = torch.where(alone, EMPTY, second)
    source_ids = ids[order]

    pairs, period = left_out(groups, x)
    apart = log_partition(x, y, *pairs, (source_ids, ids), period=period)
    rows = torch.logaddexp(torch.logaddexp(apart, first), distinct)
    attraction = on_first * first + on_second * second
    row_loss = mean_over(
        (on_first + on_second) * rows - attraction, torch.maximum(apart, distinct) > EMPTY / 2
    )

    # column j is a target of row j and of the row whose second source it is
    back = torch.argsort(order)
    apart = log_partition(y, x, *pairs, (ids, source_ids), period=period)
    columns = torch.logaddexp(torch.logaddexp(apart, first), distinct[back])
    attraction = on_first * first + (on_second * second)[back]
    column_loss = mean_over(
        (on_first + on_second[back]) * columns - attraction, torch.maximum(apart, distinct[back]) > EMPTY / 2
    )
    return (row_loss + column_loss) / 2


@in_full_precision
def soft_clip(
    x: Tensor,
    targets: Tensor,
    *,
    temperature: float = 0.125,
    groups: Tensor | None = None,
    normalize: bool = True,
) -> Tensor:
    """CLIP whose targets are the softmax of the target modality's own similarities.

    Formula:
        T = softmax(Y Y^T / t); L = (sum_ij -T_ij log softmax_j(x_i y_j / t) + sum_ij -T_ij log softmax_j(y_i
        x_j / t)) / 2N. The same T serves both directions, and carries gradient, as published.

    Use when:
        Second phase of `m3col`, or when many samples are near-duplicates across the batch.

    Cost:
        8 N^2 d time (two Gram matrices), memory O(N d + tile).

    Source:
        Kumar et al. 2024, "Harnessing shared relations via multimodal mixup contrastive learning"; first in
        MindEye's code. Verified against numbers of the official code.

    Distributed:
        gather.

    Used by:
        no pipeline yet.

    Args:
        x: (N, d) embeddings to train, any float dtype.
        targets: (N, d) the other modality.
        temperature: t > 0.
        groups: (N,) integer ids; other columns of the group are left out.
        normalize: put rows on the unit sphere first.

    Returns:
        Scalar >= 0.

    Raises:
        KindredError: shapes differ.

    Example:
        >>> eye = torch.eye(3)
        >>> round(float(soft_clip(eye, eye, temperature=1.0)), 4)  # the entropy of the targets
        0.9753
    """
    x, y = as_pair("x", x, "targets", targets)
    if normalize:
        x, y = unit_rows(x), unit_rows(y)
    ids, hot = ids_or_rows(groups, x), y / temperature
    rows = soft_cross_entropy(x / temperature, y, hot, y, row_ids=ids, column_ids=ids)
    columns = soft_cross_entropy(hot, x, hot, y, row_ids=ids, column_ids=ids)
    return (rows.sum() + columns.sum()) / (2 * max(len(x), 1))
