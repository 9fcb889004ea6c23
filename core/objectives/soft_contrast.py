"""Soft contrast: the overlap of label sets says how much two samples belong together."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from core.errors import KindredError
from core.objectives.contrast import contrast
from core.objectives.siglip import siglip


def soft_contrast(
    x: Tensor,
    y: Tensor,
    x_labels: Tensor,
    y_labels: Tensor | None = None,
    *,
    form: Literal["sigmoid", "softmax"] = "sigmoid",
    label_weights: Literal["cosine", "jaccard", "shared"] = "cosine",
    temperature: float | Tensor = 0.2,
    groups: Tensor | None = None,
    x_valid: Tensor | None = None,
    y_valid: Tensor | None = None,
    symmetric: bool = False,
    normalize: bool = True,
) -> Tensor:
    """Makes the similarity of two samples follow the overlap of their label sets.

    Formula:
        W_ij = overlap of labels (cosine |A and B| / sqrt(|A| |B|), or Jaccard), l_ij = <x_i, y_j> / t;
        sigmoid: L = mean_ij [ softplus(l_ij) - W_ij l_ij ], over pairs whose two rows are valid;
        softmax: L = mean_i [ lse_j l_ij - sum_j W_ij l_ij / sum_j W_ij ].

    Use when:
        Samples carry sets of labels (land cover, findings) that overlap in part. The sigmoid form asks for
        the very overlap, the softmax form for its order. Add it to a contrastive loss of views, as SoftCon
        does (weight 0.1).

    Cost:
        Time 6 N M d and 2 N M C for C classes; memory O((N + M)(d + C) + tile).

    Source:
        After Wang et al. 2024, "Multi-label guided soft contrastive learning for efficient Earth observation
        pretraining". The loss of SoftCon was never published: a reconstruction from its abstract and figure.

    Distributed:
        gather.

    Used by:
        eo_pretraining, ecg_prototypes.

    Args:
        x: (N, d), any float dtype.
        y: (M, d), the other views or the keys.
        x_labels: (N, C) numbers >= 0, such as multi-hot classes. A row without labels has weight 0
            everywhere: mark it as not valid, where that means "unknown".
        y_labels: (M, C); those of x where left out.
        form: "sigmoid" or "softmax".
        label_weights: "cosine", "jaccard" or "shared".
        temperature: t > 0; may carry gradient.
        groups: (N,) integers; samples of one group without common label are left out.
        x_valid: (N,) bool; False leaves the row out of all pairs.
        y_valid: (M,) bool; those of x where left out and N = M.
        symmetric: softmax form: mean of both directions.
        normalize: put rows on the unit sphere.

    Returns:
        Scalar >= 0; 0 where no pair is valid.

    Raises:
        KindredError: shapes that do not fit, or an unknown word.

    Example:
        >>> import torch
        >>> labels = torch.tensor([[1, 1, 0], [0, 1, 1]])
        >>> soft_contrast(torch.eye(2), torch.eye(2), labels, temperature=1.0)
        tensor(0.5032)
    """
    if form not in ("sigmoid", "softmax"):
        raise KindredError("form", seen=form, expected="sigmoid or softmax")
    if y_valid is None and x_valid is not None and len(x) == len(y):
        y_valid = x_valid
    if form == "sigmoid":
        return siglip(
            x, y, scale=1 / temperature, bias=0.0, x_labels=x_labels, y_labels=y_labels, label_weights=label_weights,
            groups=groups, x_valid=x_valid, y_valid=y_valid, normalize=normalize, reduction="pairs",
        )  # fmt: skip
    return contrast(
        x, y, row_labels=x_labels, column_labels=y_labels, label_weights=label_weights, row_groups=groups,
        row_valid=x_valid, column_valid=y_valid, scale=1 / temperature, normalize=normalize, symmetric=symmetric,
    )  # fmt: skip
