"""The objective of SoftCon: contrast of views, and a soft term that makes similarity follow shared land cover."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from core.errors import ConfigError
from core.objectives.contrast import contrast
from core.objectives.soft_contrast import soft_contrast

SoftForm = Literal["sigmoid", "softmax", "mse"]


def hard_loss(q: Tensor, k: Tensor, *, temperature: float = 0.2, scaled: bool = True) -> Tensor:
    """MoCo v3's term of one direction: 2 t * mean_i CE(<q_i, k> / t, i), rows on the unit sphere.

    Chen et al. 2021, "An empirical study of training self-supervised vision transformers", algorithm 1.

    Args:
        q: (N, d) queries. k: (N, d) keys, row i the other view of q_i; no gradient is sent to them.
        scaled: the factor 2 t.

    >>> hard_loss(torch.eye(2), torch.eye(2), temperature=1.0).round(decimals=4)
    tensor(0.6265)
    """
    loss = contrast(q, k.detach(), scale=1 / temperature)
    return 2 * temperature * loss if scaled else loss


def soft_loss(
    q: Tensor,
    k: Tensor,
    labels: Tensor,
    key_labels: Tensor | None = None,
    *,
    temperature: float = 0.2,
    form: SoftForm = "sigmoid",
    similarity: Literal["cosine", "jaccard"] = "cosine",
) -> Tensor:
    """The label term: sigma(<q_i, k_j> / t) against S_ij, the overlap of the label sets of i and j.

    A row without labels is unknown, not empty: it is left out of all pairs. The paper's loss was not
    published; this form is reconstructed from its abstract and figure (Wang et al. 2024).

    Args:
        q, k: (N, d). labels: (N, C) of 0 and 1 for the queries. key_labels: for the keys, where the two
            views come from different dates; those of the queries otherwise.
        form: "sigmoid" (binary cross entropy of each pair), "softmax" (cross entropy with S over its row sum),
            "mse" (squared difference of the cosine itself).

    Returns:
        Scalar >= 0; 0 where no pair is known.

    >>> soft_loss(torch.eye(2), torch.eye(2), torch.eye(2), temperature=1.0).round(decimals=4)
    tensor(0.5032)
    """
    keys = k.detach()
    other = labels if key_labels is None else key_labels
    known, known_keys = labels.sum(1) > 0, other.sum(1) > 0
    if form == "mse":
        return _mse(q, keys, labels, other, known, known_keys, similarity)
    if form not in ("sigmoid", "softmax"):
        raise ConfigError("soft form", seen=form, expected="sigmoid, softmax or mse")
    return soft_contrast(
        q, keys, labels, other, form=form, label_weights=similarity, temperature=temperature, x_valid=known,
        y_valid=known_keys,
    )  # fmt: skip


def _mse(
    q: Tensor, k: Tensor, labels: Tensor, other: Tensor, known: Tensor, known_keys: Tensor, similarity: str
) -> Tensor:
    shared = labels @ other.T
    a, b = labels.sum(1)[:, None], other.sum(1)[None, :]
    bound = (a * b).sqrt() if similarity == "cosine" else a + b - shared
    target = shared / bound.clamp_min(1e-12)
    cosine = torch.nn.functional.normalize(q, dim=1) @ torch.nn.functional.normalize(k, dim=1).T
    pairs = known[:, None] & known_keys[None, :]
    return torch.where(pairs, (cosine - target).square(), 0.0).sum() / pairs.sum().clamp_min(1)


def softcon_loss(
    q: tuple[Tensor, Tensor],
    k: tuple[Tensor, Tensor],
    labels: tuple[Tensor, Tensor],
    *,
    temperature: float = 0.2,
    weight: float = 0.1,
    form: SoftForm = "sigmoid",
    similarity: Literal["cosine", "jaccard"] = "cosine",
) -> dict[str, Tensor]:
    """The symmetric objective of two views: ``loss`` = ``hard`` + weight * ``soft``.

    Args:
        q: queries (N, d) of view 1 and of view 2. k: keys of view 1 and of view 2.
        labels: (N, C) of view 1 and of view 2; rows of zeros are unknown.
        weight: of the soft term; 0 is MoCo v3, exactly.

    >>> x, y = torch.eye(3), torch.eye(3)
    >>> found = softcon_loss((x, x), (x, x), (y, y), weight=0.0)
    >>> bool(found["loss"] == found["hard"])
    True
    """
    hard = hard_loss(q[0], k[1], temperature=temperature) + hard_loss(q[1], k[0], temperature=temperature)
    if weight == 0:
        return {"loss": hard, "hard": hard}
    options = {"temperature": temperature, "form": form, "similarity": similarity}
    soft = soft_loss(q[0], k[1], labels[0], labels[1], **options)  # type: ignore[arg-type]
    soft = soft + soft_loss(q[1], k[0], labels[1], labels[0], **options)  # type: ignore[arg-type]
    return {"loss": hard + weight * soft, "hard": hard, "soft": soft}
