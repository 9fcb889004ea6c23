"""The logarithm of the partition sum of each row: the half of a contrastive loss that pushes apart."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from core.objectives.rows import EMPTY, ids_or_rows

TILE_ENTRIES = 1 << 21
"""Up to this many similarities (8 MiB in float32) exist at once; more are computed in tiles of rows."""

LOG2E = math.log2(math.e)

Pair = tuple[Tensor, Tensor]


def in_row_tiles(
    function: Callable[..., Tensor], per_row: Sequence[Tensor], shared: Sequence[Tensor | None], *, width: int
) -> Tensor:
    """Calls `function(*per_row, *shared)`; where it is large, in tiles of rows that backward recomputes.

    Args:
        function: gives one value a row and treats rows independently of each other.
        per_row: tensors of N rows, cut into tiles together.
        shared: tensors that every tile sees whole.
        width: similarities a row, which with N sets the tile.

    Returns:
        (N,) values; memory O(TILE_ENTRIES + inputs) whatever N.

    >>> sums = lambda rows, columns: (rows @ columns.T).sum(1)
    >>> in_row_tiles(sums, [torch.ones(3, 2)], [torch.ones(5, 2)], width=5)
    tensor([10., 10., 10.])
    """
    count = len(per_row[0])
    if count * width <= TILE_ENTRIES:
        return function(*per_row, *shared)
    tile = max(1, TILE_ENTRIES // 8 // width)  # autograd keeps about eight matrices of a tile
    return _Recomputed.apply(function, tile, len(per_row), *per_row, *shared)


class _Recomputed(torch.autograd.Function):
    """Runs a function of rows tile by tile without a graph; backward runs it again, a tile's graph at a time."""

    @staticmethod
    def forward(ctx: Any, function: Callable[..., Tensor], tile: int, split: int, *tensors: Tensor) -> Tensor:
        ctx.save_for_backward(*tensors)
        ctx.function, ctx.tile, ctx.split = function, tile, split
        blocks = zip(*(x.split(tile) for x in tensors[:split]), strict=True)
        return torch.cat([function(*rows, *tensors[split:]) for rows in blocks])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        tensors, wanted = ctx.saved_tensors, ctx.needs_input_grad[3:]
        totals = [torch.zeros_like(x) if want else None for x, want in zip(tensors, wanted, strict=True)]
        for top in range(0, len(tensors[0]), ctx.tile):
            block = slice(top, top + ctx.tile)
            inputs = [
                None if x is None else (x[block] if at < ctx.split else x).detach().requires_grad_(wanted[at])
                for at, x in enumerate(tensors)
            ]
            with torch.enable_grad(), torch.autocast(gradients[0].device.type, enabled=False):
                values = ctx.function(*inputs)
                leaves = [x for x, want in zip(inputs, wanted, strict=True) if want]
                found = iter(torch.autograd.grad(values, leaves, gradients[0][block], allow_unused=True))
            for at, total in enumerate(totals):
                if total is not None and (part := next(found)) is not None:
                    (total[block] if at < ctx.split else total).add_(part)
        return None, None, None, *totals


def log_partition(
    rows: Tensor,
    columns: Tensor,
    *ids: Pair,
    period: int | None = None,
    valid: Tensor | None = None,
) -> Tensor:
    """log sum_j exp(<row_i, column_j>) over the columns j that row i may be compared with.

    Args:
        rows: (N, d), already multiplied by the scale.
        columns: (M, d).
        ids: any number of ((N,), (M,)) integer pairs; a column is left out where an id equals the row's.
        period: leaves out the columns j with (j - i) divisible by it; M leaves out the row's own column.
        valid: (M,) bool; columns marked False are left out for every row.

    Returns:
        (N,); `EMPTY` (-1e30, zero gradient) for a row that has no column left. Differentiable once where
        computed in tiles (more than `TILE_ENTRIES` similarities), else any number of times.

    >>> x = torch.zeros(3, 2)
    >>> log_partition(x, x, period=3).exp()
    tensor([2., 2., 2.])
    """
    if len(columns) == 0:
        return torch.full_like(rows[:, 0], EMPTY)
    row_ids, column_ids = [mine for mine, _ in ids], [theirs for _, theirs in ids]
    if len(rows) * len(columns) > TILE_ENTRIES:
        return _Tiled.apply(rows, columns, valid, period, *row_ids, *column_ids)
    logits = _masked(rows @ columns.T, 0, row_ids, column_ids, period, valid)
    total = logits.logsumexp(1)
    return torch.where(total < EMPTY / 2, EMPTY, total)


