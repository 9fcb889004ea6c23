"""The linear layers on similarities: logistic regressions with an L1 or L2 penalty, solved to their optimum.

Classifier of a branch: BCE + l1 ||W o (1 - I^T)||_1, no bias; fusion: BCE + l1 ||W||_1 + l2 / 2 ||W||^2 with bias.
With labels that few recordings have, L1 leaves single prototypes to decide; L2 lets all of them vote. Both are convex
and their inputs never change, so accelerated proximal gradients over all recordings (FISTA, Beck & Teboulle
2009) replace the stochastic training of the published code: deterministic, and seconds even for 20,000 records.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from core.errors import DataError


@dataclass(frozen=True)
class Linear:
    """``weight`` (C, P) and ``bias`` (C,), float64; logits = s W^T + bias."""

    weight: Tensor
    bias: Tensor


def fit_sparse(
    similarities: Tensor,
    targets: Tensor,
    *,
    l1: float,
    l2: float = 0.0,
    start: Tensor | None = None,
    penalised: Tensor | None = None,
    bias: bool = True,
    pos_weight: Tensor | None = None,
    iterations: int = 500,
    tolerance: float = 1e-7,
) -> Linear:
    """Minimise the mean binary cross entropy plus l1 times the sum of penalised |W| and l2 / 2 times that of W^2.

    With ``bias`` the columns are centred and divided by their spread while solving, so that the penalty treats
    branches of different scale alike (1, 13 and 4); the returned weights are for the similarities as given.

    Args:
        similarities: (N, P). targets: (N, C) of 0/1.
        l1, l2: for a loss that is the mean over recordings and labels, as the published l1.
        start: (C, P) first weights. penalised: (C, P) of 0/1; all by default.
        pos_weight: (C,) weights of the positives.

    >>> s = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.1, 1.0], [0.0, 0.9]])
    >>> y = torch.tensor([[1.0], [1.0], [0.0], [0.0]])
    >>> found = fit_sparse(s, y, l1=1e-4)
    >>> ((s.double() @ found.weight.T + found.bias) > 0).int().flatten().tolist()
    [1, 1, 0, 0]
    """
    x, y = similarities.double(), targets.double()
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or len(x) == 0:
        raise DataError(
            "similarities and targets", seen=(tuple(x.shape), tuple(y.shape)), expected="(N, P), (N, C)"
        )
    classes = y.shape[1]
    centre, spread = x.new_zeros(x.shape[1]), x.new_ones(x.shape[1])
    if bias:
        centre = x.mean(0)
        spread = x.std(0, correction=0).clamp_min(1e-6)
        x = torch.cat([(x - centre) / spread, x.new_ones(len(x), 1)], dim=1)
    weight = x.new_zeros(classes, x.shape[1])
    if start is not None:
        weight[:, : start.shape[1]] = start.double() * (spread if bias else 1)
    charged = torch.ones_like(weight)
    if penalised is not None:
        charged[:, : penalised.shape[1]] = penalised.double()
    if bias:
        charged[:, -1] = 0
        rate = ((y.sum(0) + 0.5) / (len(y) + 1)).logit()
        weight[:, -1] = rate if start is None else weight[:, -1]
    positive = x.new_ones(classes) if pos_weight is None else pos_weight.double()
    weight = _fista(x, y, weight, l1 * charged, l2 * charged, positive, iterations, tolerance)
    if not bias:
        return Linear(weight, x.new_zeros(classes))
    plain = weight[:, :-1] / spread
    return Linear(plain, weight[:, -1] - plain @ centre)


def _fista(
    x: Tensor,
    y: Tensor,
    weight: Tensor,
    l1: Tensor,
    l2: Tensor,
    positive: Tensor,
    iterations: int,
    tolerance: float,
) -> Tensor:
    count = y.numel()
    largest = (
        torch.linalg.matrix_norm(x.T @ x, 2) if x.shape[1] <= len(x) else torch.linalg.matrix_norm(x @ x.T, 2)
    )
    curvature = (largest * positive.clamp_min(1))[:, None] / (4 * count)  # each class has its own bound
    step = 1 / (curvature + l2.amax())
    ahead, momentum = weight, 1.0
    for _ in range(iterations):
        p = (x @ ahead.T).sigmoid()
        residual = p * (1 - y) - positive * (1 - p) * y  # d/dz of -(w y log p + (1 - y) log(1 - p))
        moved = ahead - step * ((residual.T @ x) / count + l2 * ahead)
        new = moved.sign() * (moved.abs() - step * l1).clamp_min(0)
        if float(((ahead - new) * (new - weight)).sum()) > 0:  # overshoot: start the momentum afresh
            momentum = 1.0
        faster = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        ahead = new + (momentum - 1) / faster * (new - weight)
        change = float((new - weight).abs().max())
        weight, momentum = new, faster
        if change < tolerance * max(1.0, float(weight.abs().max())):
            break
    return weight
