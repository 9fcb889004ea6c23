"""kill -9 at each moment of a write: what was there before is still whole, and the next run goes on."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch

from core import files
from core.files import atomic_directory, atomic_write
from core.learning import checkpoint
from core.learning.checkpoint import (
    checkpoint_path,
    load_checkpoint,
    newest_checkpoint,
    prune_checkpoints,
    save_checkpoint,
)
from core.tracking import load_weights, save_weights


def die(*args: object, **kwargs: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_on(call: int, real):
    """``real``, except that its n-th call ends the process."""
    calls = []

    def wrapped(*args, **kwargs):
        calls.append(0)
        return die() if len(calls) == call else real(*args, **kwargs)

    return wrapped


def state(value: float) -> dict:
    return {"weights": {"w": torch.full((1000,), value)}, "step": 3}


@pytest.mark.parametrize(
    ("moment", "newest"),
    [("in the bytes", 1), ("before the digest", 1), ("before the name", 1), ("after the name", 2)],
)
def test_kill_9_while_a_checkpoint_is_written(tmp_path, in_child, moment, newest):
    save_checkpoint(checkpoint_path(tmp_path, 1), state(1))

    def write() -> None:
        if moment == "in the bytes":
            checkpoint._Hashing.write = die_on(3, checkpoint._Hashing.write)
        elif moment == "before the digest":
            checkpoint.atomic_write = die
        elif moment == "before the name":
            Path.replace = die_on(2, Path.replace)  # the first is that of the digest
        else:
            checkpoint._sync_folder = die
        save_checkpoint(checkpoint_path(tmp_path, 2), state(2))

    assert in_child(write) == (-signal.SIGKILL, "")
    found = newest_checkpoint(tmp_path)
    assert found == checkpoint_path(tmp_path, newest)
    assert load_checkpoint(found)["weights"]["w"][0] == newest
    prune_checkpoints(tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    save_checkpoint(checkpoint_path(tmp_path, 3), state(3))
    assert newest_checkpoint(tmp_path) == checkpoint_path(tmp_path, 3)


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_kill_9_while_weights_or_a_table_are_written(tmp_path, in_child, moment):
    weights, table = tmp_path / "model.safetensors", tmp_path / "table.csv"
    digest = save_weights(weights, {"w": torch.ones(9)})
    atomic_write(table, "old")

    def write(which: Path) -> None:
        if moment == "fsync":
            files.os.fsync = die
        else:
            Path.replace = die
        if which == weights:
            save_weights(weights, {"w": torch.zeros(9)})
        else:
            atomic_write(table, "new")

    for which in (weights, table):
        assert in_child(lambda which=which: write(which)) == (-signal.SIGKILL, "")
    assert load_weights(weights, digest)["w"].tolist() == [1.0] * 9
    assert table.read_text() == "old"


def test_kill_9_while_a_folder_is_written(tmp_path, in_child):
    with atomic_directory(tmp_path / "out") as folder:
        (folder / "a").write_text("old")

    def write() -> None:
        with atomic_directory(tmp_path / "out") as folder:
            (folder / "a").write_text("half")
            die()

    assert in_child(write) == (-signal.SIGKILL, "")
    assert (tmp_path / "out" / "a").read_text() == "old"
