"""Training: one call that is deterministic, survives kill -9, and scales by its arguments."""

from __future__ import annotations

import contextlib
import hashlib
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer

from core.errors import ConfigError
from core.learning.callbacks import Bar, Checkpoints, History, Record, Reseed, Validation
from core.learning.checkpoint import (
    checkpoint_path,
    load_checkpoint,
    newest_checkpoint,
    prune_checkpoints,
)
from core.learning.determinism import set_threads
from core.learning.helpers import call_helpers, keep_helpers
from core.learning.module import ContrastiveModule
from core.learning.plumbing import SafeCheckpointIO, Source, quiet_lightning
from core.locks import waiting_lock
from core.stage import first_process

PRECISIONS = {"32": "32-true", "64": "64-true", "bf16-mixed": "bf16-mixed", "16-mixed": "16-mixed"}


@dataclass(frozen=True)
class FitResult:
    """What ``fit`` returns.

    Attributes:
        history: a record for each window of steps, see `History`.
        resumed_from_step: 0 where the run started afresh.
        seconds: of training, over all attempts.
        best_step, best_value: with ``keep_best``, the step of the weights and its metric.
    """

    history: list[Record] = field(repr=False)
    resumed_from_step: int
    seconds: float
    best_step: int | None = None
    best_value: float | None = None


def fit(
    module: ContrastiveModule,
    batches: Callable[[int], Any],
    *,
    steps: int,
    seed: int = 0,
    checkpoint_dir: str | Path | None = None,
    fingerprint: str = "",
    every_n_steps: int | None = None,
    threads: int | None = None,
    precision: str = "32",
    accelerator: str = "cpu",
    devices: int = 1,
    nodes: int = 1,
    strategy: str = "auto",
    workers: int = 0,
    gradient_clip: float | None = None,
    log_every: int | None = None,
    logger: Callable[[Record], None] | None = None,
    validate: Callable[[Any, int], Record] | None = None,
    validate_every: int | None = None,
    keep_best: str | None = None,
    diagnostics: bool = True,
    progress: bool = True,
    title: str = "training",
) -> FitResult:
    """Train ``module`` in place for ``steps`` steps; afterwards it is on the CPU and in eval mode.

    With ``checkpoint_dir`` a run that was killed at any moment goes on from its newest whole checkpoint
    and ends with the weights, bit for bit, of a run that was not killed (same machine, threads and
    processes). Checkpoints lie in a sub-folder named by a digest of ``fingerprint``, the initial weights
    and the arguments that shape the run, so those of other settings are never taken up; a lock makes a
    second process on the same folder wait. They stay until ``clear_checkpoints(checkpoint_dir)``; a stage
    script's are cleared when the stage ends well.

    Args:
        module: a `ContrastiveModule`, built under a fixed seed. It is put into train mode; a part that is
            to stay in eval mode (a frozen encoder with batch norm) overrides ``train``.
        batches: step (from 0) -> batch, a function of its argument: a `StepBatches`, or any function
            (then one process only, unless it has ``shard(rank, world)``). Picklable where ``workers`` > 0
            and processes are spawned.
        steps: optimizer steps, >= 1.
        fingerprint: names what the arguments do not: params, data digest.
        every_n_steps: between checkpoints; a tenth of ``steps`` by default.
        threads: of torch; None leaves it.
        precision: 32, 64, bf16-mixed or 16-mixed.
        accelerator, devices, nodes, strategy: as in Lightning (cpu/gpu/auto; auto, ddp and its variants).
            ``batch_size`` of a `StepSampler` is over all processes. With several processes ``fit`` returns
            in the first alone, which does all the rest of the script; the others help with its further
            trainings (whose module and batches must be picklable), and end with it, see
            `core.learning.helpers`. ``validate`` and ``logger`` count in the first process.
        workers: processes that make batches; the batches do not depend on it.
        gradient_clip: norm at which gradients are cut.
        log_every: steps averaged into a record of the history; steps / 50 by default.
        logger: called with each new record.
        validate, validate_every, keep_best: see `Validation`.
        diagnostics: collapse diagnostics in each record, of what the module watches.

    Raises:
        ConfigError: arguments out of range.
        KindredError: the loss became NaN or infinite.
        CheckpointError: the newest whole checkpoint is not safe to read.
    """
    if steps < 1:
        raise ConfigError("steps", seen=steps, expected="a number >= 1")
    if precision not in PRECISIONS:
        raise ConfigError("precision", seen=precision, expected=f"one of {list(PRECISIONS)}")
    if strategy != "auto" and not strategy.startswith("ddp"):  # others leave parts of the weights elsewhere
        raise ConfigError("strategy", seen=strategy, expected="auto, ddp or a variant of ddp")
    world = devices * nodes
    if world > 1:
        if not hasattr(batches, "shard"):
            raise ConfigError(
                f"training on {world} processes", expected="batches with shard(), as StepBatches has"
            )
        batches.shard(0, world)  # refuses what cannot be shared out, before anything is started
    shared: dict[str, Any] = {
        "steps": steps, "seed": seed, "checkpoint_dir": checkpoint_dir, "fingerprint": fingerprint,
        "every_n_steps": every_n_steps, "threads": threads, "precision": precision, "accelerator": accelerator,
        "devices": devices, "nodes": nodes, "strategy": strategy, "workers": workers,
        "gradient_clip": gradient_clip, "log_every": log_every, "diagnostics": diagnostics, "title": title,
    }  # fmt: skip
    helped = world > 1 and not _spawns(strategy)
    if helped:
        call_helpers(title, (module, batches, shared))
    result = _train(
        module, batches, **shared, logger=logger, validate=validate, validate_every=validate_every,
        keep_best=keep_best, progress=progress,
    )  # fmt: skip
    if helped:
        keep_helpers(first_process(), lambda sent: _train(sent[0], sent[1], **sent[2]))
    return result


