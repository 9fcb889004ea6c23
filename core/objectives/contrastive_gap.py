"""Closing the contrastive gap: CLIP with alignment, uniformity and cross-uniformity added (CUA, CUAXU)."""

from __future__ import annotations

from torch import Tensor

from core.objectives.alignment import alignment
from core.objectives.contrast import contrast
from core.objectives.rows import as_pair, in_full_precision, unit_rows
from core.objectives.uniformity import cross_uniformity, uniformity


@in_full_precision
def contrastive_gap(
    x: Tensor,
    y: Tensor,
    *,
    scale: float | Tensor = 1 / 0.07,
    sharpness: float = 2.0,
    alignment_weight: float = 1.0,
    uniformity_weight: float = 1.0,
    cross_weight: float = 1.0,
    groups: Tensor | None = None,
) -> Tensor:
    """CLIP plus the terms that pull both modalities into one region of the sphere.

    Formula:
        L = CLIP(x, y) + a alignment(x, y) + u (uniformity(x) + uniformity(y)) / 2 + c cross_uniformity(x, y).
        CUAXU: all weights 1; CUA: cross_weight 0.

    Use when:
        Embeddings of the two modalities sit in separate cones and retrieval across them suffers.

    Cost:
        CLIP's 8 N^2 d plus three Gram matrices, 18 N^2 d; memory O(N d + tile).

    Source:
        "It's Not a Modality Gap: characterizing and addressing the contrastive gap". Verified against a
        transcription of the public code.

    Distributed:
        gather.

    Used by:
        planned for xray_ecg_report.

    Args:
        x: (N, d) one modality, any float dtype; normalised here.
        y: (N, d) the other.
        scale: multiplier of the cosines in the CLIP term.
        sharpness: of the uniformity terms.
        alignment_weight: a.
        uniformity_weight: u.
        cross_weight: c.
        groups: (N,) integer ids; pairs of one group are left out everywhere.

    Returns:
        Scalar of either sign.

    Raises:
        KindredError: shapes differ.

    Example:
        >>> import torch
        >>> eye = torch.eye(2)
        >>> round(float(contrastive_gap(eye, eye, scale=1.0)), 4)  # 0.3133 + 0 - 4 - 4
        -7.6867
    """
    x, y = as_pair("x", x, "y", y)
    x, y = unit_rows(x), unit_rows(y)
    spread = uniformity(x, sharpness=sharpness, groups=groups, normalize=False)
    spread = spread + uniformity(y, sharpness=sharpness, groups=groups, normalize=False)
    across = cross_uniformity(x, y, sharpness=sharpness, groups=groups, normalize=False)
    return (
        contrast(x, y, scale=scale, symmetric=True, row_groups=groups, normalize=False)
        + alignment_weight * alignment(x, y, normalize=False)
        + uniformity_weight * spread / 2
        + cross_weight * across
    )
