"""The logarithm of the partition sum of each row: the half of a contrastive loss that pushes apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from core.objectives.rows import EMPTY

DENSE_ENTRIES = 1 << 22
"""Up to this many similarities (16 MiB in float32) are kept at once; more are recomputed in tiles."""

Pair = tuple[Tensor, Tensor]


def in_row_tiles(
    function: Callable[..., Tensor], per_row: Sequence[Tensor], shared: Sequence[Tensor | None], *, width: int
) -> Tensor:
    """Calls `function(*per_row, *shared)`; where it is large, in tiles of rows that backward recomputes.

    Args:
        function: gives one value a row and treats rows independently of each other.
        per_row: tensors of N rows, cut into tiles together.
        shared: tensors that every tile sees whole.
        width: similarities a row, which with N sets the tile (at most `DENSE_ENTRIES` at a time).

    Returns:
        (N,) values; memory O(DENSE_ENTRIES + inputs) whatever N.

    >>> sums = lambda rows, columns: (rows @ columns.T).sum(1)
    >>> in_row_tiles(sums, [torch.ones(3, 2)], [torch.ones(5, 2)], width=5)
    tensor([10., 10., 10.])
    """
    count = len(per_row[0])
    tile = max(1, DENSE_ENTRIES // max(1, width))
    if count <= tile:
        return function(*per_row, *shared)
    tiles = zip(*(x.split(tile) for x in per_row), strict=True)
    return torch.cat([checkpoint(function, *rows, *shared, use_reentrant=False) for rows in tiles])


def _log_sums(rows: Tensor, *rest: Tensor) -> Tensor:
    """Tile of `log_partition`: `rest` is the rows' ids, then the columns' ids, the columns, and what is valid."""
    *ids, columns, valid = rest
    logits = rows @ columns.T
    for mine, theirs in zip(ids[: len(ids) // 2], ids[len(ids) // 2 :], strict=True):
        logits = logits.masked_fill(mine[:, None] == theirs[None, :], EMPTY)
    if valid is not None:
        logits = logits.masked_fill(~valid[None, :], EMPTY)
    total = torch.logsumexp(logits, dim=1)
    return torch.where(total < EMPTY / 2, EMPTY, total)


def log_partition(rows: Tensor, columns: Tensor, *ids: Pair, valid: Tensor | None = None) -> Tensor:
    """log sum_j exp(<row_i, column_j>) over the columns j that row i may be compared with.

    Args:
        rows: (N, d), already multiplied by the scale.
        columns: (M, d).
        ids: any number of ((N,), (M,)) integer pairs; a column is left out where one of its ids equals the
            row's.
        valid: (M,) bool; columns marked False are left out for every row.

    Returns:
        (N,); `EMPTY` (-1e30, zero gradient) for a row that has no column left.

    >>> x, ids = torch.zeros(3, 2), torch.arange(3)
    >>> log_partition(x, x, (ids, ids)).exp()
    tensor([2., 2., 2.])
    """
    if len(columns) == 0:
        return torch.full_like(rows[:, 0], EMPTY)
    per_row = [rows, *(mine for mine, _ in ids)]
    shared = [*(theirs for _, theirs in ids), columns, valid]
    return in_row_tiles(_log_sums, per_row, shared, width=len(columns))


def partners(row_ids: Tensor, column_ids: Tensor) -> Tensor:
    """How many columns have another id than the row, (N,); in O((N + M) log M), without an N x M mask.

    >>> partners(torch.tensor([0, 1]), torch.tensor([0, 0, 2]))
    tensor([1, 3])
    """
    ordered = column_ids.sort().values
    same = torch.searchsorted(ordered, row_ids, right=True) - torch.searchsorted(ordered, row_ids)
    return len(column_ids) - same
