"""Every loss of the softmax and sigmoid families as a function of two (N, d) tensors and a temperature."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from core.objectives import clip, contrast, cwcl, dcl, nt_xent, pairwise, siglip, soft_contrast, supcon

Loss = Callable[[Tensor, Tensor, float], Tensor]


def _classes(x: Tensor) -> Tensor:
    return torch.arange(len(x)) // 2


def _sets(x: Tensor) -> Tensor:
    """(N, 4) label sets: overlapping, some equal, the third empty."""
    sets = torch.tensor([[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 1, 1]])
    return sets[torch.arange(len(x)) % 6]


def _queue(x: Tensor) -> dict[str, Tensor]:
    rows = (torch.arange(5 * x.shape[1]) * 0.7).sin().view(5, -1)
    return {"queue": rows, "queue_groups": torch.arange(5), "queue_valid": torch.arange(5) != 3}


def _weights(x: Tensor) -> Tensor:
    return (torch.arange(len(x) ** 2) * 0.9).sin().clamp_min(0).view(len(x), len(x))


def _partner(x: Tensor) -> Tensor:
    return torch.arange(len(x)).flip(0)


def _present(x: Tensor) -> Tensor:
    return torch.arange(len(x))[:, None] % 3 != torch.arange(3)


SOFTMAX: dict[str, Loss] = {
    "nt_xent": lambda x, y, t: nt_xent(x, y, temperature=t),
    "nt_xent_groups_queue": lambda x, y, t: nt_xent(x, y, temperature=t, groups=_classes(x), **_queue(x)),
    "moco": lambda x, y, t: nt_xent(x, y, temperature=t, negatives="queue", **_queue(x)),
    "clip": lambda x, y, t: clip(x, y, scale=1 / t),
    "clip_groups": lambda x, y, t: clip(x, y, scale=1 / t, groups=_classes(x)),
    "clip_ids": lambda x, y, t: clip(
        x, torch.cat([y, y]), scale=1 / t, x_ids=_partner(x), y_ids=_partner(x).repeat(2)
    ),
    "clip_absent": lambda x, y, t: clip(
        x, y, scale=1 / t, x_valid=_present(x)[:, 0], y_valid=_present(x)[:, 1]
    ),
    "clip_bias": lambda x, y, t: clip(x, y, scale=1 / t, bias=_weights(x)),
    "siglip": lambda x, y, t: siglip(x, y, scale=1 / t),
    "siglip_groups": lambda x, y, t: siglip(x, y, scale=1 / t, groups=_classes(x), y_valid=_present(x)[:, 0]),
    "siglip_labels": lambda x, y, t: siglip(
        x, y, scale=1 / t, bias=0.0, x_labels=_classes(x), reduction="pairs"
    ),
    "siglip_weights": lambda x, y, t: siglip(x, y, scale=1 / t, positives=_weights(x)),
    "supcon": lambda x, y, t: supcon(torch.cat([x, y]), _classes(x).repeat(2), temperature=t),
    "supcon_views": lambda x, y, t: supcon(torch.stack([x, y], 1), _classes(x), temperature=t, anchors="one"),
    "supcon_sets": lambda x, y, t: supcon(
        torch.stack([x, y], 1), _sets(x), temperature=t, groups=_classes(x)
    ),
    "supcon_mask": lambda x, y, t: supcon(
        torch.stack([x, y], 1), mask=_weights(x), temperature=t, empty="zero"
    ),
    "dcl": lambda x, y, t: dcl(x, y, temperature=t),
    "dcl_groups": lambda x, y, t: dcl(x, y, temperature=t, groups=_classes(x)),
    "cwcl": lambda x, y, t: cwcl(x, y, _weights(x), scale=1 / t),
    "cwcl_both_ways": lambda x, y, t: cwcl(x, y, _weights(x), scale=1 / t, both_ways=True),
    "cwcl_groups": lambda x, y, t: cwcl(x, y, _weights(x), scale=1 / t, groups=_classes(x)),
    "soft_contrast": lambda x, y, t: soft_contrast(x, y, _sets(x), temperature=t),
    "soft_softmax": lambda x, y, t: soft_contrast(
        x, y, _sets(x), form="softmax", temperature=t, symmetric=True
    ),
    "soft_jaccard": lambda x, y, t: soft_contrast(x, y, _sets(x), label_weights="jaccard", temperature=t),
    "pairwise": lambda x, y, t: pairwise(
        [x, y, x.flip(1)], present=_present(x), scale=1 / t, groups=_classes(x)
    ),
    "contrast_unreduced": lambda x, y, t: contrast(x, y, scale=1 / t, reduction="none").square().sum(),
    "contrast_decoupled": lambda x, y, t: contrast(
        x, y, row_labels=_sets(x), scale=1 / t, denominator="negatives"
    ),
    "contrast_scales": lambda x, y, t: contrast(
        x, y, row_scale=x.exp().sum(1), column_scale=y[:, 0], scale=0.1 / t
    ),
}
"""Name -> loss(x, y, temperature)."""
