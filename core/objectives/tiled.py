"""The tiled kernel: the contrastive loss and its gradient in memory O((N + M) d + tile), as operators of torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from core.objectives.problem import Directions, Problem
from core.objectives.sweep import STRIPE, Statistics, differentiate, measure, solve_in_one_pass
from core.objectives.targets import Targets
from core.objectives.tiles import Tiles

Packed = list[Tensor | None]
TILE, GPU_TILE = 512, 4096
"""Side of a tile. On a CPU a block and its copy stay in the second-level cache; a GPU wants more work at a time."""

INPUTS = 10
"""Tensors in a packed problem, the first three of which may want a gradient."""


def tiled_contrast(problem: Problem, tile: int | None = None) -> Directions:
    """Solves `problem` a tile at a time: two passes, the second (backward) recomputing the similarities.

    8 N M d flop with gradients; half of it for a Gram matrix. Differentiable once.

    >>> from core.objectives.targets import Targets
    >>> x = torch.eye(2)
    >>> tiled_contrast(Problem(x, x, Targets("index", torch.arange(2)), own=2)).rows
    tensor([0.3133, 0.3133])
    """
    tensors, kind, numbers = pack(problem, tile)
    row_loss, row_mass, *rest = _TwoPasses.apply(kind, numbers, *tensors)
    return Directions(row_loss, row_mass, *(rest or (None, None)))


def tiled_total(problem: Problem, factor: Tensor, tile: int | None = None) -> tuple[Tensor, Tensor]:
    """Sum of factor_i * loss_i over rows -> columns, and the mass (N,) of each row, in one pass.

    6 N M d flop: the gradient is formed while the similarities are at hand, and waits for the backward pass.

    >>> from core.objectives.targets import Targets
    >>> x = torch.eye(2)
    >>> tiled_total(Problem(x, x, Targets("index", torch.arange(2)), own=2), torch.ones(2))[0]
    tensor(0.6265)
    """
    tensors, kind, numbers = pack(problem, tile)
    return _OnePass.apply(kind, numbers, factor, *tensors)


def pack(problem: Problem, tile: int | None) -> tuple[Packed, str, list[int]]:
    """A problem as what torch operators take: optional tensors, a word and numbers.

    >>> from core.objectives.targets import Targets
    >>> pack(Problem(torch.eye(2), torch.eye(2), Targets("index", torch.arange(2)), own=2), None)[1:]
    ('index', [2, 0, 0, 0, 0, 0, 0])
    """
    tensors: Packed = [
        problem.rows, problem.columns, problem.bias, problem.targets.rows, problem.targets.columns,
        problem.row_groups, problem.column_groups, problem.row_valid, problem.column_valid, problem.positive_weight,
    ]  # fmt: skip
    for at, tensor in enumerate(tensors):  # torch.compile takes no tensor twice
        if tensor is not None and any(tensor is earlier for earlier in tensors[:at]):
            tensors[at] = tensor.view_as(tensor)
    flags = (
        problem.exclude_self, problem.only_negatives, problem.only_queue, problem.symmetric, problem.gram
    )  # fmt: skip
    return tensors, problem.targets.kind, [problem.own, tile or 0, *map(int, flags)]


def unpack(tensors: Sequence[Tensor | None], kind: str, numbers: Sequence[int]) -> tuple[Problem, int]:
    rows, columns, bias, target_rows, target_columns, *masks, weight = tensors
    row_groups, column_groups, row_valid, column_valid = masks
    assert rows is not None
    assert columns is not None
    assert target_rows is not None
    own, tile, *flags = numbers
    exclude_self, only_negatives, only_queue, symmetric, gram = map(bool, flags)
    problem = Problem(
        rows, columns, Targets(kind, target_rows, target_columns), own, bias=bias,
        row_groups=row_groups, column_groups=column_groups, row_valid=row_valid, column_valid=column_valid,
        exclude_self=exclude_self, only_negatives=only_negatives, only_queue=only_queue, positive_weight=weight,
        symmetric=symmetric, gram=gram,
    )  # fmt: skip
    return problem, tile


def choose_tile(problem: Problem, tile: int) -> int:
    """The side of a tile: `tile`, or where that is 0 what suits the device."""
    if tile > 0:
        return tile
    return (
        4096 if problem.rows.is_cuda else 512
    )  # on a CPU a block and its copy stay in the second-level cache


def _tiles(problem: Problem, tile: int) -> Tiles:
    side = choose_tile(problem, tile)
    return Tiles(problem, side, side)


def _stripes(problem: Problem, tile: int) -> Tiles:
    """Blocks whose rows fit side by side into a stripe."""
    width = choose_tile(problem, tile and max(tile, 1))
    limit = STRIPE * (16 if problem.rows.is_cuda else 1)
    return Tiles(problem, max(1, min(width, limit // max(1, len(problem.columns)))), width)


@torch.library.custom_op(
    "kindred::contrast_measure",
    mutates_args=(),
    schema="(Tensor?[] tensors, str kind, int[] numbers) -> Tensor[]",
)
def _measure(tensors: Sequence[Tensor | None], kind: str, numbers: Sequence[int]) -> list[Tensor]:
    problem, tile = unpack(tensors, kind, numbers)
    with torch.autocast(problem.rows.device.type, enabled=False):
        rows, columns = measure(_tiles(problem, tile))
        found = [rows.loss(problem.positive_weight), *rows.tensors()]
        return found if columns is None else [*found, columns.loss(None), *columns.tensors()]


@_measure.register_fake
def _(tensors: Sequence[Tensor | None], kind: str, numbers: Sequence[int]) -> list[Tensor]:
    problem, _ = unpack(tensors, kind, numbers)
    counts = [len(problem.rows)] * 6 + [problem.own] * 6 * problem.symmetric
    return [problem.rows.new_empty(count) for count in counts]


@torch.library.custom_op(
    "kindred::contrast_differentiate",
    mutates_args=(),
    schema="(Tensor?[] tensors, str kind, int[] numbers, Tensor[] statistics, Tensor[] upstream, bool[] wanted)"
    " -> Tensor[]",
)
def _differentiate(
    tensors: Sequence[Tensor | None],
    kind: str,
    numbers: Sequence[int],
    statistics: Sequence[Tensor],
    upstream: Sequence[Tensor],
    wanted: Sequence[bool],
) -> list[Tensor]:
    problem, tile = unpack(tensors, kind, numbers)
    columns = Statistics(*statistics[5:]) if len(statistics) > 5 else None
    with torch.autocast(problem.rows.device.type, enabled=False):
        found = differentiate(
            _tiles(problem, tile), Statistics(*statistics[:5]), columns,
            upstream[0], upstream[1] if len(upstream) > 1 else None, (wanted[0], wanted[1], wanted[2]),
        )  # fmt: skip
        return found.tensors(problem)


def fake_gradients(problem: Problem, wanted: Sequence[bool]) -> list[Tensor]:
    made: list[Tensor] = []
    if wanted[0]:
        made.append(torch.empty_like(problem.rows))
    if wanted[1]:
        made.append(torch.empty_like(problem.columns))
    if wanted[2] and problem.bias is not None:
        made.append(torch.empty_like(problem.bias))
    return made


@_differentiate.register_fake
def _(
    tensors: Sequence[Tensor | None],
    kind: str,
    numbers: Sequence[int],
    statistics: Sequence[Tensor],
    upstream: Sequence[Tensor],
    wanted: Sequence[bool],
) -> list[Tensor]:
    return fake_gradients(unpack(tensors, kind, numbers)[0], wanted)


@torch.library.custom_op(
    "kindred::contrast_one_pass",
    mutates_args=(),
    schema="(Tensor?[] tensors, str kind, int[] numbers, Tensor factor, bool[] wanted) -> Tensor[]",
)
def _one_pass(
    tensors: Sequence[Tensor | None],
    kind: str,
    numbers: Sequence[int],
    factor: Tensor,
    wanted: Sequence[bool],
) -> list[Tensor]:
    problem, tile = unpack(tensors, kind, numbers)
    with torch.autocast(problem.rows.device.type, enabled=False):
        rows, found = solve_in_one_pass(_stripes(problem, tile), factor, (wanted[0], wanted[1], wanted[2]))
        return [factor @ rows.loss(problem.positive_weight), rows.mass, *found.tensors(problem)]


@_one_pass.register_fake
def _(
    tensors: Sequence[Tensor | None],
    kind: str,
    numbers: Sequence[int],
    factor: Tensor,
    wanted: Sequence[bool],
) -> list[Tensor]:
    problem = unpack(tensors, kind, numbers)[0]
    return [factor.new_empty(()), torch.empty_like(factor), *fake_gradients(problem, wanted)]


class _TwoPasses(torch.autograd.Function):
    """(kind, numbers, *tensors) -> row loss, row mass [, column loss, column mass]."""

    @staticmethod
    def forward(ctx: Any, kind: str, numbers: list[int], *tensors: Tensor | None) -> tuple[Tensor, ...]:
        found = _measure(list(tensors), kind, numbers)
        ctx.kind, ctx.numbers = kind, numbers
        ctx.save_for_backward(*tensors, *found)
        sides = [found[i : i + 6] for i in range(0, len(found), 6)]
        outputs = tuple(x for loss, _, _, _, mass, _ in sides for x in (loss, mass.clone()))
        ctx.mark_non_differentiable(*outputs[1::2])
        return outputs

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        tensors, found = list(ctx.saved_tensors[:INPUTS]), ctx.saved_tensors[INPUTS:]
        statistics = [x for i in range(0, len(found), 6) for x in found[i + 1 : i + 6]]
        wanted = [bool(need) for need in ctx.needs_input_grad[2:5]]
        gradients = iter(
            _differentiate(tensors, ctx.kind, ctx.numbers, statistics, list(upstream[::2]), wanted)
        )
        return None, None, *(next(gradients) if want else None for want in wanted), *([None] * (INPUTS - 3))


class _OnePass(torch.autograd.Function):
    """(kind, numbers, factor, *tensors) -> sum of factor * row loss, row mass."""

    @staticmethod
    def forward(
        ctx: Any, kind: str, numbers: list[int], factor: Tensor, *tensors: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        wanted = [bool(need) for need in ctx.needs_input_grad[3:6]]
        total, mass, *gradients = _one_pass(list(tensors), kind, numbers, factor, wanted)
        ctx.wanted = wanted
        ctx.save_for_backward(*gradients)
        ctx.mark_non_differentiable(mass)
        return total, mass

    @staticmethod
    def backward(ctx: Any, upstream: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        gradients = iter(ctx.saved_tensors)
        scaled = (next(gradients) * upstream if want else None for want in ctx.wanted)
        return None, None, None, *scaled, *([None] * (INPUTS - 3))
