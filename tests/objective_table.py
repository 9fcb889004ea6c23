"""Every objective as a function of two (N, d) tensors and a temperature: for tests that all share."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from core.objectives.alignment import alignment
from core.objectives.barlow_twins import barlow_twins
from core.objectives.cacr import cacr
from core.objectives.coca import coca
from core.objectives.conr import conr
from core.objectives.contrastive_gap import contrastive_gap
from core.objectives.dcd import dcd
from core.objectives.degla import degla
from core.objectives.feature_transform import feature_transform
from core.objectives.gram import gram
from core.objectives.groco import groco
from core.objectives.isogclr import IndividualTemperatures
from core.objectives.m3col import m3col, soft_clip
from core.objectives.mochi import Mixing, mochi
from core.objectives.multiview import mv_dhel, mv_infonce
from core.objectives.pixpro import dense_local, pixpro
from core.objectives.sepclr import joint_entropy, label_alignment, sepclr
from core.objectives.soft_targets import distilled_clip
from core.objectives.supremix import Mixtures, supremix
from core.objectives.swav import swav
from core.objectives.symile import symile
from core.objectives.tcl import global_local, tcl
from core.objectives.uniformity import cross_uniformity, uniformity
from core.objectives.vicreg import vicreg

Loss = Callable[[Tensor, Tensor, float], Tensor]


def fixed(x: Tensor, *shape: int, seed: int = 0) -> Tensor:
    """Scattered numbers in (-1, 1) that depend on the shape alone, in float32 (float64 where `x` is)."""
    count = math.prod(shape)
    values = (torch.arange(count, dtype=torch.float64) * 12.9898 + 78.233 * (seed + 1)).sin() * 43758.5453
    return (
        (2 * (values - values.floor()) - 1)
        .view(shape)
        .to(torch.float64 if x.dtype == torch.float64 else torch.float32)
    )


def _labels(x: Tensor) -> Tensor:
    return torch.arange(len(x), dtype=torch.float32) // 2


def _turns(x: Tensor) -> Tensor:
    return torch.arange(len(x)).roll(1)


def _maps(x: Tensor) -> Tensor:
    """(N, d) -> (N, d, 2, 1): the rows and their mirror images as two cells."""
    return torch.stack([x, x.flip(1)], dim=2)[..., None]


def _shuffles(x: Tensor, count: int) -> Tensor:
    return torch.stack([torch.arange(len(x)).roll(i + 1) for i in range(count * (count - 1))]).view(
        count, count - 1, -1
    )


def _mochi(x: Tensor, y: Tensor, t: float) -> Tensor:
    place = torch.arange(len(x) * 3).view(-1, 3)
    share = fixed(x, len(x), 3).abs()
    mixing = Mixing(place % 4, (place + 1) % 4, share, (place[:, :2] + 2) % 4, share[:, :2] / 2)
    return mochi(x, y, fixed(x, 6, x.shape[1]), temperature=t, hard=4, mixing=mixing)


def _feature_transform(x: Tensor, y: Tensor, t: float) -> Tensor:
    return feature_transform(
        x, y, fixed(x, 6, x.shape[1]), temperature=t, positive_share=fixed(x, 1).sigmoid() + 1,
        negative_share=fixed(x, 1).sigmoid(), order=torch.arange(6).roll(2),
    )  # fmt: skip


def _supremix(x: Tensor, y: Tensor, t: float) -> Tensor:
    rows = torch.arange(2 * len(x))
    columns = [rows.roll(k)[:, None].expand(-1, 2) for k in (1, 2, 3)]
    mixtures = Mixtures(columns[0], torch.full((len(rows), 2), 0.3), columns[1], columns[2])
    both = torch.cat([x, y])
    return supremix(both, torch.cat([_labels(x), _labels(x)]), temperature=t, mixtures=mixtures)


def _degla(x: Tensor, y: Tensor, t: float) -> Tensor:
    hard = torch.stack([y.flip(1), -y], dim=1)
    teacher = {"teacher_image": fixed(x, *x.shape), "teacher_text": fixed(x, *x.shape, seed=1)}
    return degla(x, y, hard, teacher_negatives=fixed(x, *hard.shape), scale=1 / t, **teacher).total


def _tcl(x: Tensor, y: Tensor, t: float) -> Tensor:
    keys, parts = fixed(x, 2, *x.shape), fixed(x, 2, len(x), 3, x.shape[1])
    mask = torch.arange(3)[None, :] <= torch.arange(len(x))[:, None]
    queue = fixed(x, 4, x.shape[1])
    return tcl(
        x, y, *keys, *parts, text_mask=mask, image_queue=queue, text_queue=queue, temperature=t, soft=0.3
    ).total


def _sepclr(x: Tensor, y: Tensor, t: float) -> Tensor:
    target = torch.arange(len(x)) % 2 == 0
    return sepclr((x, y), (x.flip(1), y.flip(1)), target, bandwidth=t).total


def _individual(bimodal: bool) -> Loss:
    module = IndividualTemperatures(64, bimodal=bimodal)
    start = {name: value.clone() for name, value in module.state_dict().items()}

    def loss(x: Tensor, y: Tensor, t: float) -> Tensor:
        for name, value in module.named_buffers():
            value.copy_(start[name])
        module.temperature.fill_(t)
        return module(torch.arange(len(x)), x, y)

    return loss


def _caption(x: Tensor, y: Tensor, t: float) -> Tensor:
    logits = torch.stack([x, y], dim=1).to(fixed(x, 1).dtype) / t
    return coca(x, y, logits, torch.ones(len(x), 2, dtype=torch.long), scale=1 / t).total


OBJECTIVES: dict[str, Loss] = {
    "alignment": lambda x, y, t: alignment(x, y),
    "alignment_power_1": lambda x, y, t: alignment(x, y, power=1.0),
    "uniformity": lambda x, y, t: uniformity(x, sharpness=1 / t),
    "cross_uniformity": lambda x, y, t: cross_uniformity(x, y, sharpness=1 / t),
    "contrastive_gap": lambda x, y, t: contrastive_gap(x, y, scale=1 / t),
    "mv_infonce": lambda x, y, t: mv_infonce([x, y, x.flip(1)], temperature=t),
    "mv_dhel": lambda x, y, t: mv_dhel([x, y, x.flip(1)], temperature=t),
    "cacr": lambda x, y, t: cacr([x, y, x.flip(1)], repulsion_sharpness=1 / t),
    "symile": lambda x, y, t: symile([x, y, x.flip(1)], scale=1 / t, permutations=_shuffles(x, 3)),
    "symile_all": lambda x, y, t: symile([x, y, x.flip(1)], scale=1 / t, negatives="n_squared"),
    "gram": lambda x, y, t: gram(x, [y, x.flip(1)], temperature=t),
    "swav": lambda x, y, t: swav([x, y], [x.flip(1)], temperature=t, epsilon=t),
    "vicreg": lambda x, y, t: vicreg(x, y),
    "barlow_twins": lambda x, y, t: barlow_twins(x, y),
    "mochi": _mochi,
    "feature_transform": _feature_transform,
    "conr": lambda x, y, t: conr(
        torch.cat([x, y]), torch.cat([_labels(x)] * 2), torch.zeros(2 * len(x)), temperature=t
    ),
    "supremix": _supremix,
    "pixpro": lambda x, y, t: pixpro(_maps(x), _maps(y), *torch.tensor([0.0, 0, 1, 2]).repeat(2, len(x), 1)),
    "dense_local": lambda x, y, t: dense_local(_maps(x), _maps(y), _maps(x), _maps(y), temperature=t),
    "degla": _degla,
    "global_local": lambda x, y, t: global_local(x, torch.stack([y, y.flip(1)], 1), temperature=t),
    "tcl": _tcl,
    "m3col": lambda x, y, t: m3col(x, y, torch.full((len(x),), 0.3), _turns(x), temperature=t),
    "soft_clip": lambda x, y, t: soft_clip(x, y, temperature=t),
    "distilled_clip": lambda x, y, t: distilled_clip(
        x, y, fixed(x, *x.shape), fixed(x, *x.shape, seed=1), scale=1 / t
    ),
    "coca": _caption,
    "dcd": lambda x, y, t: dcd(x, y.to(fixed(x, 1).dtype) / t).total,
    "groco": lambda x, y, t: groco([x, y], hardest=3, steepness=1 / t),
    "groco_both_sides": lambda x, y, t: groco([x, y], hardest=3, steepness=1 / t, stop_gradient=False),
    "sepclr": _sepclr,
    "joint_entropy": lambda x, y, t: joint_entropy(x, y, bandwidth=1.0),
    "label_alignment": lambda x, y, t: label_alignment(x, _labels(x)),
    "isogclr": _individual(False),
    "isogclr_bimodal": _individual(True),
}
"""Name -> loss(x, y, temperature). Those without a temperature ignore it."""

SURROGATE = {"swav", "mochi", "groco", "isogclr", "isogclr_bimodal"}
"""Their gradient is by design not that of the value (targets, mixtures or weights are held constant)."""

ONE_SIDED = {"dcd", "feature_transform", "pixpro", "dense_local"}
"""No gradient flows to the second tensor (the momentum branch) by design."""
