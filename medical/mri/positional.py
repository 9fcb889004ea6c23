"""Positional contrastive learning: slices of nearly the same relative position are positives of each other."""

from __future__ import annotations

from torch import Tensor

from core.objectives.contrast import Reduction
from core.objectives.supcon import supcon


def pcl(
    x: Tensor,
    position: Tensor,
    *,
    threshold: float = 0.1,
    temperature: float = 0.1,
    base_temperature: float | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """PCL: SupCon whose positives are the slices, of any volume, whose positions differ by less than a threshold.

    Formula:
        L_i = -mean over positives j of log softmax_j(<z_i, z_j>/t) among all rows but i; |p_i - p_j| < threshold.

    Source:
        Zeng et al. 2021, "Positional contrastive learning for volumetric medical image segmentation". Verified
        against numbers of the official code (dewenzeng/positional_cl).

    Distributed:
        gather.

    Args:
        x: (B, views, d) embeddings, any float dtype.
        position: (B,) (slice + 1) / depth, in (0, 1].
        threshold: in the same unit; the authors use 0.35 for ACDC, 0.1 for CHD.
        temperature: t > 0.
        base_temperature: multiplies the loss by t / base_temperature; the authors' 0.07 scales it by 1.43.
        reduction: "mean", "sum" or "none": (views B,), view by view.

    >>> import torch
    >>> x = torch.eye(2)[:, None].repeat(1, 2, 1)
    >>> round(float(pcl(x, torch.tensor([0.1, 0.9]), temperature=1.0)), 4)  # 1 of 3 rows is a positive
    0.5514
    """
    mask = (position[:, None] - position).abs() < threshold
    return supcon(
        x, mask=mask, temperature=temperature, base_temperature=base_temperature, reduction=reduction
    )
