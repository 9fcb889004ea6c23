"""The terms of the prototype loss, the label statistics that they need, and which prototype belongs to which class.

Sethi et al. 2025, "ProtoECGNet" (MLHC); names and defaults as in the code released with it. Similarities s
(B, P) are pooled, I (P, C) is the class identity of the prototypes, y (B, C) are labels of 0/1.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from core.errors import ConfigError, DataError


@dataclass(frozen=True)
class LossWeights:
    """Factors of the terms; those of the released training script by default."""

    cluster: float = 0.004
    separation: float = 0.0004
    sparsity: float = 0.0
    diversity: float = 250.0
    contrastive: float = 300.0


def prototype_identity(counts: Sequence[int], pairs: int = 0) -> Tensor:
    """(P, C) float of 0/1: ``counts[j]`` prototypes of class j, then ``pairs`` of every pair of classes.

    >>> prototype_identity([1, 2], pairs=1).tolist()
    [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [1.0, 1.0]]
    """
    classes = len(counts)
    rows = [[j] for j, count in enumerate(counts) for _ in range(count)]
    rows += [list(pair) for pair in itertools.combinations(range(classes), 2) for _ in range(pairs)]
    identity = torch.zeros(len(rows), classes)
    for row, members in enumerate(rows):
        identity[row, members] = 1
    return identity


def cooccurrence(targets: Tensor) -> Tensor:
    """Jaccard index of every two classes over (N, C) training labels: (C, C), 0 for a class never seen.

    >>> cooccurrence(torch.tensor([[1, 1], [1, 0]])).tolist()
    [[1.0, 0.5], [0.5, 1.0]]
    """
    y = targets.float()
    both = y.T @ y
    count = y.sum(0)
    return both / (count[:, None] + count[None, :] - both).clamp_min(1e-6)


def class_weights(
    targets: Tensor, kind: Literal["published", "standard"] = "published", *, largest: float = 100.0
) -> Tensor:
    """``pos_weight`` of the binary cross entropy, (C,): (S - n_c) / n_c for n_c positives of class c.

    ``published``: S is the number of labels over all classes; ``standard``: the number of rows. Clamped to
    ``largest``, which is also what a class without positives gets, with a warning.

    >>> class_weights(torch.tensor([[1, 0], [1, 1], [1, 0]])).tolist()
    [0.3333333432674408, 3.0]
    """
    if kind not in ("published", "standard"):
        raise ConfigError("class_weights", seen=kind, expected="published or standard")
    count = targets.float().sum(0)
    if (count == 0).any():
        empty = torch.nonzero(count == 0).flatten().tolist()
        warnings.warn(f"classes {empty} have no positive training record: weight {largest:g}", stacklevel=2)
    total = count.sum() if kind == "published" else torch.tensor(float(len(targets)))
    return ((total - count) / count.clamp_min(1e-12)).clamp(0, largest)


def cluster(similarities: Tensor, targets: Tensor, identity: Tensor) -> Tensor:
    """- mean over b, c of max over p of s[b, p] I[p, c] y[b, c]: be near a prototype of each label.

    Entries that are masked count as 0 inside the maximum, as published: the term is never above 0.
    """
    mask = identity[None] * targets[:, None, :]
    return -(similarities[:, :, None] * mask).amax(1).mean()


def separation(
    similarities: Tensor,
    targets: Tensor,
    identity: Tensor,
    mode: Literal["published", "absent_only"] = "published",
) -> Tensor:
    """Mean over b, c of max over p of s[b, p] (1 - I[p, c] y[b, c]): be far from the others.

    ``published`` counts for class c every prototype that is not c's, those of the record's other labels too;
    ``absent_only`` takes prototypes none of whose classes the record has.
    """
    if mode == "absent_only":
        absent = 1 - (targets @ identity.T).clamp_max(1)
        return (similarities * absent).amax(1).mean()
    if mode != "published":
        raise ConfigError("separation mode", seen=mode, expected="published or absent_only")
    mask = 1 - identity[None] * targets[:, None, :]
    return (similarities[:, :, None] * mask).amax(1).mean()


def sparsity(similarities: Tensor) -> Tensor:
    """Mean over rows of the sum of positive similarities."""
    return similarities.relu().sum(1).mean()


def diversity(prototypes: Tensor) -> Tensor:
    """|| N N^T - 1 ||_F^2 / P^2 for row-normalised prototypes N: no two alike."""
    rows = F.normalize(prototypes.flatten(1), dim=1)
    gram = rows @ rows.T
    return (gram - torch.eye(len(rows), dtype=rows.dtype, device=rows.device)).square().sum() / len(rows) ** 2


def prototype_contrast(
    prototypes: Tensor, identity: Tensor, labels_together: Tensor, *, published: bool = False
) -> Tensor:
    """- [sum(G A) / sum A - sum(G (1 - A)) / sum(1 - A)] / sqrt(P): alike as often as their labels are together.

    G are the cosines of the prototypes, A = I C I^T for the co-occurrence C. With pair prototypes A passes 1
    and 1 - A falls below 0; A is clamped to [0, 1] unless ``published``.

    Raises:
        DataError: a co-occurrence of another label set.
    """
    classes = identity.shape[1]
    if labels_together.shape != (classes, classes):
        raise DataError(
            "co-occurrence of the labels",
            seen=tuple(labels_together.shape),
            expected=f"({classes}, {classes}), one row a label of the model",
            remedy="run the prepare stage again with this label set",
        )
    rows = F.normalize(prototypes.flatten(1), dim=1)
    gram = (rows @ rows.T).clamp(-1 + 1e-6, 1 - 1e-6)
    near = identity @ labels_together.to(identity) @ identity.T
    if not published:
        near = near.clamp(0, 1)
    far = 1 - near
    pull = (gram * near).sum() / (near.sum() + 1e-6)
    push = (gram * far).sum() / (far.sum() + 1e-6)
    return -(pull - push) / len(rows) ** 0.5


def off_class_l1(weight: Tensor, identity: Tensor) -> Tensor:
    """Sum of |W[c, p]| over prototypes p that are not of class c; weight (C, P)."""
    return (weight * (1 - identity.T)).abs().sum()


def prototype_loss(
    logits: Tensor,
    similarities: Tensor,
    targets: Tensor,
    prototypes: Tensor,
    identity: Tensor,
    labels_together: Tensor | None,
    *,
    weights: LossWeights | None = None,
    pos_weight: Tensor | None = None,
    separation_mode: Literal["published", "absent_only"] = "published",
    published: bool = False,
) -> dict[str, Tensor]:
    """All terms by name, and their weighted sum as ``loss``.

    Args:
        logits: (B, C). similarities: (B, P), pooled. targets: (B, C) float of 0/1.
        prototypes: (P, ...). identity: (P, C).
        labels_together: (C, C) co-occurrence over the training records; None: no contrastive term.
        published: `prototype_contrast` without the clamp.

    Returns:
        ``loss``, ``classification``, ``cluster``, ``separation``, ``diversity``, and ``contrastive``,
            ``sparsity`` where they have a weight.
    """
    weights = weights or LossWeights()
    found = {
        "classification": F.binary_cross_entropy_with_logits(logits, targets, pos_weight=pos_weight),
        "cluster": cluster(similarities, targets, identity),
        "separation": separation(similarities, targets, identity, separation_mode),
        "diversity": diversity(prototypes),
    }
    if weights.sparsity:
        found["sparsity"] = sparsity(similarities)
    if labels_together is not None and weights.contrastive:
        found["contrastive"] = prototype_contrast(prototypes, identity, labels_together, published=published)
    total = found["classification"]
    for name, value in found.items():
        if name != "classification":
            total = total + getattr(weights, name) * value
    return {"loss": total, **found}
