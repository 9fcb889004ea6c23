"""Training the fine-tuning runs of the pipeline."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from core.encoders.unet import UNet
from medical.mri.learn.train import finetune, labelled_choice, self_train
from medical.mri.model import Architecture, save_model
from medical.mri.prepared import Prepared
from medical.mri.runs import (
    MIXUP,
    PRETRAINED,
    RANDOM,
    RUNS,
    SELF_TRAINING,
    Run,
    planned_runs,
    read_runs,
    write_runs,
)


def train_run(
    init: str,
    count: int,
    prepared: Prepared,
    start: Callable[[str], UNet],
    *,
    seed: int,
    mixup_alpha: float = 0.1,
    **settings: Any,
) -> tuple[UNet, Run]:
    """Fine-tune one network.

    Args:
        init, count: of `planned_runs`.
        start: ``pretrained`` or ``random`` -> a network of its own with these weights.
        seed: decides the labelled volumes (those of a smaller count are among those of a larger) and the rest.
        **settings: of `medical.mri.learn.train.finetune` and of `core.learning.fit.fit`.
    """
    net = start(RANDOM if init == RANDOM else PRETRAINED)
    chosen = labelled_choice(prepared, count, seed)
    alpha = mixup_alpha if init == MIXUP else None
    result = finetune(net, prepared, chosen, seed=seed, mixup_alpha=alpha, **settings)
    if init == SELF_TRAINING:
        rest = [number for number in prepared.volumes("train") if number not in chosen]
        result = self_train(net, prepared, chosen, rest, seed=seed, **settings)
    ids = tuple(prepared.cases[number].id for number in chosen)
    return net, Run(init, count, ids, tuple(result.history), result.best_step)


def train_runs(
    prepared: Prepared,
    start: Callable[[str], tuple[UNet, Architecture, Any]],
    folder: Path,
    *,
    labelled: Sequence[int],
    extras: Sequence[str],
    fingerprint: str,
    checkpoints: Path,
    **settings: Any,
) -> list[Run]:
    """Train all of `planned_runs` and write their networks, and their list, into ``folder``.

    A finished run is kept beside the checkpoints, so that a killed stage goes on with the rest.

    Args:
        start: ``pretrained`` or ``random`` -> (a network of its own, its architecture, anything).
        fingerprint: of the settings and data.
        checkpoints: folder of the checkpoints.
        **settings: of `train_run`.
    """
    facts = {
        "structures": list(prepared.structures),
        "spacing": prepared.spacing,
        "reading": asdict(prepared.reading),
    }
    runs = []
    for init, count in planned_runs(labelled, extras):
        name = Run(init, count).name
        kept = checkpoints / f"finished-{fingerprint[:16]}" / name
        if not (kept / RUNS).is_file():
            _, architecture, _ = start(RANDOM)
            net, run = train_run(
                init,
                count,
                prepared,
                lambda which: start(which)[0],
                title=f"fine-tuning, {name}",
                fingerprint=f"{fingerprint} {name}",
                checkpoint_dir=checkpoints / name,
                diagnostics=False,
                **settings,
            )
            save_model(net, architecture, kept, stage="finetuned", **facts)
            write_runs(kept / RUNS, [run])
        runs += read_runs(kept / RUNS)
        shutil.copytree(kept, folder / name, ignore=shutil.ignore_patterns(RUNS))
    write_runs(folder / RUNS, runs)
    return runs
