"""What every encoder promises: shapes, gradients everywhere, one seed one network, files, checked input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file, save_file

from core.encoders.audio import TINY_CLAP, AudioCNN, ClapAudio
from core.encoders.image import DenseNetEncoder, ResNetEncoder, ViTEncoder
from core.encoders.signal import SignalResNet, SignalTransformer
from core.encoders.unet import UNetEncoder
from core.encoders.vit import VisionTransformer
from core.errors import DataError


class Case(NamedTuple):
    build: Callable[..., Any]
    shape: tuple[int, ...]


SMALL = {"blocks": (1, 1, 1, 1), "widths": (4, 4, 6, 8)}
TINY = {"dim": 16, "depth": 2, "heads": 2}
CASES = {
    "resnet_1_band": Case(lambda **k: ResNetEncoder(channels=1, **SMALL, **k), (2, 1, 64, 48)),
    "resnet_13_bands": Case(lambda **k: ResNetEncoder(channels=13, **SMALL, **k), (2, 13, 40, 40)),
    "resnet_bottleneck": Case(lambda **k: ResNetEncoder(bottleneck=True, **SMALL, **k), (2, 3, 64, 64)),
    "resnet_small_stem": Case(lambda **k: ResNetEncoder(small=True, **SMALL, **k), (2, 3, 16, 16)),
    "resnet_3d": Case(lambda **k: ResNetEncoder(channels=1, dimensions=3, **SMALL, **k), (2, 1, 32, 32, 33)),
    "densenet_2d": Case(
        lambda **k: DenseNetEncoder(channels=2, blocks=(1, 2), growth=4, first=8, **k), (2, 2, 32, 32)
    ),
    "densenet_3d": Case(
        lambda **k: DenseNetEncoder(channels=1, dimensions=3, blocks=(1, 1), growth=4, first=8, **k),
        (2, 1, 16, 16, 16),
    ),
    "vit_2d": Case(
        lambda **k: ViTEncoder(channels=1, image_size=(16, 24), patch=8, **TINY, **k), (2, 1, 16, 24)
    ),
    "vit_3d": Case(
        lambda **k: ViTEncoder(
            channels=2, dimensions=3, image_size=8, patch=4, dim=12, depth=1, heads=2, **k
        ),
        (2, 2, 8, 8, 8),
    ),
    "dinov2": Case(lambda **k: VisionTransformer(channels=13, image_size=28, **TINY, **k), (2, 13, 28, 42)),
    "vit_plain": Case(
        lambda **k: VisionTransformer(image_size=32, patch=16, layer_scale=None, qkv_bias=False, **TINY, **k),
        (2, 3, 32, 32),
    ),
    "signal_resnet": Case(lambda **k: SignalResNet(channels=12, **SMALL, **k), (2, 12, 100)),
    "signal_resnet_bottleneck": Case(
        lambda **k: SignalResNet(channels=2, bottleneck=True, **SMALL, **k), (2, 2, 96)
    ),
    "signal_mean_max": Case(lambda **k: SignalResNet(channels=1, pool="mean_max", **SMALL, **k), (2, 1, 96)),
    "signal_transformer": Case(lambda **k: SignalTransformer(samples=100, stem=8, **TINY, **k), (2, 12, 100)),
    "audio_cnn": Case(lambda **k: AudioCNN(mels=16, widths=(4, 8), **k), (2, 1, 40, 16)),
    "clap": Case(lambda **k: ClapAudio(**k), (2, 1, 251, 64)),
    "unet_encoder": Case(lambda **k: UNetEncoder(channels=1, widths=(4, 6, 8), **k), (2, 1, 16, 16)),
}
every_encoder = pytest.mark.parametrize("name", CASES)


def build(name: str, seed: int = 0, **options: Any) -> Any:
    torch.manual_seed(seed)
    return CASES[name].build(**options)


def inputs(name: str) -> torch.Tensor:
    return torch.randn(CASES[name].shape, generator=torch.Generator().manual_seed(1))


@every_encoder
def test_output_has_the_width_that_dim_states_and_every_parameter_gets_a_gradient(name):
    encoder = build(name)
    embedding = encoder(inputs(name))
    assert embedding.shape == (2, encoder.dim)
    assert torch.isfinite(embedding).all()
    embedding.square().sum().backward()
    without = [key for key, parameter in encoder.named_parameters() if parameter.grad is None]
    assert without == []


@every_encoder
def test_one_seed_gives_one_network_and_another_seed_another(name):
    first, again, other = build(name), build(name), build(name, seed=1)
    for key, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key
    assert any(not torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))


@every_encoder
def test_a_network_saved_and_loaded_answers_the_same(name, tmp_path):
    first, second = build(name).eval(), build(name, seed=1).eval()
    save_file(first.state_dict(), tmp_path / "model.safetensors")
    second.load_state_dict(load_file(tmp_path / "model.safetensors"))
    x = inputs(name)
    with torch.no_grad():
        assert torch.equal(first(x), second(x))
        third = build(name, seed=2).eval()
        report = third.load_weights(tmp_path, strict=True)
        assert report.complete
        assert torch.equal(first(x), third(x))


@every_encoder
def test_rows_do_not_see_each_other_in_eval_mode(name):
    encoder = build(name).eval()
    x = inputs(name)
    with torch.no_grad():
        torch.testing.assert_close(encoder(x)[1:], encoder(x[1:]), atol=1e-5, rtol=1e-4)


@every_encoder
def test_wrong_input_is_named(name):
    encoder = build(name, check_finite=True).eval()
    x = inputs(name)
    with pytest.raises(DataError, match=f"expected {x.shape[1]} channels"):
        encoder(torch.cat([x, x], dim=1))
    with pytest.raises(DataError, match="layout"):
        encoder(x[0])
    with pytest.raises(DataError, match="floating"):
        encoder(x.long())
    with pytest.raises(DataError, match="no empty axis"):
        encoder(x[:0])
    x[1].view(-1)[3] = float("nan")
    with pytest.raises(DataError, match=r"NaN.*rows \[1\]"):
        encoder(x)


@every_encoder
def test_finite_under_bfloat16_autocast(name):
    encoder = build(name).eval()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.isfinite(encoder(inputs(name)).float()).all()


@pytest.mark.parametrize("fusion", [False, True])
def test_clap_fusion_tower_uses_all_but_its_fusion_weights(fusion):
    settings = {**TINY_CLAP, **({"enable_fusion": True, "fusion_type": "aff_2d"} if fusion else {})}
    encoder = ClapAudio(settings)
    encoder(inputs("clap")).sum().backward()
    without = {key for key, parameter in encoder.named_parameters() if parameter.grad is None}
    assert all("fusion_model" in key or "mel_conv2d" in key for key in without)
    assert bool(without) == fusion
