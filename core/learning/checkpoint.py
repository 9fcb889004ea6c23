"""Checkpoints that are whole or not there: atomic, with a SHA-256 beside each, read without running code.

A folder holds the two newest: ``step-00000200.ckpt`` and ``step-00000200.ckpt.sha256``. A damaged newest
one (torn write, flipped bit) is reported and the one before is used. Files are read with
``weights_only=True``: a pickle that would run code is refused.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.errors import CheckpointError
from core.files import atomic_write, sha256_file

KEPT = 2


def save_checkpoint(path: str | os.PathLike[str], state: dict[str, Any]) -> str:
    """Write ``state`` (nested dicts and lists of tensors and plain values) to ``path``; returns its SHA-256.

    The bytes are flushed to disk and take their name in one rename, after their digest is on disk.

    Raises:
        CheckpointError: naming the first entry that could not be read back without running code (a Path,
            say).
    """
    _check_plain(state, "")
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as stream:
            writer = _Hashing(stream)
            try:
                torch.save(state, writer)
            except RuntimeError as error:
                # torch says only that its position is off; what went wrong is that the disk is full
                raise writer.error or error from None
            stream.flush()
            os.fsync(stream.fileno())
        digest = writer.digest.hexdigest()
        atomic_write(_sidecar(target), digest + "\n")
        temporary.replace(target)
        _sync_folder(target.parent)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    return digest


def load_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a checkpoint onto the CPU after comparing its SHA-256.

    Raises:
        CheckpointError: missing, damaged, without its digest, or holding more than tensors and plain values.
    """
    target = Path(path)
    verify_checkpoint(target)
    try:
        return torch.load(target, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise CheckpointError(
            f"checkpoint {target} cannot be read safely: {str(error).splitlines()[0]}",
            expected="tensors and plain values only",
            remedy="do not use this file unless you made it; delete it and train again",
        ) from None


def verify_checkpoint(path: Path) -> None:
    """Compare a checkpoint with its SHA-256. Raises CheckpointError: missing, damaged, without its digest."""
    if not path.is_file():
        raise CheckpointError(f"checkpoint {path} is missing")
    try:
        expected = _sidecar(path).read_text().strip()
    except (OSError, UnicodeDecodeError):
        raise CheckpointError(
            f"checkpoint {path} has no {_sidecar(path).name}", remedy="delete it; an earlier one is used"
        ) from None
    found = sha256_file(path)
    if found != expected:
        raise CheckpointError(
            f"checkpoint {path} is damaged (SHA-256)",
            seen=found,
            expected=expected,
            remedy="delete it; an earlier one is used",
        )


def checkpoint_path(folder: Path, step: int) -> Path:
    """Name of the checkpoint of ``step``.

    >>> checkpoint_path(Path("c"), 20).as_posix()
    'c/step-00000020.ckpt'
    """
    return folder / f"step-{step:08d}.ckpt"


def newest_checkpoint(folder: Path, say: Callable[[str], None] | None = None) -> Path | None:
    """The newest whole checkpoint in ``folder``; ``say`` hears of each damaged one that is passed over."""
    for path in sorted(folder.glob("step-*.ckpt"), reverse=True):
        try:
            verify_checkpoint(path)
        except CheckpointError as error:
            (say or _to_stderr)(f"{error} (using an earlier one)")
        else:
            return path
    return None


def prune_checkpoints(folder: Path, keep: int = KEPT) -> None:
    """Remove all but the ``keep`` newest checkpoints, digests without a checkpoint, and torn writes."""
    kept = sorted(folder.glob("step-*.ckpt"))[-keep:] if keep else []
    for path in [*folder.glob("step-*.ckpt*"), *folder.glob(".step-*.tmp")]:
        if path not in kept and path.name.removesuffix(".sha256") not in {k.name for k in kept}:
            with contextlib.suppress(OSError):
                path.unlink()


def clear_checkpoints(folder: str | os.PathLike[str]) -> None:
    """Remove a folder of checkpoints; for when what was trained is saved elsewhere."""
    shutil.rmtree(folder, ignore_errors=True)


class _Hashing:
    """Writes through, hashing on the way: the file need not be read again."""

    def __init__(self, stream: Any) -> None:
        self.stream, self.digest = stream, hashlib.sha256()
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        self.digest.update(data)
        try:
            return self.stream.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self.stream.flush()


def _check_plain(value: Any, where: str) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            _check_plain(item, f"{where}.{key}" if where else str(key))
    elif isinstance(value, (list, tuple, set)):
        for position, item in enumerate(value):
            _check_plain(item, f"{where}[{position}]")
    elif value is not None and not (isinstance(value, Tensor) or type(value) in _PLAIN):
        raise CheckpointError(
            f"checkpoint entry {where}",
            seen=value,
            expected="a tensor, number, string or a collection of these",
            remedy="convert it before save_hyperparameters or in state_dict (a Path with str())",
        )


_PLAIN = (str, int, float, bool, bytes, torch.Size, torch.dtype, torch.device)


def _sidecar(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _to_stderr(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
