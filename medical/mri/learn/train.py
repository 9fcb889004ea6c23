"""The three stages as functions: networks and prepared slices in, trained networks out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from core.encoders.unet import UNet
from core.learning.determinism import derive_seed, generator
from core.learning.fit import FitResult, fit
from core.learning.module import Schedule
from medical.mri.dice import dice_scores
from medical.mri.learn.batches import labelled_batches, pretrain_batches
from medical.mri.learn.modules import (
    FineTuning,
    GlobalKind,
    GlobalPretraining,
    LocalKind,
    LocalPretraining,
    LossKind,
)
from medical.mri.model import Architecture, build_unet, global_head, local_head, map_size
from medical.mri.partition import Mode
from medical.mri.predict import predict_labels
from medical.mri.prepared import Prepared
from medical.mri.regions import Negatives, region_table


def fresh_unet(architecture: Architecture, seed: int = 0) -> UNet:
    """A network whose initial weights are a function of the seed; the global random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "initial weights"))
        return build_unet(architecture)


def pretrain_global(
    net: UNet,
    architecture: Architecture,
    prepared: Prepared,
    members: Sequence[int],
    *,
    kind: GlobalKind,
    steps: int,
    volumes: int,
    parts: int,
    partition: Mode = "balanced",
    temperature: float = 0.1,
    threshold: float = 0.1,
    base_temperature: float | None = None,
    learning_rate: float = 1e-3,
    crop: float = 100 / 192,
    brightness: float = 0.3,
    contrast: float = 0.3,
    seed: int = 0,
    **fitting: Any,
) -> FitResult:
    """Stage 1: train ``net.encoder`` in place (and a head, which is dropped); no mask is looked at.

    Args:
        members: volumes to pretrain on.
        kind: gr, gd-, gd, gd-official or pcl.
        temperature, threshold, base_temperature: see `GlobalPretraining`.
        volumes, parts, partition: of a batch, see `medical.mri.learn.batches.PartitionSampler`.
        crop: share of the side that a crop keeps.
        brightness, contrast: of the two augmentations.
        **fitting: of `core.learning.fit.fit`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "global head"))
        head = global_head(architecture)
    module = GlobalPretraining(
        net.encoder, head, kind=kind, temperature=temperature, threshold=threshold,
        base_temperature=base_temperature, parts=parts, **_adam(learning_rate),
    )  # fmt: skip
    batches = pretrain_batches(
        prepared, members, views="global", volumes=volumes, parts=parts, mode=partition, seed=seed,
        share=crop, brightness=brightness, contrast=contrast,
    )  # fmt: skip
    return fit(module, batches, steps=steps, seed=seed, **{"title": "encoder, global loss", **fitting})


def pretrain_local(
    net: UNet,
    architecture: Architecture,
    prepared: Prepared,
    members: Sequence[int],
    *,
    kind: LocalKind,
    steps: int,
    volumes: int,
    parts: int,
    blocks: int,
    partition: Mode = "balanced",
    kernel: int = 3,
    anchors: int = 13,
    negatives: Negatives = "table",
    projection_dim: int | None = None,
    temperature: float = 0.1,
    learning_rate: float = 1e-3,
    brightness: float = 0.3,
    contrast: float = 0.3,
    seed: int = 0,
    **fitting: Any,
) -> FitResult:
    """Stage 2: train the first ``blocks`` decoder blocks in place; encoder and later blocks keep every bit.

    Args:
        kind: lr or ld. kernel, anchors, negatives: of `medical.mri.regions.region_table`.
        blocks: decoder blocks that are trained, 1 to all.
        The others as in `pretrain_global`.
    """
    regions = region_table(
        *map_size(architecture, blocks), kernel=kernel, anchors=anchors, negatives=negatives
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "local head"))
        module = LocalPretraining(
            net, local_head(architecture, blocks), regions, blocks=blocks, parts=parts, kind=kind,
            kernel=kernel, temperature=temperature, projection_dim=projection_dim, **_adam(learning_rate),
        )  # fmt: skip
    batches = pretrain_batches(
        prepared, members, views="local", volumes=volumes, parts=parts, mode=partition, seed=seed,
        brightness=brightness, contrast=contrast,
    )  # fmt: skip
    result = fit(module, batches, steps=steps, seed=seed, **{"title": "decoder, local loss", **fitting})
    net.requires_grad_(True)
    return result


def finetune(
    net: nn.Module,
    prepared: Prepared,
    labelled: Sequence[int],
    *,
    steps: int,
    batch_size: int = 20,
    learning_rate: float = 1e-3,
    schedule: Schedule = "cosine",
    warmup: float = 0.1,
    loss: LossKind = "dice_ce",
    mixup_alpha: float | None = None,
    augmentation: dict[str, Any] | None = None,
    validate_every: int = 50,
    valid: Sequence[int] | None = None,
    seed: int = 0,
    **fitting: Any,
) -> FitResult:
    """Stage 3: train the whole network in place on labelled volumes; the weights of the best validation stay.

    Args:
        labelled: numbers of the volumes to train on.
        batch_size: slices, drawn with replacement.
        schedule: of the learning rate; ``constant`` as published, with which few steps end at a noisy place.
        warmup: share of the steps over which the rate rises; 0 as published.
        loss: ``dice`` as published, or ``dice_ce``, see `medical.mri.dice`.
        mixup_alpha: of Beta(alpha, alpha); None for no Mixup.
        augmentation: of `medical.mri.learn.batches.labelled_batches`.
        valid: volumes whose mean Dice decides; those of the split ``valid`` by default. Where there are
            none the last weights stay.
    """
    chosen = prepared.volumes("valid", labelled=True) if valid is None else list(valid)

    def validate(module: Any, step: int) -> dict[str, float]:
        return {"valid_dice": mean_dice(module.net, prepared, chosen)}

    module = FineTuning(
        net,
        classes=prepared.classes,
        loss=loss,
        mixup_alpha=mixup_alpha,
        **_adam(learning_rate, schedule, warmup),
    )
    batches = labelled_batches(prepared, labelled, batch_size=batch_size, seed=seed, **(augmentation or {}))
    watching: dict[str, Any] = {}
    if chosen:
        watching = {"validate": validate, "validate_every": validate_every, "keep_best": "valid_dice"}
    return fit(module, batches, steps=steps, seed=seed, **{"title": "fine-tuning", **watching, **fitting})


def self_train(
    net: nn.Module,
    prepared: Prepared,
    labelled: Sequence[int],
    unlabelled: Sequence[int],
    *,
    rounds: int = 1,
    seed: int = 0,
    **settings: Any,
) -> list[FitResult]:
    """Pseudo-label self-training: the network's own masks of the unlabelled volumes join the labelled ones.

    Lee, "Pseudo-label", ICML workshop 2013.

    Args:
        net: fine-tuned on ``labelled``; trained on in place.
        unlabelled: volumes whose masks, if any, are not looked at.
        rounds: how often the masks are answered anew, each time followed by a training.
        **settings: of `finetune`.

    Returns:
        What each round's training gave.
    """
    labels = np.array(prepared.labels)
    cases = tuple(replace(case, label=case.label or "pseudo") for case in prepared.cases)
    valid = settings.pop("valid", None)
    valid = prepared.volumes("valid", labelled=True) if valid is None else valid
    found = []
    for number in range(rounds):
        net.eval()
        for volume in unlabelled:
            at = prepared.slices(volume)
            labels[at] = predict_labels(net, prepared.images[at])
        known = replace(prepared, labels=labels, cases=cases)
        drawn = derive_seed(seed, f"self-training {number}")
        found.append(finetune(net, known, [*labelled, *unlabelled], valid=valid, seed=drawn, **settings))
    return found


def mean_dice(net: nn.Module, prepared: Prepared, volumes: Sequence[int]) -> float:
    """Mean over volumes of the mean Dice over structures, on the prepared slices; NaN counts nowhere."""
    found = []
    for number in volumes:
        at = prepared.slices(number)
        scores = dice_scores(prepared.labels[at], predict_labels(net, prepared.images[at]), prepared.classes)
        if not np.isnan(scores).all():
            found.append(float(np.nanmean(scores)))
    return float(np.mean(found)) if found else 0.0


def labelled_choice(prepared: Prepared, count: int | None, seed: int = 0) -> list[int]:
    """Numbers of ``count`` labelled training volumes (None: all), from as many patients as can be.

    The choice of a smaller count is part of that of a larger one with the same seed.
    """
    volumes = prepared.volumes("train", labelled=True)
    order = generator(seed, "labelled").permutation(len(volumes))
    seen: dict[str, int] = {}
    ranked: list[tuple[int, int, int]] = []
    for place in order:
        group = prepared.cases[volumes[place]].group
        ranked.append((seen.get(group, 0), len(ranked), volumes[place]))
        seen[group] = seen.get(group, 0) + 1
    return [volume for _, _, volume in sorted(ranked)][:count]


def _adam(learning_rate: float, schedule: Schedule = "constant", warmup: float = 0.0) -> dict[str, Any]:
    """Adam without weight decay, as published."""
    return {"learning_rate": learning_rate, "weight_decay": 0.0, "schedule": schedule, "warmup": warmup}