def _spawns(strategy: str) -> bool:
    return "spawn" in strategy or "fork" in strategy


def _train(
    module: ContrastiveModule,
    batches: Callable[[int], Any],
    *,
    steps: int,
    seed: int,
    checkpoint_dir: str | Path | None,
    fingerprint: str,
    every_n_steps: int | None,
    threads: int | None,
    precision: str,
    accelerator: str,
    devices: int,
    nodes: int,
    strategy: str,
    workers: int,
    gradient_clip: float | None,
    log_every: int | None,
    diagnostics: bool,
    title: str,
    logger: Callable[[Record], None] | None = None,
    validate: Callable[[Any, int], Record] | None = None,
    validate_every: int | None = None,
    keep_best: str | None = None,
    progress: bool = False,
) -> FitResult:
    """`fit` in one process, which is one of ``devices * nodes``."""
    world, spawned = devices * nodes, _spawns(strategy)
    if world > 1 and strategy in ("auto", "ddp"):
        strategy = "ddp_find_unused_parameters_true" if module.idle_parts else "ddp"
    set_threads(threads)
    history = History(log_every or max(1, steps // 50), diagnostics, logger)
    callbacks: list[Any] = [Reseed(seed), history]
    validation = None
    if validate is not None:
        validation = Validation(validate, validate_every or max(1, steps // 5), keep_best, history)
        callbacks.append(validation)
    if progress:
        callbacks.append(Bar(title, history))
    with contextlib.ExitStack() as stack:
        if checkpoint_dir is None and spawned:  # the way back for what the processes recorded
            checkpoint_dir = stack.enter_context(tempfile.TemporaryDirectory())
        resume = None
        if checkpoint_dir is not None:
            folder = Path(checkpoint_dir) / _key(module, fingerprint, steps, seed, precision, world)
            resume = _newest(folder, stack)
            callbacks.append(Checkpoints(folder, every_n_steps or max(1, steps // 10)))
        start = int(resume.stem.removeprefix("step-")) if resume else 0
        if start and first_process():
            print(f"{title}: goes on from step {start} of {steps}", file=sys.stderr, flush=True)
        stack.enter_context(quiet_lightning())
        trainer = Trainer(
            accelerator=accelerator,
            devices=devices,
            num_nodes=nodes,
            strategy=strategy,
            precision=PRECISIONS[precision],
            max_steps=steps,
            max_epochs=-1,
            gradient_clip_val=gradient_clip,
            callbacks=callbacks,
            plugins=[SafeCheckpointIO()],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            limit_val_batches=0,
            deterministic=None if accelerator == "cpu" else "warn",
            default_root_dir=str(checkpoint_dir or tempfile.gettempdir()),
        )
        module.train()
        try:
            trainer.fit(
                module,
                datamodule=Source(batches, start, steps, seed, workers),
                ckpt_path=str(resume) if resume else None,
                weights_only=True,
            )
        except SystemExit as error:  # what Lightning makes of Ctrl-C
            if not isinstance(error.__context__, KeyboardInterrupt):
                raise
            signal.signal(signal.SIGINT, signal.default_int_handler)  # it leaves the signal ignored
            raise KeyboardInterrupt from None
        if spawned:
            state = load_checkpoint(checkpoint_path(folder, steps))["callbacks"]
            for callback in (history, validation):
                if callback is not None:
                    callback.load_state_dict(state[callback.state_key])
    if validation is not None:
        validation.restore(module)
    module.eval()
    module.trainer, module.watched, module.latest = None, None, {}
    return FitResult(
        history=history.records,
        resumed_from_step=start,
        seconds=round(history.seconds, 3),
        best_step=validation.best_step if validation else None,
        best_value=validation.best if validation else None,
    )


def _newest(folder: Path, stack: contextlib.ExitStack) -> Path | None:
    """Lock and tidy the folder (in the first process), and find what to resume from."""
    if first_process():
        stack.enter_context(waiting_lock(folder.with_suffix(".lock"), what=f"the training in {folder}"))
        folder.mkdir(parents=True, exist_ok=True)
        prune_checkpoints(folder)
    return newest_checkpoint(folder)


def _key(module: LightningModule, fingerprint: str, steps: int, seed: int, precision: str, world: int) -> str:
    digest = hashlib.blake2b(digest_size=8)
    digest.update(repr((type(module).__qualname__, fingerprint, steps, seed, precision, world)).encode())
    for name, value in module.state_dict().items():
        digest.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
