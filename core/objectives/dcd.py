"""Dynamic contrastive distillation: a fast student learns a cross-encoder's scores of hard negatives."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus

from core.objectives.rows import as_pair, in_full_precision


class Dcd(NamedTuple):
    """The terms of `dcd`, each a scalar, and their weighted sum."""

    total: Tensor
    distillation: Tensor
    ranking: Tensor


@in_full_precision
def dcd(scores: Tensor, teacher: Tensor, *, balance: float = 0.5, compat: bool = False) -> Dcd:
    """Matches a teacher's scores where the teacher is sure, and ranks the true partner where it is not.

    Formula:
        column 0 holds the true partner, the others hard negatives; H_i the entropy of softmax(teacher_i),
        h_i = H_i / sum H; w = softmax over rows of (1 - h_i)^2;
        distillation = sum_i w_i mean_j (teacher_ij - score_ij)^2;
        ranking = sum_i h_i mean_j binary cross entropy (sigmoid(score_ij), 1 for j = 0 else 0);
        total = balance distillation + (1 - balance) ranking.

    Use when:
        A slow cross-encoder can score a few candidates a query, and a two-tower model must replace it.

    Cost:
        O(N h); the scores are the caller's.

    Source:
        Rao et al. 2023, "Dynamic contrastive distillation for image-text retrieval"; repository raojay7/DCD.
        With `compat=True` verified against numbers of the official code, where the weights w have no effect
        as the squares are averaged before them.

    Distributed:
        gather (scores and teacher's scores: the weights compare queries).

    Used by:
        no pipeline yet.

    Args:
        scores: (N, 1 + h) of the student, any float dtype.
        teacher: (N, 1 + h); no gradient.
        balance: share of the distillation, in [0, 1].
        compat: reproduce the published code.

    Returns:
        `Dcd`.

    Raises:
        KindredError: shapes differ.

    Example:
        >>> dcd(torch.zeros(2, 3), torch.zeros(2, 3)).ranking
        tensor(0.6931)
    """
    scores, teacher = as_pair("scores", scores, "teacher", teacher.detach())
    rows = max(len(scores), 1)
    log_probability = teacher.log_softmax(1)
    entropy = -(log_probability.exp() * log_probability).sum(1)
    whole = entropy.sum()
    doubt = torch.where(whole > 0, entropy / torch.where(whole > 0, whole, 1.0), 1 / rows)
    square = (teacher - scores).square().mean(1)
    distillation = square.sum() / rows if compat else ((1 - doubt).square().softmax(0) * square).sum()
    wrong = torch.cat([softplus(-scores[:, :1]), softplus(scores[:, 1:])], dim=1)
    ranking = (doubt * wrong.mean(1)).sum()
    return Dcd(balance * distillation + (1 - balance) * ranking, distillation, ranking)
