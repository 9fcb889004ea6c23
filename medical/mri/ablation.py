"""What pretraining is worth with few labels: the same fine-tuning from several starts, over several seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from core.data.digest import digest_of
from core.learning.determinism import derive_seed
from medical.mri.evaluate import score_volumes
from medical.mri.learn.train import (
    finetune,
    fresh_unet,
    labelled_choice,
    pretrain_global,
    pretrain_local,
    self_train,
)
from medical.mri.model import Architecture
from medical.mri.prepared import Prepared

CLAIM = "Global and local contrastive pretraining beats a random start with one and with two labelled volumes"
GD_LR, GD, GR, RANDOM = "GD+LR", "GD only", "GR only", "random start"
MIXUP = "GD+LR, Mixup"
GD_LR_SELF, RANDOM_SELF = "GD+LR, self-training", "random start, self-training"
ALL, MONAI = "all labels", "all labels, MONAI U-Net"
COMPARISONS = (
    (GD_LR, RANDOM),
    (GD, RANDOM),
    (GR, RANDOM),
    (GD_LR, GD),
    (GD_LR, GR),
    (GD_LR_SELF, RANDOM),
    (GD_LR_SELF, GD_LR),
    (GD_LR_SELF, RANDOM_SELF),
    (RANDOM_SELF, RANDOM),
    (ALL, MONAI),
)


def ablation_arms(
    prepared: Prepared,
    architecture: Architecture,
    *,
    labelled: Sequence[int],
    global_loss: Mapping[str, Any],
    local_loss: Mapping[str, Any],
    finetuning: Mapping[str, Any],
    draws: int = 1,
    mixup_alpha: float | None = None,
    rounds: int = 0,
    threads: int | None = None,
    monai: bool = True,
    checkpoints: Path | None = None,
) -> dict[str, Callable[[int], dict[str, float]]]:
    """A function seed -> metrics for each arm, as `core.evaluation.evidence.run_evidence` calls them.

    The seed decides the initial weights, which volumes are labelled, and all random numbers; it is the same
    in every arm. Metrics are ``dice_N`` with N labelled volumes: mean over the draws of labelled volumes and the test
    volumes of the mean Dice over structures, in the voxels of the files. The volumes that are pretrained on are those
    of the split train.

    Args:
        labelled: numbers of labelled volumes. The arms with all labels have ``dice_all`` instead.
        global_loss, local_loss: settings of `pretrain_global` and `pretrain_local`; the arms set ``kind``.
        finetuning: settings of `finetune`.
        draws: of labelled volumes a seed. Which volume is labelled moves the Dice more than the start does; the
            publication averages over five.
        mixup_alpha: of one more arm, GD+LR fine-tuned with Mixup; None leaves it out.
        rounds: of self-training, in two more arms; 0 leaves them out.
        checkpoints: folder of the checkpoints of pretraining, from which a stopped run goes on.
        monai: whether to add MONAI's own U-Net, fine-tuned in the same way on all labels.
    """
    members = prepared.volumes("train")
    quiet: dict[str, Any] = {"progress": False, "diagnostics": False, "threads": threads}
    digest = digest_of(asdict(architecture), prepared.digest, dict(global_loss), dict(local_loss))

    def score(net: nn.Module) -> float:
        found = score_volumes(net.eval(), prepared, prepared.volumes("test", labelled=True), distances=False)
        return float(np.nanmean([one.mean_dice for one in found]))

    def tuned(net: nn.Module, count: int | None, seed: int, **extra: Any) -> nn.Module:
        finetune(
            net, prepared, labelled_choice(prepared, count, seed), seed=seed, **finetuning, **extra, **quiet
        )
        return net

    @cache
    def weights(start: str, seed: int) -> dict[str, torch.Tensor]:
        net = fresh_unet(architecture, seed)
        resumed = {**quiet, "checkpoint_dir": checkpoints, "fingerprint": f"{digest} {start}"}
        if start in (GR, GD):
            settings = {**global_loss, "kind": "gr" if start == GR else "gd"}
            pretrain_global(net, architecture, prepared, members, seed=seed, **settings, **resumed)
        elif start == GD_LR:
            net.load_state_dict(weights(GD, seed))
            settings = {**local_loss, "kind": "lr"}
            pretrain_local(net, architecture, prepared, members, seed=seed, **settings, **resumed)
        return net.state_dict()

    @cache
    def fitted(start: str, seed: int, count: int, drawn: int, **extra: Any) -> dict[str, torch.Tensor]:
        net = fresh_unet(architecture, seed)
        net.load_state_dict(weights(start, seed))
        return tuned(net, count, drawn, **extra).state_dict()

    def few(start: str, seed: int, *, again: int = 0, **extra: Any) -> dict[str, float]:
        net = fresh_unet(architecture, seed)
        found: dict[str, list[float]] = {f"dice_{count}": [] for count in labelled}
        for count, draw in product(labelled, range(draws)):
            drawn = derive_seed(seed, f"draw {draw}") if draw else seed
            net.load_state_dict(fitted(start, seed, count, drawn, **extra))
            if again:
                chosen = labelled_choice(prepared, count, drawn)
                rest = [number for number in members if number not in chosen]
                self_train(net, prepared, chosen, rest, rounds=again, seed=drawn, **finetuning, **quiet)
            found[f"dice_{count}"].append(score(net))
        return {name: float(np.mean(values)) for name, values in found.items()}

    arms: dict[str, Callable[[int], dict[str, float]]] = {
        arm: partial(few, arm) for arm in (GD_LR, RANDOM, GD, GR)
    }
    if mixup_alpha is not None:
        arms[MIXUP] = partial(few, GD_LR, mixup_alpha=mixup_alpha)
    if rounds:
        arms |= {
            GD_LR_SELF: partial(few, GD_LR, again=rounds),
            RANDOM_SELF: partial(few, RANDOM, again=rounds),
        }
    arms[ALL] = lambda seed: {"dice_all": score(tuned(fresh_unet(architecture, seed), None, seed))}
    if monai:
        arms[MONAI] = lambda seed: {"dice_all": score(tuned(monai_unet(architecture, seed), None, seed))}
    return arms


def monai_unet(architecture: Architecture, seed: int = 0) -> nn.Module:
    """MONAI's residual-free U-Net with the same levels and widths, strided convolutions and batch norm."""
    from monai.networks.nets import UNet as MonaiUNet

    widths = architecture.widths
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "initial weights"))
        return MonaiUNet(
            spatial_dims=2, in_channels=1, out_channels=architecture.classes, channels=widths,
            strides=(2,) * (len(widths) - 1), norm="batch",
        )  # fmt: skip
