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
        at, here: for positives named by an index: where in this block the positive of each row is, and
            whether.
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
        assert self.at is not None
        assert self.here is not None
        x.scatter_add_(1, self.at, torch.where(self.here, values, 0.0)[:, None])


class Tiles:
    """Walks over a problem in blocks of `height` x `width` and computes each block in preallocated memory.

    Logits are multiplied by `unit`: in base 2 where nothing else is said.

    >>> from core.objectives.targets import Targets
    >>> x = torch.eye(3)
    >>> tiles = Tiles(Problem(x, x, Targets("index", torch.arange(3)), own=3), height=2, width=2)
    >>> [(tile.row, tile.column) for tile in tiles.of_rows((0, 2))]
    [((0, 2), (0, 2)), ((0, 2), (2, 3))]
    """

    def __init__(self, problem: Problem, height: int, width: int, unit: float = LOG2E) -> None:
        self.unit = unit
        rows, columns = problem.rows, problem.columns
        self.height, self.width = min(height, len(rows)), min(width, len(columns))
        targets = problem.targets
        if targets.kind == "index":
            targets = replace(targets, rows=_usable(targets.rows, problem))
        elif targets.kind == "classes" and targets.columns is not None:
            numbers = compact(targets.rows, targets.columns, rows)
            targets = replace(targets, rows=numbers[0], columns=numbers[1])
        if problem.row_groups is not None and problem.column_groups is not None:
            groups = compact(problem.row_groups, problem.column_groups, rows)
            problem = replace(problem, row_groups=groups[0], column_groups=groups[1])
        gram = problem.gram and targets.kind != "weights" and _mutual(targets)
        self.problem = replace(problem, targets=targets, gram=gram)
        self.row_penalty, self.column_penalty = (
            None if valid is None else (~valid).to(rows.dtype) * LEFT_OUT
            for valid in (problem.row_valid, problem.column_valid)
        )
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

        A block's memory is reused by the next one, unless `out` (height * all columns) holds them side by
        side.
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
        logits.addmm_(problem.rows[top:bottom], problem.columns[left:right].T, beta=0, alpha=self.unit)
        tile = Tile(row, column, logits)
        own = left < problem.own
        if own:
            if problem.bias is not None:
                logits.add_(cut(problem.bias, row, column).clamp_min(LEFT_OUT), alpha=self.unit)
            self._read_positives(tile)
        if problem.row_groups is not None and problem.column_groups is not None:
            same = torch.eq(
                problem.row_groups[top:bottom, None],
                problem.column_groups[None, left:right],
                out=self.spare(logits),
            )
            logits.add_(self._but_positives(same, tile), alpha=LEFT_OUT)
        if own and problem.only_queue:
            logits.add_(self._but_positives(self.spare(logits).fill_(1), tile), alpha=LEFT_OUT)
        if own and problem.exclude_self:
            _diagonal(tile, logits).add_(LEFT_OUT)
        if self.row_penalty is not None:
            logits.add_(self.row_penalty[top:bottom, None])
        if self.column_penalty is not None:
            logits.add_(self.column_penalty[left:right])
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
        if problem.exclude_self:
            _diagonal(tile, weights).zero_()
        if problem.bias is not None:
            weights.mul_(cut(problem.bias, tile.row, tile.column) > LEFT_OUT)
        if problem.row_valid is not None:
            weights.mul_(problem.row_valid[top:bottom, None])
        if problem.column_valid is not None:
            weights.mul_(problem.column_valid[left:right])
        tile.weights = weights

    def _but_positives(self, marks: Tensor, tile: Tile) -> Tensor:
        """Clears the marks (1 or 0) of a block where its positives are."""
        if tile.weights is not None:
            return marks.mul_(tile.weights == 0)
        if tile.at is not None and tile.here is not None:
            marks.scatter_(1, tile.at, torch.where(tile.here[:, None], 0.0, marks.gather(1, tile.at)))
        return marks


def cut(bias: Tensor, row: Span, column: Span) -> Tensor:
    """The part of a (N or 1, M or 1) tensor that belongs to a block."""
    bias = bias[slice(*row)] if len(bias) > 1 else bias
    return bias[:, slice(*column)] if bias.shape[1] > 1 else bias


def _diagonal(tile: Tile, x: Tensor) -> Tensor:
    """The entries of a block `x` where row and column have the same number; may be empty."""
    offset = tile.row[0] - tile.column[0]
    return x.diagonal(offset) if -len(x) < offset < x.shape[1] else x[:0, 0]


def _usable(index: Tensor, problem: Problem) -> Tensor:
    """The column that each row is pulled to, -1 where there is none or where it may not be seen."""
    count = len(index)
    usable, at = index >= 0, index.clamp_min(0)
    if problem.exclude_self:
        usable = usable & (index != torch.arange(count, device=index.device))
    if problem.bias is not None:
        usable = usable & (problem.bias.expand(count, problem.own).gather(1, at[:, None])[:, 0] > LEFT_OUT)
    if problem.row_valid is not None:
        usable = usable & problem.row_valid
    if problem.column_valid is not None:
        usable = usable & problem.column_valid[at]
    return torch.where(usable, index, -1)


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
