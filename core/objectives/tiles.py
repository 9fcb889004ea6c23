"""Tiles of a contrastive problem: its logits and positive weights, a block of rows x columns at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from core.objectives.problem import LEFT_OUT, Problem
from core.objectives.targets import Targets

LOG2E = math.log2(math.e)
"""Logits are kept in base 2 inside tiles: 2^x costs a third of e^x on a CPU and no more on a GPU."""

BOUND = 60.0
"""2^60 summed over 2^40 columns, and its inverse, are normal float32 numbers."""

Span = tuple[int, int]


def spans(start: int, stop: int, size: int) -> list[Span]:
    """Cuts start..stop into pieces of `size`, the last one shorter.

    >>> spans(0, 5, 2)
    [(0, 2), (2, 4), (4, 5)]
    """
    return [(at, min(at + size, stop)) for at in range(start, stop, size)]


def compact(rows: Tensor, columns: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """Renumbers two id vectors 0, 1, ... in the dtype of `like`: floats compare into float masks ten times faster.

    >>> compact(torch.tensor([7, -1]), torch.tensor([-1, 7]), torch.zeros(1))
    (tensor([1., 0.]), tensor([0., 1.]))
    """
    numbers = torch.unique(torch.cat([rows, columns]), return_inverse=True)[1].to(like.dtype)
    return numbers[: len(rows)], numbers[len(rows) :]


@dataclass
class Tile:
    """One block: rows `row` and columns `column` of the matrix.

    Args:
        row, column: first and one-past-last index.
        logits: base-2 logits, `LEFT_OUT` (or below) where the column may not be seen.
        weights: raw positive weights; None where an index names the positives, and in the queue.
        at, here: for positives named by an index: where in this block the positive of each row is, and whether.
        pulled: for positives named by an index: their logits, (rows,), 0 where they are in another block.
    """

    row: Span
    column: Span
    logits: Tensor
    weights: Tensor | None = None
    at: Tensor | None = None
    here: Tensor | None = None
    pulled: Tensor | None = None

    def add_at_positives(self, x: Tensor, values: Tensor) -> None:
        """Adds values (rows,) to `x` (rows, columns) at the positive of each row that lies in this block."""
        assert self.at is not None and self.here is not None
        x.scatter_add_(1, self.at, torch.where(self.here, values, 0.0)[:, None])


class Tiles:
    """Walks over a problem in blocks of `height` x `width` and computes each block in preallocated memory.

    >>> from core.objectives.targets import Targets
    >>> x = torch.eye(3)
    >>> tiles = Tiles(Problem(x, x, Targets("index", torch.arange(3)), own=3), height=2, width=2)
    >>> [(tile.row, tile.column) for tile in tiles.of_rows((0, 2))]
    [((0, 2), (0, 2)), ((0, 2), (2, 3))]
    """

    def __init__(self, problem: Problem, height: int, width: int) -> None:
        rows, columns, targets, own = problem.rows, problem.columns, problem.targets, problem.own
        count, total = len(rows), len(columns)
        self.height, self.width = min(height, count), min(width, total)
        if targets.kind == "index":
            index = targets.rows
            if problem.exclude_self:
                index = torch.where(index == torch.arange(count, device=index.device), -1, index)
            if problem.bias is not None:
                chosen = problem.bias.expand(count, own).gather(1, index.clamp_min(0)[:, None])[:, 0]
                index = torch.where(chosen > LEFT_OUT, index, -1)
            targets = replace(targets, rows=index)
        elif targets.kind == "classes":
            assert targets.columns is not None
            targets = replace(
                targets, **dict(zip(("rows", "columns"), compact(targets.rows, targets.columns, rows)))
            )
        if problem.row_groups is not None and problem.column_groups is not None:
            groups = compact(problem.row_groups, problem.column_groups, rows)
            problem = replace(problem, row_groups=groups[0], column_groups=groups[1])
        gram = problem.gram and targets.kind != "weights" and _mutual(targets)
        self.problem = replace(problem, targets=targets, gram=gram)
        self.penalty = None if problem.valid is None else (~problem.valid).to(rows.dtype) * LEFT_OUT
        self.bounded = _bounded(problem)
        self.blocks = self._blocks_of_positives(targets)
        self.scratch = [rows.new_empty(self.height * self.width) for _ in range(2)]

    def _blocks_of_positives(self, targets: Targets) -> dict[int, set[int]] | None:
        """Which blocks of each span of rows hold a positive; None where asking would make a GPU wait."""
        if targets.kind != "index" or targets.rows.is_cuda:
            return None
        return {top: set((targets.rows[top:end] // self.width).tolist()) for top, end in self.rows()}

    def rows(self) -> list[Span]:
        """The spans of rows."""
        return spans(0, len(self.problem.rows), self.height)

    def of_rows(self, row: Span, out: Tensor | None = None) -> Iterator[Tile]:
        """The blocks of one span of rows, left to right; own columns and queue columns never share a block.

        A block's memory is reused by the next one, unless `out` (height * all columns) holds them side by side.
        """
        problem = self.problem
        first = row[0] if problem.gram else 0
        used = 0
        for column in spans(first, problem.own, self.width) + spans(
            problem.own, len(problem.columns), self.width
        ):
            size = (row[1] - row[0]) * (column[1] - column[0])
            memory = self.scratch[0] if out is None else out[used:]
            used += size
            yield self._fill(row, column, memory[:size].view(row[1] - row[0], -1))

    def spare(self, like: Tensor) -> Tensor:
        """A second block of memory of the shape of `like`."""
        return self.scratch[1][: like.numel()].view(like.shape)

    def hide_positives(self, tile: Tile) -> None:
        """Leaves the positives out of the logits, where the problem's denominator holds negatives only."""
        if not self.problem.only_negatives:
            return
        if tile.weights is not None:
            tile.logits.add_(torch.gt(tile.weights, 0, out=self.spare(tile.logits)), alpha=LEFT_OUT)
        elif tile.at is not None:
            tile.add_at_positives(tile.logits, tile.logits.new_full((len(tile.logits),), LEFT_OUT))

    def _fill(self, row: Span, column: Span, logits: Tensor) -> Tile:
        problem, (top, bottom), (left, right) = self.problem, row, column
        logits.addmm_(problem.rows[top:bottom], problem.columns[left:right].T, beta=0, alpha=LOG2E)
        tile = Tile(row, column, logits)
        is_own = left < problem.own
        if is_own and problem.bias is not None:
            bias = problem.bias[top:bottom] if len(problem.bias) > 1 else problem.bias
            bias = bias[:, left:right] if bias.shape[1] > 1 else bias
            logits.add_(bias.clamp_min(LEFT_OUT), alpha=LOG2E)
        if is_own:
            self._read_positives(tile)
        hidden = None
        if problem.row_groups is not None and problem.column_groups is not None:
            hidden = torch.eq(
                problem.row_groups[top:bottom, None],
                problem.column_groups[None, left:right],
                out=self.spare(logits),
            )
            if tile.weights is not None:
                hidden.mul_(tile.weights == 0)
            elif tile.at is not None and tile.here is not None:
                hidden.scatter_(1, tile.at, torch.where(tile.here[:, None], 0.0, hidden.gather(1, tile.at)))
            logits.add_(hidden, alpha=LEFT_OUT)
        if is_own and problem.exclude_self and -len(logits) < top - left < logits.shape[1]:
            logits.diagonal(top - left).add_(LEFT_OUT)
        if not is_own and self.penalty is not None:
            logits.add_(self.penalty[left - problem.own : right - problem.own])
        return tile

    def _read_positives(self, tile: Tile) -> None:
        problem, (top, bottom), (left, right) = self.problem, tile.row, tile.column
        if problem.targets.kind == "index":
            if self.blocks is not None and left // self.width not in self.blocks[top]:
                return
            at = problem.targets.rows[top:bottom] - left
            tile.here = (at >= 0) & (at < right - left)
            tile.at = at.clamp_(0, right - left - 1)[:, None]
            tile.pulled = torch.where(tile.here, tile.logits.gather(1, tile.at)[:, 0], 0.0)
            return
        weights = problem.targets.tile(top, bottom, left, right, tile.logits)
        if problem.exclude_self and -len(weights) < top - left < weights.shape[1]:
            weights.diagonal(top - left).zero_()
        if problem.bias is not None:
            bias = problem.bias[top:bottom] if len(problem.bias) > 1 else problem.bias
            weights.mul_((bias[:, left:right] if bias.shape[1] > 1 else bias) > LEFT_OUT)
        tile.weights = weights


def _bounded(problem: Problem) -> bool:
    """Whether no logit can leave +-BOUND, by Cauchy-Schwarz: then sums of 2^logit need no maximum taken off first."""
    if problem.rows.is_cuda or len(problem.rows) == 0 or len(problem.columns) == 0:
        return False  # on a GPU the answer would have to be waited for
    largest = problem.rows.norm(dim=1).amax() * problem.columns.norm(dim=1).amax() * LOG2E
    if problem.bias is not None:
        largest = largest + problem.bias.abs().amax() * LOG2E
    return bool(largest <= BOUND)


def _mutual(targets: Targets) -> bool:
    """Whether j is a positive of i wherever i is one of j, so that one half of a Gram matrix mirrors the other."""
    if targets.kind != "index":
        return True
    index = targets.rows
    back = index[index.clamp_min(0)]
    return bool(((index < 0) | (back == torch.arange(len(index), device=index.device))).all())
