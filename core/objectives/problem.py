"""One contrastive problem, prepared: what the dense reference and the tiled kernel both solve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from core.objectives.targets import Targets

LEFT_OUT = -1e30
"""Logit of a column that a row may not see: finite, so that no sum, product or gradient turns into NaN."""

DENSE_ENTRIES = 1 << 13
"""Similarity matrices up to this size are not worth tiling."""


@dataclass(frozen=True)
class Problem:
    """Rows against columns, with s_ij = <rows_i, columns_j> + bias_ij.

    Args:
        rows: (N, d) float32 or float64, multiplied by the scale.
        columns: (M + K, d); the last K are the queue: never positive, without gradient.
        targets: the positives among the first M columns.
        own: M; None for all columns.
        bias: (N or 1, M or 1), added to the logits of the first M columns; -inf leaves a column out.
        row_groups, column_groups: (N,), (M + K,) ids; equal ids leave a column out, unless it is a positive.
        row_valid, column_valid: (N,), (M + K,) bool; what is marked False is left out everywhere.
        exclude_self: leave column i out for row i.
        only_negatives: leave a row's positives out of its denominator.
        only_queue: leave all but a row's positives and the queue out of its denominator.
        positive_weight: (N,) factor of the pulling term of each row.
        symmetric: solve columns -> rows too (without the queue).
        gram: the first M columns are the rows, and s is symmetric, so that half of it need not be computed.
    """

    rows: Tensor
    columns: Tensor
    targets: Targets
    own: int
    bias: Tensor | None = None
    row_groups: Tensor | None = None
    column_groups: Tensor | None = None
    row_valid: Tensor | None = None
    column_valid: Tensor | None = None
    exclude_self: bool = False
    only_negatives: bool = False
    only_queue: bool = False
    positive_weight: Tensor | None = None
    symmetric: bool = False
    gram: bool = False

    def is_small(self) -> bool:
        """Whether the whole matrix at once is as fast as tiles are."""
        return len(self.rows) * len(self.columns) <= DENSE_ENTRIES


class Directions(NamedTuple):
    """Loss and total positive weight of each row, and of each column where columns -> rows was asked for.

    The loss is 0 where the weight is 0: nothing to pull, or nothing to tell it apart from.
    """

    rows: Tensor
    row_mass: Tensor
    columns: Tensor | None
    column_mass: Tensor | None
