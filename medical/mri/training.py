"""Training the fine-tuning runs of the pipeline."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from core.encoders.unet import UNet
from medical.mri.learn.train import finetune, labelled_choice, self_train
from medical.mri.model import Architecture, load_model, save_model
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
    rounds: int = 1,
    **settings: Any,
) -> tuple[UNet, Run]:
    """Fine-tune one network.

    Args:
        init, count: of `planned_runs`.
        start: ``pretrained``, ``random`` or ``self_training`` -> a network of its own with the weights that such a
            run begins with.
        seed: decides the labelled volumes (those of a smaller count are among those of a larger) and the rest.
        mixup_alpha, rounds: of Mixup and of self-training.
        **settings: of `medical.mri.learn.train.finetune` and of `core.learning.fit.fit`.
    """
    net = start(PRETRAINED if init == MIXUP else init)
    chosen = labelled_choice(prepared, count, seed)
    if init == SELF_TRAINING:
        rest = [number for number in prepared.volumes("train") if number not in chosen]
        results = self_train(net, prepared, chosen, rest, rounds=rounds, seed=seed, **settings)
    else:
        alpha = mixup_alpha if init == MIXUP else None
        results = [finetune(net, prepared, chosen, seed=seed, mixup_alpha=alpha, **settings)]
    ids = tuple(prepared.cases[number].id for number in chosen)
    starts = [int(settings["steps"]) * number for number in range(len(results))]
    history = [
        {**record, "step": record["step"] + start}
        for start, result in zip(starts, results)
        for record in result.history
    ]
    last = results[-1]
    best = None if last.best_step is None else last.best_step + starts[-1]
    return net, Run(init, count, ids, tuple(history), best, last.best_value)


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
            tuned = folder / Run(PRETRAINED, count).name

            def begin(which: str, tuned: Path = tuned) -> UNet:
                return load_model(tuned)[0] if which == SELF_TRAINING else start(which)[0]

            net, run = train_run(
                init,
                count,
                prepared,
                begin,
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
