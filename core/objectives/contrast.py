"""One kernel behind the softmax family: a weighted log-softmax cross entropy over rows x columns."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from core.errors import KindredError
from core.objectives.dense import dense_contrast
from core.objectives.problem import Problem
from core.objectives.rows import as_rows, unit_rows
from core.objectives.targets import make_targets
from core.objectives.tiled import tiled_contrast, tiled_total

Method = Literal["auto", "dense", "tiled"]
Reduction = Literal["mean", "sum", "none"]


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
    exclude_self: bool = False,
    denominator: Literal["all", "negatives"] = "all",
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
    empty: Literal["drop", "zero"] = "drop",
    reduction: Reduction = "mean",
    method: Method = "auto",
    tile: int | None = None,
) -> Tensor:
    """Contrastive loss of rows against columns: pulls each row to its positives, pushes it from all other columns.

    Formula:
        s_ij = scale * row_scale_i * column_scale_j * <row_i, column_j> + bias_ij
        loss_i = log sum_{k in D(i)} exp(s_ik) - sum_j w_ij s_ij / sum_j w_ij

    D(i) is every column, less those left out for row i: column i itself (`exclude_self`), columns of the row's group
    that are not its positives, queue entries that are not valid, columns of bias -inf, and with
    `denominator="negatives"` the positives.

    Use when: a pipeline needs a setting that none of the named objectives has; they are all settings of this.
    Cost: 6 N M d flop one-sided, 8 N M d symmetric; memory O((N + M) d + tile) tiled, O(N M) dense.
    Source: the common form of InfoNCE (van den Oord et al., 2018), SupCon (Khosla et al., 2020), CLIP (Radford et al.,
        2021) and CWCL (Srinivasa et al., 2023).
    Distributed: gather
    Used by: every pipeline

    Args:
        rows: (N, d), any floating dtype; half precision is computed in float32.
        columns: (M, d); None stands for the rows themselves (then `exclude_self` is what you want).
        positives: None: row i goes with column i. (N,) int64: the column of each row, negative for none.
            (N, M) float >= 0 or bool: weights w_ij. Carries no gradient.
        row_labels, column_labels: instead of `positives`. (N,), (M,) integers: w_ij = 1 where they are equal.
            (N, C), (M, C) numbers >= 0, such as multi-hot classes: w_ij as `label_weights` says, a tile at a time.
        label_weights: "cosine", "jaccard", "shared" (1 if any label is shared) or "inner" (product as it is).
        normalize_weights: divide the weights of a row by their sum; False: loss_i is multiplied by that sum.
        row_groups, column_groups: (N,), (M,) integers; a column of the row's group (the same patient, scene or
            duplicate) that is not its positive is left out for that row. column_groups defaults to row_groups.
        exclude_self: leave column i out for row i (rows and columns are the same items).
        denominator: "negatives" leaves the positives out of the sum (decoupled form).
        scale: 1 / temperature, > 0; a tensor may carry gradient.
        row_scale, column_scale: (N,), (M,) further factors; may carry gradient. The queue has column_scale 1.
        bias: number or tensor that broadcasts to (N, M), added to the logits; may carry gradient.
        row_weight: (N,) >= 0, weight of each row's loss in the reduction (rows -> columns only).
        positive_weight: (N,) factor of the pulling term (rows -> columns only); no gradient.
        queue: (K, d) further columns, never positive, without gradient.
        queue_groups: (K,) integers, as `column_groups`.
        queue_valid: (K,) bool; False leaves the entry out.
        normalize: put rows, columns and queue on the unit sphere first (zero rows stay zero, with zero gradient).
        symmetric: mean of rows -> columns and columns -> rows; the latter sees rows only, not the queue.
        empty: whether rows without any positive are dropped from the mean or count as 0.
        reduction: "mean" (weighted), "sum", or "none" for (N,) losses.
        method: "tiled" (hand-written backward, differentiable once), "dense" (plain autograd) or "auto".
        tile: side of a tile of the tiled method; None chooses it.

    Returns:
        Scalar, or (N,) for reduction "none"; float32, or float64 for float64 input. 0 with zero gradient for a row
        without positives, or with nothing but its positive to see.

    Raises:
        KindredError: shapes that do not fit, an unknown word, options that contradict each other.

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
    _check_width("columns", columns, rows)
    dtype = torch.promote_types(rows.dtype, columns.dtype)
    n, m = len(rows), len(columns)
    if exclude_self and n != m:
        raise KindredError("exclude_self", seen=f"{n} rows, {m} columns", expected="as many columns as rows")
    targets = make_targets(positives, row_labels, column_labels, label_weights, rows, columns)
    with torch.autocast(rows.device.type, enabled=False):
        rows = rows.to(dtype)
        own = rows if itself else columns.to(dtype)
        if normalize:
            rows = unit_rows(rows)
            own = rows if itself else unit_rows(own)
        factor = scale if row_scale is None else (scale * row_scale.to(dtype))[:, None]
        left = rows * factor
        own = own if column_scale is None else own * column_scale.to(dtype)[:, None]
        groups, own_groups = _groups(row_groups, column_groups, n, m)
        if queue is not None:
            queue = as_rows("queue", queue.detach()).to(dtype)
            _check_width("queue", queue, rows)
            right = torch.cat([own, unit_rows(queue) if normalize else queue])
            if own_groups is not None:
                own_groups = torch.cat([own_groups, _queue_groups(queue_groups, groups, len(queue))])
        else:
            right = own
        problem = Problem(
            left.to(dtype), right, targets, m,
            bias=_bias(bias, rows), row_groups=groups, column_groups=own_groups, valid=queue_valid,
            exclude_self=exclude_self, only_negatives=denominator == "negatives",
            positive_weight=None if positive_weight is None else positive_weight.detach().to(dtype),
            symmetric=symmetric, gram=itself and not symmetric and row_scale is None and column_scale is None and bias is None,
        )  # fmt: skip
        if _is_dense(method, problem):
            found = dense_contrast(problem)
        elif reduction != "none" and normalize_weights and not symmetric and not problem.gram:
            weight = rows.new_ones(n) if row_weight is None else row_weight.detach().to(dtype)
            total, mass = tiled_total(problem, weight, tile)
            return total if reduction == "sum" else total / _count(mass, weight, empty)
        else:
            found = tiled_contrast(problem, tile)
    sides = []
    for loss, mass, weight in (
        (found.rows, found.row_mass, row_weight),
        (found.columns, found.column_mass, None),
    ):
        if loss is not None and mass is not None:
            loss = loss if normalize_weights else loss * mass
            weight = torch.ones_like(mass) if weight is None else weight.detach().to(dtype)
            loss = loss * weight
            if reduction != "none":
                loss = loss.sum()
            sides.append(loss / _count(mass, weight, empty) if reduction == "mean" else loss)
    return sides[0] if len(sides) == 1 else (sides[0] + sides[1]) / 2