def _masked(
    logits: Tensor,
    top: int,
    row_ids: Sequence[Tensor],
    column_ids: Sequence[Tensor],
    period: int | None,
    valid: Tensor | None,
) -> Tensor:
    """Writes `EMPTY` into a block of logits (rows from `top`, all columns) where a column is left out."""
    height, width = logits.shape
    for mine, theirs in zip(row_ids, column_ids, strict=True):
        logits = logits.masked_fill_(mine[top : top + height, None] == theirs[None, :], EMPTY)
    if valid is not None:
        logits = logits.masked_fill_(~valid[None, :], EMPTY)
    if period is not None:
        lowest = 1 - height + (top + height - 1) % period
        for offset in range(lowest, width, period):
            logits.diagonal(offset).fill_(EMPTY)
    return logits


class _Tiled(torch.autograd.Function):
    """The same with a backward by hand: each tile of similarities is computed twice and never stored.

    In base 2 throughout: 2^x costs a third of e^x on a CPU.
    """

    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, columns: Tensor, valid: Tensor | None, period: int | None, *ids: Tensor
    ) -> Tensor:
        top, total = rows.new_empty(len(rows)), rows.new_empty(len(rows))
        for block, logits in _tiles(rows, columns, valid, period, ids):
            top[block] = logits.amax(1)
            total[block] = logits.sub_(top[block, None]).exp2_().sum(1)
        log2 = torch.where(top > EMPTY / 2, top + total.log2(), EMPTY)
        ctx.save_for_backward(rows, columns, valid, log2, *ids)
        ctx.period = period
        return torch.where(log2 > EMPTY / 2, log2 / LOG2E, EMPTY)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        rows, columns, valid, log2, *ids = ctx.saved_tensors
        for_rows = torch.empty_like(rows) if ctx.needs_input_grad[0] else None
        for_columns = torch.zeros_like(columns) if ctx.needs_input_grad[1] else None
        weight = torch.where(log2 > EMPTY / 2, gradients[0], 0.0)
        with torch.autocast(rows.device.type, enabled=False):
            for block, logits in _tiles(rows, columns, valid, ctx.period, ids):
                share = logits.sub_(log2[block, None]).exp2_().mul_(weight[block, None])
                if for_rows is not None:
                    torch.mm(share, columns, out=for_rows[block])
                if for_columns is not None:
                    for_columns.addmm_(share.T, rows[block])
        return for_rows, for_columns, None, None, *(None for _ in ids)


def _tiles(
    rows: Tensor, columns: Tensor, valid: Tensor | None, period: int | None, ids: Sequence[Tensor]
) -> Iterator[tuple[slice, Tensor]]:
    """Blocks of base-2 logits, each in the memory of the one before: a slice of rows, all columns."""
    height = max(1, TILE_ENTRIES // len(columns))
    memory = rows.new_empty(min(height, len(rows)), len(columns))
    half = len(ids) // 2
    for top in range(0, len(rows), height):
        block = slice(top, min(top + height, len(rows)))
        logits = memory[: block.stop - top]
        torch.addmm(logits, rows[block], columns.T, beta=0, alpha=LOG2E, out=logits)
        yield block, _masked(logits, top, ids[:half], ids[half:], period, valid)


def left_out(
    groups: Tensor | None, x: Tensor, *, row_copies: int = 1, column_copies: int = 1
) -> tuple[list[Pair], int | None]:
    """What a sample is not compared with, for `log_partition`: its group, or (without groups) itself.

    Args:
        groups: (N,) integer ids, or None.
        x: has N rows.
        row_copies, column_copies: how often the N samples follow each other among the rows and the columns.

    Returns:
        The id pairs (none without groups) and the period (None with groups).

    >>> left_out(None, torch.zeros(3, 2), column_copies=2)
    ([], 3)
    """
    if groups is None:
        return [], len(x)
    ids = ids_or_rows(groups, x)
    return [(ids.repeat(row_copies), ids.repeat(column_copies))], None


def partners(row_ids: Tensor, column_ids: Tensor) -> Tensor:
    """How many columns have another id than the row, (N,); in O((N + M) log M), without an N x M mask.

    >>> partners(torch.tensor([0, 1]), torch.tensor([0, 0, 2]))
    tensor([1, 3])
    """
    ordered = column_ids.sort().values
    same = torch.searchsorted(ordered, row_ids, right=True) - torch.searchsorted(ordered, row_ids)
    return len(column_ids) - same
