"""The contrastive loss written down plainly, with the whole matrix of logits: the reference for the tiled kernel."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from core.objectives.problem import LEFT_OUT, Directions, Problem


def dense_contrast(problem: Problem) -> Directions:
    """Solves `problem` with N x (M + K) matrices and autograd; differentiable any number of times.

    >>> from core.objectives.targets import Targets
    >>> x = torch.eye(2)
    >>> dense_contrast(Problem(x, x, Targets("index", torch.arange(2)), own=2)).rows
    tensor([0.3133, 0.3133])
    """
    n, m = len(problem.rows), problem.own
    queue = len(problem.columns) - m
    logits = problem.rows @ problem.columns.T
    keep = torch.ones_like(logits, dtype=torch.bool)
    if problem.bias is not None:
        logits = logits + pad(problem.bias.clamp_min(LEFT_OUT).expand(n, m), (0, queue))
        keep = keep & pad((problem.bias > LEFT_OUT).expand(n, m), (0, queue), value=True)
    if problem.exclude_self:
        keep = keep & ~torch.eye(n, m + queue, dtype=torch.bool, device=logits.device)
    if problem.row_valid is not None:
        keep = keep & problem.row_valid[:, None]
    if problem.column_valid is not None:
        keep = keep & problem.column_valid
    weights = problem.targets.tile(0, n, 0, m, logits) * keep[:, :m]
    positive = pad(weights > 0, (0, queue))
    if problem.row_groups is not None and problem.column_groups is not None:
        keep = keep & (positive | (problem.row_groups[:, None] != problem.column_groups[None, :]))
    if problem.only_negatives:
        keep = keep & ~positive
    if problem.only_queue:
        keep = keep & pad(weights > 0, (0, queue), value=True)
    rows, row_mass = _direction(logits, keep, weights, problem.positive_weight)
    if not problem.symmetric:
        return Directions(rows, row_mass, None, None)
    return Directions(rows, row_mass, *_direction(logits[:, :m].T, keep[:, :m].T, weights.T, None))


def _direction(
    logits: Tensor, keep: Tensor, weights: Tensor, positive_weight: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Loss of each row and its positive weight, both 0 where the row has no positive or nothing left to see."""
    shift = logits.detach().masked_fill(~keep, LEFT_OUT).amax(1)
    shift = torch.where(keep.any(1), shift, 0.0)
    mass = torch.where(keep.any(1), weights.sum(1), 0.0)
    defined = mass > 0
    total = torch.where(keep, torch.exp(torch.where(keep, logits - shift[:, None], 0.0)), 0.0).sum(1)
    close = torch.where(weights > 0, logits[:, : weights.shape[1]] - shift[:, None], 0.0)
    pull = (weights * close).sum(1) / mass.where(defined, torch.ones_like(mass))
    if positive_weight is not None:  # log total + shift - weight (pull + shift)
        pull = positive_weight * pull + (positive_weight - 1) * shift
    loss = total.where(defined, torch.ones_like(total)).log() - pull
    return torch.where(defined, loss, 0.0), mass
