"""Passes over the tiles of a contrastive problem: the statistics that give the loss, and its gradient by hand."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from core.objectives.problem import LEFT_OUT, Problem
from core.objectives.tiles import Tile, Tiles, cut

LN2 = math.log(2)
STRIPE = 1 << 22
"""Numbers in the block of whole rows that the one-pass gradient keeps (16 MiB in float32)."""


@dataclass
class Statistics:
    """What one direction of a softmax loss needs to know about each of its rows, (N,) each.

    Args:
        top: largest base-2 logit seen.
        total: sum of 2^(logit - top).
        pull: sum of weight * base-2 logit over the positives.
        mass: sum of the weights of the positives.
        live: 1 where the row has a loss, 0 where that is 0 by definition.
    """

    top: Tensor
    total: Tensor
    pull: Tensor
    mass: Tensor
    live: Tensor

    @classmethod
    def empty(cls, count: int, tiles: Tiles) -> Statistics:
        """Statistics of rows that have seen nothing yet."""
        like = tiles.problem.rows
        return cls(
            like.new_full((count,), 0.0 if tiles.bounded else LEFT_OUT),
            *(like.new_zeros(count) for _ in range(4)),
        )

    def see(self, at: slice, logits: Tensor, scratch: Tensor, dim: int) -> None:
        """Adds a block of logits to the running maximum and sum of the rows `at`; `dim` is the one summed over."""
        top = torch.maximum(self.top[at], logits.amax(dim))
        torch.sub(logits, top.unsqueeze(dim), out=scratch)
        self.total[at] = self.total[at] * torch.exp2(self.top[at] - top) + scratch.exp2_().sum(dim)
        self.top[at] = top

    def close(self, problem: Problem) -> None:
        """Finds the rows that have a loss: they saw a column, have a positive, and saw more than that positive."""
        self.mass *= ~((self.top <= LEFT_OUT / 2) | (self.total <= 0))  # in this form a NaN stays a NaN
        self.live.copy_(self.mass > 0)
        if (
            not problem.only_negatives and problem.positive_weight is None
        ):  # log(1) is 0 whatever the rounding
            self.live *= ~(self.total <= torch.exp2(self._pull() - self.top))

    def _pull(self) -> Tensor:
        return self.pull / torch.where(self.mass > 0, self.mass, 1.0)

    def loss(self, positive_weight: Tensor | None) -> Tensor:
        """(N,) log sum exp - weighted mean of the positives' logits, in natural units; 0 for rows without loss."""
        dtype, live = self.top.dtype, self.live > 0
        pull = self._pull().double()  # what follows is a difference of large numbers
        if positive_weight is not None:
            pull = pull * positive_weight
        total = torch.where(live, self.total, 1.0).double()
        return torch.where(live, LN2 * (self.top.double() - pull) + total.log(), 0.0).to(dtype)

    def factors(self, gradient: Tensor, positive_weight: Tensor | None) -> tuple[Tensor, Tensor]:
        """What to multiply 2^(logit - top) and the weights by, to get the gradient of sum(gradient * loss)."""
        live = self.live > 0
        push = torch.where(live, gradient / torch.where(live, self.total, 1.0), 0.0)
        pull = torch.where(live, gradient / torch.where(live, self.mass, 1.0), 0.0)
        return push, pull if positive_weight is None else pull * positive_weight

    def tensors(self) -> list[Tensor]:
        """top, total, pull, mass, live."""
        return [getattr(self, field.name) for field in fields(self)]


def measure(tiles: Tiles) -> tuple[Statistics, Statistics | None]:
    """One pass: statistics of the rows and, for a symmetric problem, of the columns.

    >>> from core.objectives.targets import Targets
    >>> x = torch.eye(2)
    >>> rows, _ = measure(Tiles(Problem(x, x, Targets("index", torch.arange(2)), own=2), height=1, width=1))
    >>> rows.loss(None)
    tensor([0.3133, 0.3133])
    """
    problem = tiles.problem
    rows = Statistics.empty(len(problem.rows), tiles)
    columns = Statistics.empty(problem.own, tiles) if problem.symmetric else None
    across = rows if problem.gram else columns
    for row in tiles.rows():
        here = slice(*row)
        for tile in tiles.of_rows(row):
            mirrored = tile.column[1] <= problem.own and not (problem.gram and tile.row == tile.column)
            beside = across if mirrored else None
            _see_positives(rows, beside, tile, tiles)
            tiles.hide_positives(tile)
            if tiles.bounded:
                rows.total[here] += tile.logits.exp2_().sum(1)
                if beside is not None:
                    beside.total[slice(*tile.column)] += tile.logits.sum(0)
                continue
            rows.see(here, tile.logits, tiles.spare(tile.logits), dim=1)
            if beside is not None:
                beside.see(slice(*tile.column), tile.logits, tiles.spare(tile.logits), dim=0)
    if problem.targets.kind == "index":
        _settle_index(rows, columns, tiles)
    for side in (rows, columns):
        if side is not None:
            side.close(problem)
    return rows, columns


