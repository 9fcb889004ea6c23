"""What a contrastive loss pulls together: positives as an index, as labels or as weights, read a tile at a time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from core.errors import KindredError
from core.objectives.rows import unit_rows

LABEL_WEIGHTS = ("cosine", "jaccard", "shared", "inner")
"""How two label vectors become a weight: cosine; |A and B| / |A or B|; 1 where they share a label; inner product."""


@dataclass(frozen=True)
class Targets:
    """Positives of N rows among M columns, as raw weights w_ij >= 0 (each row is divided by its sum by the loss).

    Args:
        kind: "index" (`rows` holds the column of each row, -1 for none), "classes" (weight 1 where the (N,)
            and (M,) ids are equal), "weights" (`rows` is the (N, M) matrix itself) or one of `LABEL_WEIGHTS`
            (label vectors (N, C) and (M, C)).
        rows: as the kind says.
        columns: the columns' ids or label vectors; None for "index" and "weights".
    """

    kind: str
    rows: Tensor
    columns: Tensor | None = None

    def tile(self, top: int, bottom: int, left: int, right: int, like: Tensor) -> Tensor:
        """Weights of rows top..bottom against columns left..right, a new (bottom-top, right-left) tensor.

        >>> Targets("classes", torch.tensor([0, 1]), torch.tensor([1, 1, 0])).tile(0, 2, 0, 3, torch.zeros(1))
        tensor([[0., 0., 1.],
                [1., 1., 0.]])
        """
        rows = self.rows[top:bottom]
        if self.kind == "index":
            return (rows[:, None] == torch.arange(left, right, device=rows.device)).to(like.dtype)
        if self.kind == "weights":
            return rows[:, left:right].to(like.dtype, copy=True)
        assert self.columns is not None
        columns = self.columns[left:right]
        if self.kind == "classes":
            return torch.eq(rows[:, None], columns[None, :], out=like.new_empty(len(rows), len(columns)))
        overlap = rows @ columns.T
        if self.kind == "shared":
            return overlap.gt_(0)
        if self.kind == "jaccard":
            union = rows.sum(1)[:, None] + columns.sum(1)[None, :]
            return overlap.div_(union.sub_(overlap).clamp_min_(torch.finfo(like.dtype).tiny))
        return overlap


def make_targets(
    positives: Tensor | None,
    row_labels: Tensor | None,
    column_labels: Tensor | None,
    label_weights: str,
    rows: Tensor,
    columns: Tensor,
) -> Targets:
    """Reads the ways in which a caller may name positives; see `contrast` for what each means.

    Raises:
        KindredError: two ways at once, a shape that does not fit, an unknown `label_weights`.

    >>> make_targets(None, None, None, "cosine", torch.zeros(3, 2), torch.zeros(4, 2)).rows
    tensor([0, 1, 2])
    """
    n, m = len(rows), len(columns)
    if row_labels is not None:
        if positives is not None:
            raise KindredError(
                "positives", seen="positives and row_labels", expected="one of the two", remedy="drop one"
            )
        return _from_labels(
            row_labels, row_labels if column_labels is None else column_labels, label_weights, rows, n, m
        )
    if column_labels is not None:
        raise KindredError(
            "row_labels", seen=None, expected=f"({n}, ...) labels", remedy="pass labels of the rows too"
        )
    if positives is None:
        if n > m:
            raise KindredError(
                "positives",
                seen=f"none given for {n} rows and {m} columns",
                expected="at least as many columns as rows, as row i goes with column i",
                remedy="pass positives: the column of each row",
            )
        return Targets("index", torch.arange(n, device=rows.device))
    if positives.ndim == 1 and not positives.is_floating_point() and positives.dtype != torch.bool:
        expect_shape("positives", positives, (n,))
        return Targets("index", positives.long())
    expect_shape("positives", positives, (n, m))
    return Targets("weights", positives)


def _from_labels(rows: Tensor, columns: Tensor, weights: str, like: Tensor, n: int, m: int) -> Targets:
    if rows.ndim == 1:
        expect_shape("row_labels", rows, (n,))
        expect_shape("column_labels", columns, (m,))
        return Targets("classes", rows, columns)
    if weights not in LABEL_WEIGHTS:
        raise KindredError("label_weights", seen=weights, expected=f"one of {', '.join(LABEL_WEIGHTS)}")
    expect_shape("row_labels", rows, (n, rows.shape[-1]))
    expect_shape("column_labels", columns, (m, rows.shape[-1]))
    rows, columns = rows.detach().to(like.dtype), columns.detach().to(like.dtype)
    if weights == "cosine":
        rows, columns = unit_rows(rows), unit_rows(columns)
    return Targets(weights, rows, columns)


def expect_shape(name: str, x: Tensor, shape: tuple[int, ...]) -> None:
    """Raises KindredError where `x` has another shape.

    >>> expect_shape("labels", torch.zeros(3), (3,))
    """
    if tuple(x.shape) != shape:
        raise KindredError(
            name, seen=tuple(x.shape), expected=str(shape), remedy="one entry for each row (and column)"
        )
