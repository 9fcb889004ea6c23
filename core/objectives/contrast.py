"""One kernel behind the softmax family: a weighted log-softmax cross entropy over rows x columns."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from core.errors import KindredError
from core.objectives.dense import dense_contrast
from core.objectives.problem import Directions, Problem
from core.objectives.rows import as_rows, in_full_precision, unit_rows
from core.objectives.targets import expect_shape, make_targets
from core.objectives.tiled import tiled_contrast, tiled_total

Denominator = Literal["all", "negatives", "queue"]
Empty = Literal["drop", "zero"]
Method = Literal["auto", "dense", "tiled"]
Reduction = Literal["mean", "sum", "none"]


@in_full_precision
def contrast(
    rows: Tensor,
    columns: Tensor | None = None,
    *,
    positives: Tensor | None = None,
    row_labels: Tensor | None = None,
    column_labels: Tensor | None = None,
    label_weights: str = "cosine",
    normalize_weights: bool = True,
    row_groups: Tensor | None = None,
    column_groups: Tensor | None = None,
    row_valid: Tensor | None = None,
    column_valid: Tensor | None = None,
    exclude_self: bool = False,
    denominator: Denominator = "all",
    scale: float | Tensor = 1 / 0.07,
    row_scale: Tensor | None = None,
    column_scale: Tensor | None = None,
    bias: float | Tensor | None = None,
    row_weight: Tensor | None = None,
    positive_weight: Tensor | None = None,
    queue: Tensor | None = None,
    queue_groups: Tensor | None = None,
    queue_valid: Tensor | None = None,
    normalize: bool = True,
    symmetric: bool = False,
    empty: Empty = "drop",
    reduction: Reduction = "mean",
    method: Method = "auto",
    tile: int | None = None,
) -> Tensor:
    """Pulls each row to its positives among the columns and pushes it from all other columns.

    Formula:
        s_ij = scale * row_scale_i * column_scale_j * <row_i, column_j> + bias_ij;
        L_i = log sum_{k in D(i)} exp(s_ik) - positive_weight_i * sum_j w_ij s_ij / sum_j w_ij.
        D(i) is every column less those left out for row i: column i itself (`exclude_self`), columns of the
        row's group that are no positive of it, what is not valid, columns of bias -inf, and with
        `denominator="negatives"` its positives.

    Use when:
        A pipeline needs a setting that none of the named objectives has; they are all settings of this one.

    Cost:
        Time 6 N M d one-sided, 8 N M d symmetric, 16 N^2 d for the 2N rows of NT-Xent (half of the Gram
        matrix is mirrored); memory O((N + M) d + tile), never N x M. The hand-written backward is
        differentiable once; `method="dense"` is plain autograd in O(N M).

    Source:
        The common form of InfoNCE (van den Oord et al. 2018), SupCon (Khosla et al. 2020), CLIP (Radford et
        al. 2021), decoupled contrastive learning (Yeh et al. 2022) and CWCL (Srinivasa et al. 2023).

    Distributed:
        gather.

    Used by:
        every pipeline, through the named objectives.

    Args:
        rows: (N, d), any float dtype; half precision is computed in float32.
        columns: (M, d); None stands for the rows themselves (then `exclude_self` is what you want).
        positives: None: row i goes with column i. (N,) int64: the column of each row, negative for none.
            (N, M) float >= 0 or bool: weights w_ij. No gradient flows to them.
        row_labels: instead of `positives`. (N,) integers: w_ij = 1 where they equal the column's. (N, C)
            numbers >= 0, such as multi-hot classes: w_ij by `label_weights`, computed a tile at a time.
        column_labels: (M,) or (M, C); the row labels where left out.
        label_weights: "cosine", "jaccard", "shared" (1 where any label is shared) or "inner" (as it is).
        normalize_weights: divide a row's weights by their sum; False multiplies L_i by that sum.
        row_groups: (N,) integers; a column of the row's group (the same patient, scene, duplicate) that is no
            positive of it is left out for that row.
        column_groups: (M,) integers; the row groups where left out.
        row_valid: (N,) bool; rows marked False (an absent modality) count nowhere and may hold anything.
        column_valid: (M,) bool; the same for columns.
        exclude_self: leave column i out for row i (column i is the same item as row i).
        denominator: "all"; "negatives": without the row's positives (decoupled); "queue": the row's positives
            and the queue only (MoCo).
        scale: 1 / temperature, > 0; may carry gradient.
        row_scale: (N,) further factors; may carry gradient.
        column_scale: (M,) further factors; may carry gradient. The queue has factor 1.
        bias: broadcast to (N, M), added to the logits; -inf leaves a column out; may carry gradient.
        row_weight: (N,) >= 0, what each row counts in the reduction (rows -> columns only).
        positive_weight: (N,), default 1 (rows -> columns only); no gradient.
        queue: (K, d) further columns: never positive, no gradient.
        queue_groups: (K,) integers, compared with the row groups; unused where the rows have none.
        queue_valid: (K,) bool; False leaves the entry out.
        normalize: put rows, columns and queue on the unit sphere (a zero row stays zero, with zero gradient).
        symmetric: mean of rows -> columns and columns -> rows; the latter sees the rows only, not the queue.
        empty: whether rows without any positive are dropped from the mean or count as 0.
        reduction: "mean", "sum" or "none" (L_i of each row).
        method: "tiled", "dense" or "auto" (dense up to 8192 similarities).
        tile: side of a tile; chosen where left out.

    Returns:
        Scalar, or (N,) for reduction "none"; float32, float64 for float64 input. 0 with zero gradient for a
        row without positives, and for one that sees nothing but its only positive.

    Raises:
        KindredError: shapes that do not fit, an unknown word, or options that contradict each other.

    Example:
        >>> x = torch.eye(3)
        >>> contrast(x, x, scale=1.0)
        tensor(0.5514)
        >>> contrast(x, row_labels=torch.tensor([0, 0, 1]), exclude_self=True, scale=1.0)
        tensor(0.6931)
    """
    rows = as_rows("rows", rows)
    itself = columns is None
    columns = rows if columns is None else as_rows("columns", columns)
    n, m, size = len(rows), len(columns), 0 if queue is None else len(queue)
    dtype = torch.promote_types(rows.dtype, columns.dtype)
    _check(rows, columns, queue, exclude_self, denominator, empty, reduction, method, symmetric)
    targets = make_targets(positives, row_labels, column_labels, label_weights, rows, columns)
    row_groups, column_groups = _groups(row_groups, column_groups, queue_groups, n, m, size)
    row_valid, column_valid = _mask("row_valid", row_valid, n), _mask("column_valid", column_valid, m)

    rows = _prepared(rows.to(dtype), row_valid, normalize)
    right = rows if itself and column_valid is None else _prepared(columns.to(dtype), column_valid, normalize)
    left = rows * (scale if row_scale is None else (scale * row_scale.to(dtype))[:, None])
    if column_scale is not None:
        right = right * column_scale.to(dtype)[:, None]
    if queue is not None:
        queue_valid = _mask("queue_valid", queue_valid, size)
        right = torch.cat([right, _prepared(queue.detach().to(dtype), queue_valid, normalize)])
        column_valid = _joined(column_valid, queue_valid, m, size)
    shift: Tensor | None = None
    if bias is not None and _is_one_number(bias) and positive_weight is None:
        shift = (
            bias if isinstance(bias, Tensor) else None
        )  # cancels in a softmax: keep its (zero) gradient only
        bias = None
    if n == 0 or m + size == 0:
        nothing = 0 * (left.sum() + right.sum())
        return nothing.expand(n) if reduction == "none" else nothing
    problem = Problem(
        left.to(dtype), right, targets, m,
        bias=None if bias is None else _bias(bias, left), row_groups=row_groups, column_groups=column_groups,
        row_valid=row_valid, column_valid=column_valid, exclude_self=exclude_self,
        only_negatives=denominator == "negatives", only_queue=denominator == "queue", symmetric=symmetric,
        positive_weight=None if positive_weight is None else positive_weight.detach().to(dtype),
        gram=itself and not symmetric and row_scale is None and column_scale is None and bias is None
        and column_valid is None and row_valid is None and denominator != "queue",
    )  # fmt: skip
    weight = left.new_ones(n) if row_weight is None else row_weight.detach().to(dtype)
    if method == "dense" or (method == "auto" and problem.is_small()):
        loss = _reduced(dense_contrast(problem), weight, normalize_weights, empty, reduction)
    elif symmetric or problem.gram or reduction == "none" or not normalize_weights:
        loss = _reduced(tiled_contrast(problem, tile), weight, normalize_weights, empty, reduction)
    else:
        total, mass = tiled_total(problem, weight, tile)
        loss = total if reduction == "sum" else total / _count(mass, weight, empty)
    return loss if shift is None else loss + 0 * shift.reshape(()).to(dtype)


def _reduced(found: Directions, weight: Tensor, normalized: bool, empty: str, reduction: str) -> Tensor:
    forth = _reduced_side(found.rows, found.row_mass, weight, normalized, empty, reduction)
    if found.columns is None or found.column_mass is None:
        return forth
    ones = torch.ones_like(found.column_mass)
    back = _reduced_side(found.columns, found.column_mass, ones, normalized, empty, reduction)
    return (forth + back) / 2


def _reduced_side(
    loss: Tensor, mass: Tensor, weight: Tensor, normalized: bool, empty: str, reduction: str
) -> Tensor:
    loss = weight * (loss if normalized else loss * mass)
    if reduction == "none":
        return loss
    return loss.sum() if reduction == "sum" else loss.sum() / _count(mass, weight, empty)


def _count(mass: Tensor, weight: Tensor, empty: str) -> Tensor:
    """What the rows count in a mean, together; never zero."""
    counted = torch.where(mass > 0, weight, 0.0) if empty == "drop" else weight
    return counted.sum().clamp_min(torch.finfo(weight.dtype).tiny)


def _prepared(x: Tensor, valid: Tensor | None, normalize: bool) -> Tensor:
    if valid is not None:
        x = torch.where(valid[:, None], x, 0.0)  # so that a NaN in an absent row reaches nothing
    return unit_rows(x) if normalize else x


def _is_one_number(bias: float | Tensor) -> bool:
    return not isinstance(bias, Tensor) or bias.numel() == 1


def _bias(bias: float | Tensor, like: Tensor) -> Tensor:
    bias = torch.as_tensor(bias, dtype=like.dtype, device=like.device)
    return bias.reshape((1,) * (2 - bias.ndim) + tuple(bias.shape))


def _mask(name: str, valid: Tensor | None, count: int) -> Tensor | None:
    if valid is None:
        return None
    expect_shape(name, valid, (count,))
    return valid.bool()


def _joined(column_valid: Tensor | None, queue_valid: Tensor | None, m: int, size: int) -> Tensor | None:
    known = column_valid if column_valid is not None else queue_valid
    if known is None:
        return None
    first = known.new_ones(m) if column_valid is None else column_valid
    return torch.cat([first, known.new_ones(size) if queue_valid is None else queue_valid])


def _groups(
    rows: Tensor | None, columns: Tensor | None, queue: Tensor | None, n: int, m: int, size: int
) -> tuple[Tensor | None, Tensor | None]:
    """Groups of the rows and of all columns, the queue's last."""
    if rows is None:
        if columns is not None:
            raise KindredError(
                "row_groups", seen=None, expected=f"({n},) integers", remedy="give rows groups too"
            )
        return None, None
    columns = rows if columns is None else columns
    expect_shape("row_groups", rows, (n,))
    expect_shape("column_groups", columns, (m,))
    if size == 0:
        return rows, columns
    if queue is None:  # a queue without groups belongs to no row's group
        return rows, torch.cat([columns, columns.new_full((size,), torch.iinfo(columns.dtype).min)])
    expect_shape("queue_groups", queue, (size,))
    return rows, torch.cat([columns, queue])


