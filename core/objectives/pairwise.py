"""Three or more modalities, some of them absent: CLIP over every pair that is there."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor

from core.errors import KindredError
from core.objectives.clip import clip
from core.objectives.targets import expect_shape


def pairwise(
    modalities: Sequence[Tensor],
    *,
    present: Tensor | None = None,
    pairs: Sequence[tuple[int, int]] | None = None,
    weights: Sequence[float] | None = None,
    scale: float | Tensor = 1 / 0.07,
    groups: Tensor | None = None,
    normalize: bool = True,
) -> Tensor:
    """Pulls the modalities of each sample together, two at a time; an absent modality costs nothing.

    Formula:
        L = sum_{(a, b)} w_ab CLIP(x_a, x_b restricted to samples that have both) / sum of w_ab over the pairs
        of modalities that share a sample.

    Use when:
        Samples have several modalities of which any may be missing, such as X-ray, ECG and report. It learns
        what two modalities share; for what only three of them tell together, add `symile`.

    Cost:
        M (M - 1) / 2 times `clip`: 4 M (M - 1) N^2 d; memory O(M N d + tile).

    Source:
        The pairwise form of CLIP, as in ImageBind (Girdhar et al. 2023) and as the baseline of Symile
        (Saporta et al. 2024), against whose `clip_pairwise_loss` it is verified (times the number of pairs);
        the presence mask is ours.

    Distributed:
        gather.

    Used by:
        xray_ecg_report.

    Args:
        modalities: M tensors (N, d), row i of each being sample i. Absent rows may hold anything, also NaN.
        present: (N, M) bool; all present where left out.
        pairs: which pairs of modalities to compare; all where left out.
        weights: w_ab >= 0, one a pair; 1 where left out.
        scale: 1 / temperature, > 0; may carry gradient.
        groups: (N,) integers; samples of one group are no negatives of each other.
        normalize: put rows on the unit sphere.

    Returns:
        Scalar >= 0; 0 where no sample has two modalities.

    Raises:
        KindredError: fewer than two modalities, or shapes that do not fit.

    Example:
        >>> x = torch.eye(3)
        >>> pairwise([x, x, x], scale=1.0)
        tensor(0.5514)
        >>> gone = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 1, 0]], dtype=torch.bool)
        >>> pairwise([x, x, x], present=gone, scale=1.0)
        tensor(0.1838)
    """
    if len(modalities) < 2:
        raise KindredError("modalities", seen=f"{len(modalities)} of them", expected="at least two")
    count, kinds = len(modalities[0]), len(modalities)
    if present is not None:
        expect_shape("present", present, (count, kinds))
    chosen = list(combinations(range(kinds), 2)) if pairs is None else list(pairs)
    if weights is not None and len(weights) != len(chosen):
        raise KindredError("weights", seen=f"{len(weights)} numbers", expected=f"{len(chosen)}, one a pair")
    total: Tensor | float = 0.0
    mass: Tensor | float = 0.0
    for place, (a, b) in enumerate(chosen):
        weight: Tensor | float = 1.0 if weights is None else weights[place]
        both = None
        if present is not None:
            both = present[:, a] & present[:, b]
            weight = weight * both.any()
        loss = clip(
            modalities[a],
            modalities[b],
            scale=scale,
            groups=groups,
            x_valid=both,
            y_valid=both,
            normalize=normalize,
        )
        total, mass = total + weight * loss, mass + weight
    return torch.as_tensor(total / (mass if isinstance(mass, float) else mass.clamp_min(1e-30)))
