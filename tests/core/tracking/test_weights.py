"""Weight files come back as they went in, and nothing that could run code is ever loaded."""

from __future__ import annotations

import pickle

import pytest
import torch

from core.errors import CheckpointError
from core.tracking import load_weights, save_weights


@pytest.fixture
def saved(tmp_path):
    state = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([1, 2], dtype=torch.int64)}
    return tmp_path / "model.safetensors", save_weights(tmp_path / "model.safetensors", state), state


def test_weights_come_back_equal(saved):
    path, digest, state = saved
    loaded = load_weights(path, digest)
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[name], state[name]) for name in state)


def test_equal_tensors_give_equal_bytes(tmp_path, saved):
    _, digest, state = saved
    reordered = dict(reversed(state.items()))
    assert save_weights(tmp_path / "again.safetensors", reordered) == digest


def test_tied_and_transposed_weights_are_kept(tmp_path):
    shared = torch.arange(6.0).reshape(2, 3)
    digest = save_weights(tmp_path / "w", {"one": shared, "two": shared, "turned": shared.T})
    loaded = load_weights(tmp_path / "w", digest)
    assert torch.equal(loaded["one"], loaded["two"])
    assert torch.equal(loaded["turned"], shared.T)


def test_entry_that_is_no_tensor_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="'steps'"):
        save_weights(tmp_path / "w", {"steps": 3})


@pytest.mark.parametrize("position", [8, 40, -1])
def test_one_flipped_bit_is_refused(saved, position):
    path, digest, _ = saved
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="SHA-256"):
        load_weights(path, digest)


def test_truncated_file_is_refused_even_when_its_digest_is_given(saved):
    import hashlib

    path, _, _ = saved
    content = path.read_bytes()[:-3]
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        load_weights(path, hashlib.sha256(content).hexdigest())


def test_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"gone\.safetensors"):
        load_weights(tmp_path / "gone.safetensors", "0" * 64)


class Harm:
    def __reduce__(self):
        return (open, ("harm-was-done", "w"))


@pytest.mark.parametrize("protocol", range(6))
def test_pickle_is_refused_whatever_its_name(tmp_path, monkeypatch, protocol):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(pickle.dumps(Harm(), protocol=protocol))
    with pytest.raises(CheckpointError, match="could run code"):
        load_weights(path, "0" * 64)
    assert not (tmp_path / "harm-was-done").exists()