def _see_positives(rows: Statistics, beside: Statistics | None, tile: Tile, tiles: Tiles) -> None:
    here, there = slice(*tile.row), slice(*tile.column)
    if tile.pulled is not None:
        rows.pull[here] += tile.pulled
    if tile.weights is None:
        return
    weighted = torch.mul(tile.weights, tile.logits, out=tiles.spare(tile.logits))
    rows.mass[here] += tile.weights.sum(1)
    rows.pull[here] += weighted.sum(1)
    if beside is not None:
        beside.mass[there] += tile.weights.sum(0)
        beside.pull[there] += weighted.sum(0)


def _settle_index(rows: Statistics, columns: Statistics | None, tiles: Tiles) -> None:
    """For positives named by an index: their mass, and what the columns and the skipped half know of them."""
    index = tiles.problem.targets.rows
    known = index >= 0
    rows.mass.copy_(known)
    if tiles.problem.gram:  # positives are mutual: a block below the diagonal mirrors one that was seen
        mine = torch.arange(len(index), device=index.device)
        seen = index // tiles.width >= mine // tiles.width
        rows.pull.copy_(torch.where(seen, rows.pull, rows.pull[index.clamp_min(0)]))
    if columns is not None:
        at = torch.where(known, index, 0)
        _add_at(columns.mass, at, known.to(rows.mass.dtype))
        _add_at(columns.pull, at, torch.where(known, rows.pull, 0.0))


def _add_at(x: Tensor, at: Tensor, values: Tensor) -> None:
    """x[at] += values in a fixed order: of the two ways to write it, one is deterministic on each device."""
    if x.is_cuda:
        x.index_put_((at,), values, accumulate=True)
    else:
        x.index_add_(0, at, values)


@dataclass
class Gradients:
    """Where the gradient of the loss is collected; None for an input that wants none.

    Args:
        rows: (N, d).
        columns: (d, M), transposed: so that both products run along the fast axis.
        bias: of the shape of the problem's bias.
    """

    rows: Tensor | None
    columns: Tensor | None
    bias: Tensor | None

    @classmethod
    def zeros(cls, problem: Problem, wanted: tuple[bool, bool, bool]) -> Gradients:
        """Zeros for the wanted ones of (rows, columns, bias)."""
        width = problem.rows.shape[1]
        return cls(
            torch.zeros_like(problem.rows) if wanted[0] else None,
            problem.rows.new_zeros(width, problem.own) if wanted[1] else None,
            torch.zeros_like(problem.bias) if wanted[2] and problem.bias is not None else None,
        )

    def tensors(self, problem: Problem) -> list[Tensor]:
        """The wanted ones, each of its input's shape; queue columns get zeros."""
        found = [] if self.rows is None else [self.rows]
        if self.columns is not None:
            whole = torch.empty_like(problem.columns)
            whole[: problem.own] = self.columns.T
            whole[problem.own :] = 0
            found.append(whole)
        return found if self.bias is None else [*found, self.bias]

    def add(self, tile: Tile, slope: Tensor, columns: Tensor, rows_across: Tensor, own: int) -> None:
        """Adds what one block contributes; `slope` is d loss / d logit of the block, `rows_across` the rows (d, N)."""
        here, there = slice(*tile.row), slice(*tile.column)
        if self.rows is not None:
            self.rows[here].addmm_(slope, columns[there])
        if tile.column[1] > own:
            return
        if self.columns is not None:
            self.columns[:, there].addmm_(rows_across[:, here], slope)
        if self.bias is not None:
            part = cut(self.bias, tile.row, tile.column)
            part.add_(slope.sum_to_size(part.shape))


