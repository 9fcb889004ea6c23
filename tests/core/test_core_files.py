from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from pathlib import Path

import numpy as np
import pytest

from core import files
from core.errors import DataError
from core.files import atomic_directory, atomic_write, read_json, sha256_file, write_json


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_write_replaces_and_makes_parents(tmp_path):
    target = tmp_path / "a" / "b.txt"
    atomic_write(target, "old")
    atomic_write(target, b"n\xc3\xa9w")
    assert target.read_text(encoding="utf-8") == "néw"
    assert names(target.parent) == ["b.txt"]


def test_written_files_have_the_usual_permissions(tmp_path):
    plain = tmp_path / "plain"
    plain.write_text("")
    atomic_write(tmp_path / "ours", "")
    assert stat.S_IMODE((tmp_path / "ours").stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    target = tmp_path / "x"
    atomic_write(target, "old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        atomic_write(target, "new")
    assert target.read_text() == "old"
    assert names(tmp_path) == ["x"]


def test_a_link_is_replaced_and_its_target_left_alone(tmp_path):
    cached = tmp_path / "cached"
    cached.write_text("cached")
    link = tmp_path / "link"
    link.symlink_to(cached)
    atomic_write(link, "new")
    assert (link.read_text(), cached.read_text()) == ("new", "cached")


def test_a_folder_appears_whole(tmp_path):
    target = tmp_path / "deep" / "folder"
    with atomic_directory(target) as folder:
        (folder / "a").write_text("1")
        assert not target.exists()
    assert names(target) == ["a"]
    with atomic_directory(target) as folder:
        (folder / "b").write_text("2")
    assert names(target) == ["b"]
    assert names(target.parent) == ["folder"]


def test_a_failed_folder_leaves_the_old_one(tmp_path):
    target = tmp_path / "folder"
    with atomic_directory(target) as folder:
        (folder / "a").write_text("1")
    with contextlib.suppress(RuntimeError), atomic_directory(target) as folder:
        (folder / "b").write_text("2")
        raise RuntimeError("stop")
    assert names(target) == ["a"]
    assert names(tmp_path) == ["folder"]


def test_a_failed_swap_puts_the_old_folder_back(tmp_path, monkeypatch):
    target = tmp_path / "folder"
    with atomic_directory(target) as folder:
        (folder / "a").write_text("1")
    rename, calls = Path.replace, []

    def second_fails(self: Path, other: Path) -> Path:
        calls.append(self)
        if len(calls) == 2:
            raise OSError("busy")
        return rename(self, other)

    monkeypatch.setattr(Path, "replace", second_fails)
    with pytest.raises(OSError, match="busy"), atomic_directory(target) as folder:
        (folder / "b").write_text("2")
    assert names(target) == ["a"]
    assert names(tmp_path) == ["folder"]


def test_json_keeps_order_and_text_and_turns_numpy_plain(tmp_path):
    value = {"z": np.float32(0.5), "a": np.arange(2), "p": Path("x/y"), "n": float("nan"), "t": ("é", np.inf)}
    write_json(tmp_path / "v.json", value)
    text = (tmp_path / "v.json").read_text(encoding="utf-8")
    assert list(json.loads(text)) == ["z", "a", "p", "n", "t"]
    assert read_json(tmp_path / "v.json") == {"z": 0.5, "a": [0, 1], "p": "x/y", "n": None, "t": ["é", None]}
    assert "é" in text


def test_json_errors_name_the_file_and_what_to_run(tmp_path):
    with pytest.raises(DataError, match=r"none\.json is missing.*dvc repro"):
        read_json(tmp_path / "none.json")
    (tmp_path / "torn.json").write_text('{"a": ')
    with pytest.raises(DataError, match=r"torn\.json is not JSON"):
        read_json(tmp_path / "torn.json")


def test_digest_is_sha256(tmp_path):
    (tmp_path / "x").write_bytes(b"abc" * 100_000)
    assert sha256_file(tmp_path / "x") == hashlib.sha256(b"abc" * 100_000).hexdigest()


def test_umask_is_read_once_so_that_no_thread_sees_it_open():
    assert files._umask() == files._UMASK