def _check(
    rows: Tensor, columns: Tensor, queue: Tensor | None, exclude_self: bool, denominator: str, empty: str,
    reduction: str, method: str, symmetric: bool,
) -> None:  # fmt: skip
    for name, x in (("columns", columns), ("queue", queue)):
        if x is not None and (x.ndim != 2 or x.shape[1] != rows.shape[1]):
            raise KindredError(
                name, seen=tuple(x.shape), expected=f"(any, {rows.shape[1]}), as wide as the rows"
            )
    for name, word, known in (
        ("denominator", denominator, Denominator), ("empty", empty, Empty), ("reduction", reduction, Reduction),
        ("method", method, Method),
    ):  # fmt: skip
        if word not in get_args(known):
            raise KindredError(name, seen=word, expected=f"one of {', '.join(get_args(known))}")
    if exclude_self and len(rows) > len(columns):
        raise KindredError(
            "exclude_self",
            seen=f"{len(rows)} rows, {len(columns)} columns",
            expected="a column i for each row i",
        )
    if symmetric and reduction == "none" and len(rows) != len(columns):
        raise KindredError(
            "reduction", seen=f"none, for {len(rows)} rows and {len(columns)} columns, symmetric",
            expected="as many columns as rows", remedy="call it once in each direction",
        )  # fmt: skip
    if denominator == "queue" and queue is None:
        raise KindredError("denominator", seen="queue", expected="a queue", remedy="pass queue=")
