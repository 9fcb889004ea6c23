"""Cross entropy whose targets are the softmax of another model or modality, a tile of rows at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from core.objectives.contrast import contrast
from core.objectives.partition import in_row_tiles
from core.objectives.rows import EMPTY, as_pair, ids_or_rows, in_full_precision, unit_rows


def _tile(
    rows: Tensor,
    teacher: Tensor,
    ids: Tensor,
    own: Tensor,
    columns: Tensor,
    teacher_columns: Tensor,
    column_ids: Tensor,
    valid: Tensor | None,
    hard: Tensor,
) -> Tensor:
    place = torch.arange(len(columns), device=rows.device)
    is_own = own[:, None] == place[None, :]
    keep = (ids[:, None] != column_ids[None, :]) | is_own
    keep = keep if valid is None else keep & (valid[None, :] | is_own)
    log_probability = (rows @ columns.T).masked_fill(~keep, EMPTY).log_softmax(1)
    soft = (teacher @ teacher_columns.T).masked_fill(~keep, EMPTY).softmax(1)
    target = hard * is_own + (1 - hard) * soft
    return -(target * torch.where(keep, log_probability, 0.0)).sum(1)


def soft_cross_entropy(
    rows: Tensor,
    columns: Tensor,
    teacher: Tensor,
    teacher_columns: Tensor,
    *,
    row_ids: Tensor,
    column_ids: Tensor,
    valid: Tensor | None = None,
    hard: float = 0.0,
) -> Tensor:
    """-sum_j T_ij log softmax_j <row_i, column_j>, T = hard * own column + (1 - hard) * teacher's softmax.

    Args:
        rows: (N, d) times the scale; row i's own column is column i.
        columns: (M, d), M >= N.
        teacher: (N, e) times its scale. teacher_columns: (M, e). Both may carry gradient.
        row_ids: (N,). column_ids: (M,): a column of the row's id that is not its own is left out.
        valid: (M,) bool; False columns are left out.
        hard: share of the own column in the target, in [0, 1].

    Returns:
        (N,) values >= 0; memory O(tile).

    >>> x, ids = torch.zeros(2, 3), torch.arange(2)
    >>> soft_cross_entropy(x, x, x, x, row_ids=ids, column_ids=ids)
    tensor([0.6931, 0.6931])
    """
    own = torch.arange(len(rows), device=rows.device)
    shared = [columns, teacher_columns, column_ids, valid, rows.new_tensor(float(hard))]
    return in_row_tiles(_tile, [rows, teacher, row_ids, own], shared, width=len(columns))


@in_full_precision
def distilled_clip(
    x: Tensor,
    y: Tensor,
    teacher_x: Tensor,
    teacher_y: Tensor,
    *,
    scale: float | Tensor = 1 / 0.07,
    teacher_scale: float = 100.0,
    contrast_weight: float = 1.0,
    distillation_weight: float = 1.0,
    groups: Tensor | None = None,
    normalize: bool = True,
) -> Tensor:
    """CLIP that also matches the softmax of a frozen teacher's similarities.

    Formula:
        L = contrast_weight CLIP(x, y) + distillation_weight (CE(softmax(S'), S) + CE(softmax(S'^T), S^T)) /
        2, S = scale x y^T, S' = teacher_scale x' y'^T.

    Use when:
        A large two-tower model exists and a small one is to be trained.

    Cost:
        14 N^2 d time, memory O(N d + tile).

    Source:
        open_clip, DistillClipLoss. Verified against numbers of that code.

    Distributed:
        gather (all four tensors).

    Used by:
        no pipeline yet.

    Args:
        x: (N, d) student, first modality, any float dtype.
        y: (N, d) student, second modality.
        teacher_x: (N, e) teacher; no gradient.
        teacher_y: (N, e).
        scale: multiplier of the student's cosines.
        teacher_scale: multiplier of the teacher's cosines.
        contrast_weight: weight of CLIP.
        distillation_weight: weight of the distillation.
        groups: (N,) integer ids; other members of the group are left out.
        normalize: put rows on the unit sphere first.

    Returns:
        Scalar >= 0.

    Raises:
        KindredError: shapes differ.

    Example:
        >>> eye = torch.eye(3)
        >>> value = distilled_clip(eye, eye, eye, eye, scale=1.0, teacher_scale=1.0)
        >>> round(float(value), 4)  # 0.5514 + 0.9753
        1.5268
    """
    x, y = as_pair("x", x, "y", y)
    a, b = as_pair("teacher_x", teacher_x.detach(), "teacher_y", teacher_y.detach())
    if normalize:
        x, y, a, b = unit_rows(x), unit_rows(y), unit_rows(a), unit_rows(b)
    hot, ids = a.to(x.dtype) * teacher_scale, ids_or_rows(groups, x)
    b = b.to(x.dtype)
    forth = soft_cross_entropy(x * scale, y, hot, b, row_ids=ids, column_ids=ids)
    back = soft_cross_entropy(y * scale, x, b * teacher_scale, a.to(x.dtype), row_ids=ids, column_ids=ids)
    clip = contrast(x, y, scale=scale, symmetric=True, row_groups=groups, normalize=False)
    return contrast_weight * clip + distillation_weight * (forth + back).sum() / (2 * max(len(x), 1))