def differentiate(
    tiles: Tiles,
    rows: Statistics,
    columns: Statistics | None,
    row_gradient: Tensor,
    column_gradient: Tensor | None,
    wanted: tuple[bool, bool, bool],
) -> Gradients:
    """The second pass: recomputes each block and turns it into its share of the gradients.

    Args:
        rows, columns: what `measure` found.
        row_gradient, column_gradient: d final loss / d loss of each row, (N,), and of each column, (M,).
        wanted: whether rows, columns and bias want a gradient.
    """
    problem = tiles.problem
    found = Gradients.zeros(problem, wanted)
    push, pull = rows.factors(row_gradient, problem.positive_weight)
    if problem.gram:
        across, push_across, pull_across = rows, push, pull
    elif columns is not None and column_gradient is not None:
        across = columns
        push_across, pull_across = columns.factors(column_gradient, None)
    else:
        across, push_across, pull_across = None, push, pull
    index_pull = pull
    if problem.targets.kind == "index" and across is not None:
        index = problem.targets.rows
        index_pull = pull + torch.where(index >= 0, pull_across[index.clamp_min(0)], 0.0)
    rows_across = problem.rows.T.contiguous() if wanted[1] else problem.rows.T
    for row in tiles.rows():
        here = slice(*row)
        for tile in tiles.of_rows(row):
            there = slice(*tile.column)
            mirrored = across is not None and tile.column[1] <= problem.own
            mirrored = mirrored and not (problem.gram and tile.row == tile.column)
            tiles.hide_positives(tile)
            if tiles.bounded:
                slope, factor = tile.logits.exp2_(), push[here, None]
                if mirrored:
                    factor = torch.add(factor, push_across[there], out=tiles.spare(slope))
                slope.mul_(factor)
            elif mirrored:
                slope = torch.sub(tile.logits, rows.top[here, None], out=tiles.spare(tile.logits))
                slope.exp2_().mul_(push[here, None])
                back = tile.logits.sub_(across.top[there]).exp2_()  # type: ignore[union-attr]
                slope.addcmul_(back, push_across[there])
            else:
                slope = tile.logits.sub_(rows.top[here, None]).exp2_().mul_(push[here, None])
            if tile.weights is not None:
                slope.addcmul_(tile.weights, pull[here, None], value=-1)
                if mirrored:
                    slope.addcmul_(tile.weights, pull_across[there], value=-1)
            elif tile.at is not None:
                tile.add_at_positives(slope, -(index_pull if mirrored else pull)[here])
            found.add(tile, slope, problem.columns, rows_across, problem.own)
    return found


def solve_in_one_pass(
    tiles: Tiles, factor: Tensor, wanted: tuple[bool, bool, bool]
) -> tuple[Statistics, Gradients]:
    """Statistics, and the gradient of sum_i factor_i * loss_i, each logit computed once.

    For rows -> columns only: a stripe of whole rows is kept until its sums are known.
    """
    problem = tiles.problem
    rows = Statistics.empty(len(problem.rows), tiles)
    found = Gradients.zeros(problem, wanted)
    stripe = problem.rows.new_empty(tiles.height * len(problem.columns))
    rows_across = problem.rows.T.contiguous() if wanted[1] else problem.rows.T
    if problem.targets.kind == "index":
        rows.mass.copy_(problem.targets.rows >= 0)
    for row in tiles.rows():
        here = slice(*row)
        blocks = []
        for tile in tiles.of_rows(row, stripe):
            _see_positives(rows, None, tile, tiles)
            tiles.hide_positives(tile)
            if not tiles.bounded:
                rows.top[here] = torch.maximum(rows.top[here], tile.logits.amax(1))
            blocks.append(tile)
        for tile in blocks:
            if not tiles.bounded:
                tile.logits.sub_(rows.top[here, None])
            rows.total[here] += tile.logits.exp2_().sum(1)
        part = Statistics(*(x[here] for x in rows.tensors()))
        part.close(problem)
        weight = None if problem.positive_weight is None else problem.positive_weight[here]
        push, pull = part.factors(factor[here], weight)
        for tile in blocks:
            slope = tile.logits.mul_(push[:, None])
            if tile.weights is not None:
                slope.addcmul_(tile.weights, pull[:, None], value=-1)
            elif tile.at is not None:
                tile.add_at_positives(slope, -pull)
            found.add(tile, slope, problem.columns, rows_across, problem.own)
    return rows, found
