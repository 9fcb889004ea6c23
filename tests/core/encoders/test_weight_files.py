"""Local weights: what is read, what is refused, and what the report says."""

from __future__ import annotations

import os
import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from core.encoders.signal import SignalResNet
from core.encoders.weight_files import read_state
from core.encoders.weights import load_state, strip_prefixes
from core.errors import CheckpointError


@pytest.fixture
def layer():
    return nn.Linear(3, 2)


STATE = {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}


class Payload:
    """A pickle of this object creates the file `path` when something unpickles it."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (os.mkdir, (self.path,))


@pytest.mark.parametrize(
    "form", ["torch_zip", "torch_legacy", "plain_pickle", "whole_module", "inside_checkpoint"]
)
def test_a_pickle_that_runs_code_is_refused_and_does_not_run(form, tmp_path, layer):
    trap, file = tmp_path / "ran", tmp_path / "weights.pt"
    if form == "plain_pickle":
        file.write_bytes(pickle.dumps(Payload(trap)))
    elif form == "whole_module":
        torch.save(layer, file)
    elif form == "inside_checkpoint":
        torch.save({"state_dict": STATE, "args": Payload(trap)}, file)
    else:
        torch.save(Payload(trap), file, _use_new_zipfile_serialization=form == "torch_zip")
    with pytest.raises(CheckpointError) as caught:
        read_state(file)
    assert not trap.exists()
    assert "weights_only" not in str(caught.value)
    assert "refused" in str(caught.value)


def test_a_pickle_named_safetensors_is_refused(tmp_path):
    file = tmp_path / "weights.safetensors"
    torch.save(Payload(tmp_path / "ran"), file)
    with pytest.raises(CheckpointError, match="damaged"):
        read_state(file)
    assert not (tmp_path / "ran").exists()


def test_safetensors_are_known_by_content(tmp_path):
    save_file(STATE, tmp_path / "weights.bin")
    assert set(read_state(tmp_path / "weights.bin")) == {"weight", "bias"}


@pytest.mark.parametrize("content", [b"", b"hello world", b"PK\x03\x04broken", b"\x80\x02}q\x00."])
def test_damaged_files_are_named(content, tmp_path):
    file = tmp_path / "weights.pt"
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"weights\.pt"):
        read_state(file)


def test_truncated_files_are_named(tmp_path):
    for name in ("a.safetensors", "a.pt"):
        (save_file if name.endswith("safetensors") else torch.save)(STATE, tmp_path / name)
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(CheckpointError, match=name):
            read_state(tmp_path / name)
    with pytest.raises(CheckpointError, match="no such file"):
        read_state(tmp_path / "missing.pt")


def test_the_state_dict_inside_a_training_checkpoint_is_found(tmp_path):
    optimiser = torch.optim.Adam(nn.Linear(3, 2).parameters()).state_dict()
    torch.save({"epoch": 3, "arch": "x", "model": STATE, "optimizer": optimiser}, tmp_path / "a.pt")
    assert set(read_state(tmp_path / "a.pt")) == {"weight", "bias"}
    torch.save({"student": STATE, "teacher": {"w": torch.ones(1)}}, tmp_path / "b.pt")
    with pytest.raises(CheckpointError, match=r"several state dicts.*student.*teacher.*key="):
        read_state(tmp_path / "b.pt")
    assert set(read_state(tmp_path / "b.pt", key="teacher")) == {"w"}
    with pytest.raises(CheckpointError, match="ema"):
        read_state(tmp_path / "b.pt", key="ema")
    torch.save({"epoch": 3}, tmp_path / "c.pt")
    with pytest.raises(CheckpointError, match="no state dict"):
        read_state(tmp_path / "c.pt")


def test_report_lists_every_kind_of_key(layer):
    net = nn.Sequential(layer, nn.Linear(2, 2))
    state = {"0.weight": torch.ones(2, 3), "0.bias": torch.zeros(5), "head.weight": torch.ones(1)}
    report = load_state(net, state, source="a.pt")
    assert report.matched == ("0.weight",)
    assert report.missing == ("1.weight", "1.bias")
    assert report.unexpected == ("head.weight",)
    assert report.mismatched == (("0.bias", (5,), (2,)),)
    assert not report.complete
    assert "0.bias (file 5, module 2)" in str(report)
    assert torch.equal(layer.weight, torch.ones(2, 3))


def test_strict_leaves_the_module_alone_unless_all_fits(layer):
    before = layer.weight.detach().clone()
    with pytest.raises(CheckpointError, match="missing: bias"):
        load_state(layer, {"weight": torch.ones(2, 3)}, strict=True)
    assert torch.equal(layer.weight, before)
    assert load_state(layer, STATE, strict=True).complete


def test_a_file_of_another_model_is_refused_with_the_prefix_to_strip(layer):
    wrapped = {f"module.{key}": value for key, value in STATE.items()}
    with pytest.raises(CheckpointError, match=r"strip=\['module\.'\]"):
        load_state(layer, wrapped)
    assert load_state(layer, strip_prefixes(wrapped, ["module."])).complete
    with pytest.raises(CheckpointError, match="another"):
        load_state(layer, {"weight": torch.ones(7)})


def test_prefixes_that_make_two_keys_one_are_refused():
    state = {"encoder_q.w": torch.ones(1), "encoder_k.w": torch.zeros(1)}
    assert set(strip_prefixes(state, ["encoder_q."])) == {"w", "encoder_k.w"}
    with pytest.raises(CheckpointError, match="two weights named w"):
        strip_prefixes(state, ["encoder_q.", "encoder_k."])


def test_weights_with_nan_are_refused(layer):
    with pytest.raises(CheckpointError, match=r"NaN.*weight"):
        load_state(layer, {"weight": torch.full((2, 3), float("nan"))})


def test_an_encoder_loads_a_moco_checkpoint(tmp_path):
    torch.manual_seed(0)
    first = SignalResNet(channels=2, blocks=(1, 1, 1, 1), widths=(4, 4, 4, 4)).eval()
    second = SignalResNet(channels=2, blocks=(1, 1, 1, 1), widths=(4, 4, 4, 4)).eval()
    state = {f"module.encoder_q.{key}": value for key, value in first.state_dict().items()}
    torch.save({"epoch": 1, "state_dict": {**state, "module.queue": torch.zeros(4, 8)}}, tmp_path / "moco.pt")
    report = second.load_weights(tmp_path / "moco.pt", strip=["module.", "encoder_q."])
    assert report.unexpected == ("queue",)
    assert report.missing == ()
    x = torch.randn(1, 2, 64)
    assert torch.equal(first(x), second(x))
