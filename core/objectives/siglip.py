"""SigLIP: every pair is a yes-or-no question of its own, without a sum over the batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from core.distributed import first_row, gather, sizes, world_size
from core.errors import KindredError
from core.objectives.contrast import Method
from core.objectives.problem import LEFT_OUT, Problem
from core.objectives.rows import as_rows, in_full_precision, unit_rows
from core.objectives.sweep import Gradients
from core.objectives.targets import expect_shape, make_targets
from core.objectives.tiled import INPUTS, choose_tile, fake_gradients, pack, unpack
from core.objectives.tiles import LOG2E, Tiles

Pairs = Literal["mean", "sum", "pairs"]


@in_full_precision
def siglip(
    x: Tensor,
    y: Tensor,
    *,
    scale: float | Tensor = 10.0,
    bias: float | Tensor = -10.0,
    positives: Tensor | None = None,
    x_labels: Tensor | None = None,
    y_labels: Tensor | None = None,
    label_weights: str = "cosine",
    groups: Tensor | None = None,
    x_valid: Tensor | None = None,
    y_valid: Tensor | None = None,
    normalize: bool = True,
    reduction: Pairs = "mean",
    method: Method = "auto",
    tile: int | None = None,
) -> Tensor:
    """Asks of every pair of rows whether they belong together.

    Formula:
        L = 1/N sum_ij [ softplus(l_ij) - t_ij l_ij ], l_ij = a <x_i, y_j> + b, which for t = 1 on the
        diagonal and 0 elsewhere is -1/N sum_ij log sigmoid(+-l_ij). t may be any number in [0, 1].

    Use when:
        Batches are small, positives are many or soft (overlap of label sets), or pairs are missing: there is
        no normaliser that a missing or false negative would spoil.

    Cost:
        Time 6 N M d in one pass; memory O((N + M) d + tile).

    Source:
        Zhai et al. 2023, "Sigmoid loss for language image pre-training". Verified against numbers of
        open_clip 3.3.0, for its blocks of negatives alone too.

    Distributed:
        gather.

    Used by:
        eo_pretraining (as the soft term of SoftCon).

    Args:
        x: (N, d), any float dtype.
        y: (M, d).
        scale: a > 0; may carry gradient.
        bias: b, one number; may carry gradient. -10 because nearly all pairs are negative at first.
        positives: None: row i goes with row i. (N,) int64: the partner of each row, negative for none (all
            -1: a block of negatives). (N, M) numbers in [0, 1]: t_ij.
        x_labels: instead of positives: (N,) integers, t_ij = 1 where equal; or (N, C) numbers >= 0, t_ij by
            `label_weights`, computed a tile at a time.
        y_labels: (M,) or (M, C); those of x where left out.
        label_weights: "cosine", "jaccard" or "shared".
        groups: (N,) integers, N = M; pairs of one group that are no positives are left out.
        x_valid: (N,) bool; absent rows (False) are left out of all pairs and may hold anything.
        y_valid: (M,) bool.
        normalize: put rows on the unit sphere.
        reduction: "mean": sum over pairs / N; "sum"; "pairs": mean over the pairs that are not left out.
        method: "tiled" (hand-written backward, differentiable once), "dense", or "auto".
        tile: side of a tile; chosen where left out.

    Returns:
        Scalar >= 0; 0 where every pair is left out.

    Raises:
        KindredError: shapes that do not fit, or an unknown word.

    Example:
        >>> siglip(torch.eye(2), torch.eye(2), scale=1.0, bias=0.0)
        tensor(1.0064)
    """
    x, y = as_rows("x", x), as_rows("y", y)
    if x.shape[1] != y.shape[1]:
        raise KindredError("y", seen=tuple(y.shape), expected=f"(any, {x.shape[1]}), as wide as x")
    if reduction not in ("mean", "sum", "pairs"):
        raise KindredError("reduction", seen=reduction, expected="mean, sum or pairs")
    n, m, dtype = len(x), len(y), torch.promote_types(x.dtype, y.dtype)
    targets = make_targets(positives, x_labels, y_labels, label_weights, x, y)
    if groups is not None:
        expect_shape("groups", groups, (n,))
        expect_shape("y", y, (n, y.shape[1]))
    for name, valid, count in (("x_valid", x_valid, n), ("y_valid", y_valid, m)):
        if valid is not None:
            expect_shape(name, valid, (count,))
    x = x.to(dtype) if x_valid is None else torch.where(x_valid[:, None], x.to(dtype), 0.0)
    y = y.to(dtype) if y_valid is None else torch.where(y_valid[:, None], y.to(dtype), 0.0)
    if normalize:
        x, y = unit_rows(x), unit_rows(y)
    if n == 0 or m == 0:
        return 0 * (x.sum() + y.sum())
    problem = Problem(
        (x * scale).to(dtype), y, targets, m, bias=torch.as_tensor(bias, dtype=dtype, device=x.device).reshape(1, 1),
        row_groups=groups, column_groups=groups, row_valid=x_valid, column_valid=y_valid,
    )  # fmt: skip
    if method == "dense" or (method == "auto" and problem.is_small()):
        total, pairs = _dense(problem)
    else:
        tensors, kind, numbers = pack(problem, tile)
        total, pairs = _OnePass.apply(kind, numbers, *tensors)
    if reduction == "sum":
        return total
    return total / (max(n, 1) if reduction == "mean" else pairs.clamp_min(1))


def _dense(problem: Problem) -> tuple[Tensor, Tensor]:
    """Sum over pairs, and how many there are, with N x M matrices and autograd."""
    n, m = len(problem.rows), problem.own
    logits = problem.rows @ problem.columns.T
    target = problem.targets.tile(0, n, 0, m, logits)
    keep = torch.ones_like(logits, dtype=torch.bool)
    if problem.bias is not None:
        logits = logits + problem.bias
    if problem.row_groups is not None and problem.column_groups is not None:
        keep = keep & ((problem.row_groups[:, None] != problem.column_groups) | (target > 0))
    if problem.row_valid is not None:
        keep = keep & problem.row_valid[:, None]
    if problem.column_valid is not None:
        keep = keep & problem.column_valid
    terms = -logsigmoid(-logits) - target * logits
    return torch.where(keep, terms, 0.0).sum(), keep.sum().to(logits.dtype)


def _sweep(tiles: Tiles, wanted: tuple[bool, bool, bool]) -> tuple[Tensor, Tensor, Gradients]:
    """Sum over pairs, how many there are, and the gradient of the sum, each logit computed once."""
    problem = tiles.problem
    found = Gradients.zeros(problem, wanted)
    total = problem.rows.new_zeros(len(problem.rows))
    pairs = torch.zeros_like(total)
    rows_across = problem.rows.T.contiguous() if wanted[1] else problem.rows.T
    third = torch.empty_like(tiles.scratch[0])
    for row in tiles.rows():
        here = slice(*row)
        for tile in tiles.of_rows(row):
            logits, slope = tile.logits, tiles.spare(tile.logits)
            spare = third[: logits.numel()].view(logits.shape)
            if tile.weights is not None:
                total[here] -= torch.mul(tile.weights, logits, out=spare).sum(1)
            elif tile.pulled is not None:
                total[here] -= tile.pulled
            pairs[here] += torch.gt(logits, LEFT_OUT / 2, out=spare).sum(1)
            total[here] += torch.clamp(logits, min=0, out=spare).sum(1)
            torch.sigmoid(logits, out=slope)
            small = logits.abs_().mul_(-LOG2E).exp2_()  # softplus(l) = max(l, 0) + log1p(exp(-|l|)), and
            ratio = small.div_(
                torch.add(small, 2, out=spare)
            )  # log1p(e) = 2 atanh(e / (2 + e)), seven times faster
            total[here] += ratio.atanh_().sum(1).mul_(2)
            if tile.weights is not None:
                slope.sub_(tile.weights)
            elif tile.at is not None:
                tile.add_at_positives(slope, slope.new_full((len(slope),), -1.0))
            found.add(tile, slope, problem.columns, rows_across, problem.own)
    return total.sum(), pairs.sum(), found


@torch.library.custom_op(
    "kindred::sigmoid_one_pass",
    mutates_args=(),
    schema="(Tensor?[] tensors, str kind, int[] numbers, bool[] wanted) -> Tensor[]",
)
def _one_pass(
    tensors: Sequence[Tensor | None], kind: str, numbers: Sequence[int], wanted: Sequence[bool]
) -> list[Tensor]:
    problem, tile = unpack(tensors, kind, numbers)
    with torch.autocast(problem.rows.device.type, enabled=False):
        side = choose_tile(problem, tile)
        total, pairs, found = _sweep(Tiles(problem, side, side, unit=1.0), (wanted[0], wanted[1], wanted[2]))
        return [total, pairs, *found.tensors(problem)]


@_one_pass.register_fake
def _(
    tensors: Sequence[Tensor | None], kind: str, numbers: Sequence[int], wanted: Sequence[bool]
) -> list[Tensor]:
    problem = unpack(tensors, kind, numbers)[0]
    return [problem.rows.new_empty(()), problem.rows.new_empty(()), *fake_gradients(problem, wanted)]


class _OnePass(torch.autograd.Function):
    """(kind, numbers, *tensors) -> sum over pairs, number of pairs."""

    @staticmethod
    def forward(ctx: Any, kind: str, numbers: list[int], *tensors: Tensor | None) -> tuple[Tensor, Tensor]:
        ctx.wanted = [bool(need) for need in ctx.needs_input_grad[2:5]]
        total, pairs, *gradients = _one_pass(list(tensors), kind, numbers, ctx.wanted)
        ctx.save_for_backward(*gradients)
        ctx.mark_non_differentiable(pairs)
        return total, pairs

    @staticmethod
    def backward(ctx: Any, upstream: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        gradients = iter(ctx.saved_tensors)
        scaled = (next(gradients) * upstream if want else None for want in ctx.wanted)
        return None, None, *scaled, *([None] * (INPUTS - 3))


class SigLIP(nn.Module):
    """`siglip` over the batches of all ranks, with a learned scale (at most 100) and a learned bias.

    Each rank asks its own rows against everybody's partners: time O(N/ranks * N).

    Args:
        scale: first value of the scale; its logarithm is what is learned.
        bias: first value of the bias.

    Example:
        >>> SigLIP(scale=1.0, bias=0.0)(torch.eye(2), torch.eye(2)).detach()
        tensor(1.0064)
    """

    def __init__(self, scale: float = 10.0, bias: float = -10.0) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self.bias = nn.Parameter(torch.tensor(float(bias)))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Loss of the pairs (x_i, y_i), (N, d) each."""
        with torch.no_grad():
            self.log_scale.clamp_(max=math.log(100))
        scale, bias = self.log_scale.exp(), self.bias
        if world_size() == 1:
            return siglip(x, y, scale=scale, bias=bias)
        counts = sizes(len(x), x.device)
        start = first_row(len(x), counts)
        mine = torch.arange(start, start + len(x), device=x.device)
        loss = siglip(x, gather(y, counts), scale=scale, bias=bias, positives=mine, reduction="sum")
        return loss * world_size() / max(sum(counts), 1)
