"""The objectives of TeminAL: one sound or several (stage A), and which came first (stage B)."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from core.errors import ConfigError, DataError
from core.objectives.clip import clip
from core.objectives.contrast import contrast

OVERLAP_VIEW = 2  # forward, reversed, while
FEWEST_PAIRS = 2


def single_combined_loss(
    audio: Tensor, text: Tensor, *, scale: float | Tensor, groups: Tensor | None = None
) -> Tensor:
    """Stage A: clips of one sound and sums of two sounds find their captions among both kinds.

    The mean of both directions' cross entropy over the 2N x 2N similarities; the released code returns
    0.8 times their sum, which is 1.6 times this value.

    Args:
        audio, text: (2N, D) unit rows; N of single sounds, then N of combined ones.
        scale: multiplier of the similarities, > 0; may carry gradient.
        groups: (2N,) integers; rows of one group have captions of one meaning and are no negatives of each
            other.

    Source: Sinha et al., arXiv 2408.09269, and its released code.

    >>> round(float(single_combined_loss(torch.eye(4), torch.eye(4), scale=10.0)), 5)
    0.00014
    """
    return clip(audio, text, scale=scale, groups=groups, normalize=False)


def relation_bias(
    views: int,
    pairs: int,
    *,
    alpha_same: float = 1.0,
    alpha_cross: float = 1.0,
    overlap_alpha_same: float | None = None,
    overlap_alpha_cross: float | None = None,
    eps: float = 0.0,
) -> Tensor:
    """(V N, V N) logarithms of the weights of the negatives: 0 inside a relation, log alpha between relations.

    Between two relations the caption of the same pair weighs ``alpha_same`` and those of other pairs
    ``alpha_cross``; with the "while" relation the ``overlap_`` values, which follow the plain ones where
    left out. A weight of 0 leaves the negative out (-inf). ``eps`` is added to each weight before the
    logarithm: 1e-8 repeats the released code.

    >>> relation_bias(2, 2, alpha_cross=0.0)
    tensor([[0., 0., 0., -inf],
            [0., 0., -inf, 0.],
            [0., -inf, 0., 0.],
            [-inf, 0., 0., 0.]], dtype=torch.float64)
    """
    plain = (alpha_same, alpha_cross)
    overlap = (
        alpha_same if overlap_alpha_same is None else overlap_alpha_same,
        alpha_cross if overlap_alpha_cross is None else overlap_alpha_cross,
    )
    if min(*plain, *overlap) < 0:
        raise ConfigError("weights of negatives (alpha)", seen=(plain, overlap), expected="numbers >= 0")
    bias = torch.zeros(views, pairs, views, pairs, dtype=torch.float64)
    for row in range(views):
        for column in range(views):
            if row == column:
                continue
            same, cross = (_log(a, eps) for a in (overlap if OVERLAP_VIEW in (row, column) else plain))
            block = torch.full((pairs, pairs), cross, dtype=torch.float64)
            bias[row, :, column] = block.fill_diagonal_(same)
    return bias.reshape(views * pairs, views * pairs)


def _log(weight: float, eps: float) -> float:
    return math.log(weight + eps) if weight + eps > 0 else -math.inf


class TemporalContrastiveLoss(nn.Module):
    """Stage B (TNCE): a composed clip finds its caption among other pairs and among other orders of its own.

    For row i of V N rows (V relations of N pairs), with unit rows z and bias B of `relation_bias`:

        l_i = -log exp(s z_a,i . z_t,i) / sum_j exp(s z_a,i . z_t,j + B_ij),
        L = sum_i w_i l_i / sum_i w_i, w = 1 in the forward relation and beta in the others,

    in both directions, summed or averaged. With V = 2 (forward, reversed) it is the TACT loss of "Test of
    Time" (Bagad et al., CVPR 2023).

    Args:
        alpha_same, alpha_cross, overlap_alpha_same, overlap_alpha_cross, eps: of `relation_bias`.
        beta: weight of the rows of the reversed and "while" relations, >= 0.
        reduction: ``sum_directions`` (the paper's) or ``mean_directions``.
        duplicate: what to do where two rows have captions of one meaning: ``error``, or ``mask``, which
            leaves those columns out as negatives.

    Source: Sinha et al., arXiv 2408.09269, equations of TNCE; the released code multiplies by 0.8.

    >>> loss = TemporalContrastiveLoss(reduction="mean_directions")
    >>> z = torch.eye(6).reshape(3, 2, 6)
    >>> round(float(loss(z, z, 10.0)), 5)
    0.00023
    """

    def __init__(
        self,
        *,
        alpha_same: float = 1.0,
        alpha_cross: float = 1.0,
        overlap_alpha_same: float | None = None,
        overlap_alpha_cross: float | None = None,
        beta: float = 1.0,
        reduction: Literal["sum_directions", "mean_directions"] = "sum_directions",
        duplicate: Literal["error", "mask"] = "error",
        eps: float = 0.0,
    ) -> None:
        super().__init__()
        if beta < 0 or eps < 0:
            raise ConfigError("temporal loss (beta, eps)", seen=(beta, eps), expected="numbers >= 0")
        if reduction not in ("sum_directions", "mean_directions"):
            raise ConfigError(
                "temporal loss: reduction", seen=reduction, expected="sum_directions or mean_directions"
            )
        if duplicate not in ("error", "mask"):
            raise ConfigError("temporal loss: duplicate", seen=duplicate, expected="error or mask")
        self.weights = {
            "alpha_same": alpha_same,
            "alpha_cross": alpha_cross,
            "overlap_alpha_same": overlap_alpha_same,
            "overlap_alpha_cross": overlap_alpha_cross,
            "eps": eps,
        }
        relation_bias(2, 1, **self.weights)  # type: ignore[arg-type]  # refuses wrong weights now
        self.beta, self.reduction, self.duplicate = beta, reduction, duplicate
        self._biases: dict[tuple[int, int], Tensor] = {}

    def forward(
        self, audio: Tensor, text: Tensor, scale: float | Tensor, meanings: Tensor | None = None
    ) -> Tensor:
        """Loss of a batch.

        Args:
            audio, text: (V, N, D), V in {2, 3} in the order forward, reversed, while; rows already on the
                unit sphere (they are used as they are). Half precision is computed in float32.
            scale: multiplier of the similarities, > 0; may carry gradient.
            meanings: (V, N) integers, equal where captions mean the same.

        Raises:
            DataError: other shapes, fewer than two pairs, or captions of one meaning with
                ``duplicate="error"``.
        """
        views, pairs = _shape(audio, text)
        rows, columns = audio.reshape(views * pairs, -1), text.reshape(views * pairs, -1)
        bias = self._bias(views, pairs, rows.device)
        if meanings is not None:
            bias = self._without_duplicates(bias, meanings.reshape(-1), pairs)
        weight = torch.full((views * pairs,), self.beta, device=rows.device)
        weight[:pairs] = 1.0
        loss = sum(
            contrast(x, y, scale=scale, bias=b, row_weight=weight, normalize=False)
            for x, y, b in ((rows, columns, bias), (columns, rows, bias.T))
        )
        return loss if self.reduction == "sum_directions" else loss / 2  # type: ignore[return-value]

    def _bias(self, views: int, pairs: int, device: torch.device) -> Tensor:
        if (views, pairs) not in self._biases:
            self._biases[views, pairs] = relation_bias(views, pairs, **self.weights)  # type: ignore[arg-type]
        return self._biases[views, pairs].to(device)

    def _without_duplicates(self, bias: Tensor, meanings: Tensor, pairs: int) -> Tensor:
        if len(meanings) != len(bias):
            raise DataError("meanings of the captions", seen=len(meanings), expected=f"{len(bias)} numbers")
        same = (meanings[:, None] == meanings[None, :]).fill_diagonal_(False)
        if self.duplicate == "mask":
            return bias.masked_fill(same, -math.inf)
        if bool(same.any()):
            row, column = (int(value) for value in same.nonzero()[0])
            raise DataError(
                f"pairs {row % pairs} and {column % pairs} of the batch have a caption of one meaning",
                expected="different captions, or they would be pushed apart",
                remedy='draw other pairs, or use duplicate="mask"',
            )
        return bias


def _shape(audio: Tensor, text: Tensor) -> tuple[int, int]:
    if audio.ndim != 3 or audio.shape != text.shape or audio.shape[0] not in (2, 3):
        raise DataError(
            "temporal loss: (audio, text)",
            seen=(tuple(audio.shape), tuple(text.shape)),
            expected="two equal shapes (V, N, D), V = 2 (forward, reversed) or 3 (and while)",
        )
    views, pairs = audio.shape[:2]
    if pairs < FEWEST_PAIRS:
        raise DataError(
            "temporal loss: pairs in a batch", seen=pairs, expected="at least 2", remedy="raise batch_size"
        )
    return views, pairs
