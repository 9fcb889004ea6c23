"""CLIP: pairs of two modalities find each other, both ways, with a learned scale."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from core.distributed import first_row, gather, sizes, world_size
from core.objectives.contrast import Reduction, contrast

MAX_LOG_SCALE = math.log(100)
"""Above this scale the loss looks at the nearest negative only, and training becomes unstable."""


def clip(
    x: Tensor,
    y: Tensor,
    *,
    scale: float | Tensor = 1 / 0.07,
    bias: float | Tensor | None = None,
    groups: Tensor | None = None,
    x_ids: Tensor | None = None,
    y_ids: Tensor | None = None,
    x_valid: Tensor | None = None,
    y_valid: Tensor | None = None,
    normalize: bool = True,
    reduction: Reduction = "mean",
) -> Tensor:
    """Pulls each row of one modality to its partner in the other, and pushes it from all other rows of it.

    Formula:
        S = a X Y^T + b; L = (CE(S, diagonal) + CE(S^T, diagonal)) / 2. With ids (one image, K captions): row
        i has the target 1/K at each of its K captions, and a caption has its image.

    Use when:
        Samples come as pairs: image and report, audio and caption, ECG and X-ray, code and documentation.
        Batches of some hundreds at least; below, take `siglip`.

    Cost:
        Time 8 N M d, S computed once for both directions; memory O((N + M) d + tile).

    Source:
        Radford et al. 2021, "Learning transferable visual models from natural language supervision". Verified
        against numbers of open_clip 3.3.0.

    Distributed:
        gather.

    Used by:
        xray_ecg_report, audio_temporal, code_search.

    Args:
        x: (N, d), any float dtype.
        y: (M, d); M = N where no ids are given, and row i goes with row i.
        scale: a = 1 / temperature, > 0; may carry gradient.
        bias: b; cancels unless it is a row (M,) or a matrix (N, M); may carry gradient.
        groups: (N,) integers; pairs of one group (patient, scene, duplicate) are no negatives of each other.
        x_ids: (N,) integers: rows of x and y with equal ids are partners.
        y_ids: (M,) integers; the ids of x where left out.
        x_valid: (N,) bool; an absent x (False) counts nowhere, nor does its partner as an anchor.
        y_valid: (M,) bool.
        normalize: put rows on the unit sphere.
        reduction: "mean", "sum" or "none" (the mean of both directions of each pair).

    Returns:
        Scalar >= 0; 0 where no row has both a partner and another row to be told apart from.

    Raises:
        KindredError: shapes that do not fit.

    Example:
        >>> clip(torch.eye(2), torch.eye(2), scale=1.0)
        tensor(0.3133)
        >>> ids = torch.tensor([0, 0, 1])  # two captions for the first image
        >>> clip(torch.eye(2), torch.eye(2)[ids], x_ids=torch.arange(2), y_ids=ids, scale=1.0)
        tensor(0.5100)
    """
    return contrast(
        x, y, row_labels=x_ids, column_labels=y_ids, row_groups=groups, row_valid=x_valid, column_valid=y_valid,
        scale=scale, bias=bias, normalize=normalize, symmetric=True, reduction=reduction,
    )  # fmt: skip


class CLIP(nn.Module):
    """`clip` over the batches of all ranks with a learned scale, which is kept at 100 or below.

    Each rank compares its own rows with everybody's partners: time O(N/ranks * N).

    Args:
        scale: first value of the scale; its logarithm is what is learned.
        learnable: whether it is trained.
        bias: first value of a learned bias; None for none. In a softmax one number cancels (its gradient is 0): it
            is there for checkpoints that are shared with `SigLIP`.

    Example:
        >>> loss = CLIP(scale=1.0)
        >>> loss(torch.eye(2), torch.eye(2)).detach(), [name for name, _ in loss.named_parameters()]
        (tensor(0.3133), ['log_scale'])
    """

    def __init__(self, scale: float = 1 / 0.07, *, learnable: bool = True, bias: float | None = None) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)), requires_grad=learnable)
        self.bias = None if bias is None else nn.Parameter(torch.tensor(float(bias)))

    def scale(self) -> Tensor:
        """The multiplier of the similarities, at most 100."""
        with torch.no_grad():  # the value, not the gradient: a clamped gradient could never lead back
            self.log_scale.clamp_(max=MAX_LOG_SCALE)
        return self.log_scale.exp()

    def forward(self, x: Tensor, y: Tensor, groups: Tensor | None = None) -> Tensor:
        """Loss of the pairs (x_i, y_i), (N, d) each; `groups` (N,) as in `clip`."""
        scale = self.scale()
        if world_size() == 1:
            return clip(x, y, scale=scale, bias=self.bias, groups=groups)
        counts = sizes(len(x), x.device)
        start = first_row(len(x), counts)
        mine = torch.arange(start, start + len(x), device=x.device)
        everyone = None if groups is None else gather(groups, counts)
        loss = sum(
            contrast(
                rows, gather(columns, counts), positives=mine, row_groups=groups, column_groups=everyone,
                scale=scale, bias=self.bias, reduction="sum",
            )
            for rows, columns in ((x, y), (y, x))
        )  # fmt: skip
        return loss * world_size() / max(2 * sum(counts), 1)