def _count(mass: Tensor, weight: Tensor, empty: str) -> Tensor:
    """What the rows count in a mean, together; never zero."""
    counted = torch.where(mass > 0, weight, 0.0) if empty == "drop" else weight
    return counted.sum().clamp_min(torch.finfo(weight.dtype).tiny)


def _is_dense(method: str, problem: Problem) -> bool:
    if method not in ("auto", "dense", "tiled"):
        raise KindredError("method", seen=method, expected="auto, dense or tiled")
    return method == "dense"


def _bias(bias: float | Tensor | None, rows: Tensor) -> Tensor | None:
    if bias is None:
        return None
    bias = torch.as_tensor(bias, dtype=rows.dtype, device=rows.device)
    return bias.reshape((1,) * (2 - bias.ndim) + tuple(bias.shape))


def _groups(
    row_groups: Tensor | None, column_groups: Tensor | None, n: int, m: int
) -> tuple[Tensor | None, Tensor | None]:
    if row_groups is None and column_groups is None:
        return None, None
    column_groups = row_groups if column_groups is None else column_groups
    if row_groups is None or column_groups is None or tuple(row_groups.shape) != (n,):
        raise KindredError(
            "row_groups",
            seen=None if row_groups is None else tuple(row_groups.shape),
            expected=f"({n},) integers",
        )
    if tuple(column_groups.shape) != (m,):
        raise KindredError("column_groups", seen=tuple(column_groups.shape), expected=f"({m},) integers")
    return row_groups, column_groups


def _queue_groups(queue_groups: Tensor | None, groups: Tensor | None, size: int) -> Tensor:
    assert groups is not None
    if queue_groups is None:
        return groups.new_full((size,), torch.iinfo(groups.dtype).min)
    if tuple(queue_groups.shape) != (size,):
        raise KindredError("queue_groups", seen=tuple(queue_groups.shape), expected=f"({size},) integers")
    return queue_groups


def _check_width(name: str, x: Tensor, rows: Tensor) -> None:
    if x.shape[1] != rows.shape[1]:
        raise KindredError(
            name, seen=tuple(x.shape), expected=f"(any, {rows.shape[1]}), the width of the rows"
        )
