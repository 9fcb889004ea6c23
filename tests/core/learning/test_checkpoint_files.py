from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from core.errors import CheckpointError
from core.learning.checkpoint import (
    checkpoint_path,
    clear_checkpoints,
    load_checkpoint,
    newest_checkpoint,
    prune_checkpoints,
    save_checkpoint,
)


def state(value: float = 1.0) -> dict:
    return {
        "weights": OrderedDict(w=torch.full((3,), value), b=torch.tensor(2, dtype=torch.int64)),
        "plain": [1, "two", 3.0, None, True, (4, b"5")],
        "half": torch.ones(2, dtype=torch.bfloat16),
    }


def folder_with(tmp_path: Path, *steps: int) -> Path:
    for step in steps:
        save_checkpoint(checkpoint_path(tmp_path, step), state(step))
    return tmp_path


def test_a_round_trip_is_exact(tmp_path):
    digest = save_checkpoint(tmp_path / "deep" / "a.ckpt", state())
    found = load_checkpoint(tmp_path / "deep" / "a.ckpt")
    assert torch.equal(found["weights"]["w"], state()["weights"]["w"])
    assert found["half"].dtype == torch.bfloat16
    assert found["plain"] == state()["plain"]
    assert (tmp_path / "deep" / "a.ckpt.sha256").read_text().strip() == digest
    assert sorted(p.name for p in (tmp_path / "deep").iterdir()) == ["a.ckpt", "a.ckpt.sha256"]


@pytest.mark.parametrize("harm", ["truncate", "flip", "append", "empty", "no digest", "odd digest"])
def test_damage_is_found(tmp_path, harm):
    path = checkpoint_path(folder_with(tmp_path, 1), 1)
    content = bytearray(path.read_bytes())
    if harm == "truncate":
        path.write_bytes(content[: len(content) // 2])
    elif harm == "flip":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif harm == "append":
        path.write_bytes(content + b"x")
    elif harm == "empty":
        path.write_bytes(b"")
    elif harm == "no digest":
        Path(f"{path}.sha256").unlink()
    else:
        Path(f"{path}.sha256").write_bytes(b"\xff")
    with pytest.raises(CheckpointError, match=r"step-00000001\.ckpt.*delete it"):
        load_checkpoint(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="missing"):
        load_checkpoint(tmp_path / "x.ckpt")


class Malicious:
    def __reduce__(self):
        return os.system, ("touch pwned",)


def test_a_pickle_that_would_run_code_is_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "step-00000001.ckpt"
    torch.save({"state_dict": Malicious()}, path)
    import hashlib

    Path(f"{path}.sha256").write_text(hashlib.sha256(path.read_bytes()).hexdigest())
    with pytest.raises(CheckpointError, match="cannot be read safely"):
        load_checkpoint(path)
    path.write_bytes(pickle.dumps(Malicious()))
    Path(f"{path}.sha256").write_text(hashlib.sha256(path.read_bytes()).hexdigest())
    with pytest.raises(CheckpointError, match="cannot be read safely"):
        load_checkpoint(path)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"hyper": {"root": Path("/x")}}, r"hyper\.root"),
        ({"a": [1, np.float64(2.0)]}, r"a\[1\]"),
        ({"f": print}, "entry f"),
    ],
)
def test_what_could_not_be_read_back_is_refused_when_saved(tmp_path, value, where):
    with pytest.raises(CheckpointError, match=where):
        save_checkpoint(tmp_path / "a.ckpt", value)
    assert list(tmp_path.iterdir()) == []


def test_the_newest_whole_one_is_chosen_and_damage_is_told(tmp_path):
    folder = folder_with(tmp_path, 5, 10)
    assert newest_checkpoint(folder) == checkpoint_path(folder, 10)
    checkpoint_path(folder, 10).write_bytes(b"torn")
    said: list[str] = []
    assert newest_checkpoint(folder, said.append) == checkpoint_path(folder, 5)
    assert len(said) == 1
    assert "step-00000010.ckpt is damaged" in said[0]
    checkpoint_path(folder, 5).unlink()
    assert newest_checkpoint(folder, said.append) is None


def test_no_folder_has_no_checkpoint(tmp_path):
    assert newest_checkpoint(tmp_path / "none") is None


def test_pruning_keeps_the_two_newest_and_clears_torn_writes(tmp_path):
    folder = folder_with(tmp_path, 1, 2, 3)
    (folder / ".step-00000004.ckpt.77.tmp").write_bytes(b"half")
    (folder / "step-00000009.ckpt.sha256").write_text("x")
    (folder / "other").write_text("stays")
    prune_checkpoints(folder)
    assert sorted(p.name for p in folder.iterdir()) == [
        "other",
        "step-00000002.ckpt",
        "step-00000002.ckpt.sha256",
        "step-00000003.ckpt",
        "step-00000003.ckpt.sha256",
    ]
    clear_checkpoints(folder)
    assert not folder.exists()
    clear_checkpoints(folder)


@pytest.mark.parametrize("moment", ["write", "rename"])
def test_a_write_that_fails_leaves_the_earlier_one_in_force(tmp_path, monkeypatch, moment):
    folder = folder_with(tmp_path, 1)

    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", fail) if moment == "write" else monkeypatch.setattr(
        Path, "replace", fail
    )
    with pytest.raises(OSError, match="No space"):
        save_checkpoint(checkpoint_path(folder, 2), state())
    monkeypatch.undo()
    assert newest_checkpoint(folder) == checkpoint_path(folder, 1)
    assert not [path for path in folder.iterdir() if path.name.endswith(".tmp")]
