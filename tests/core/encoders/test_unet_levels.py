"""The U-Net pretrained in parts: sizes, names, and a frozen encoder that stays put."""

from __future__ import annotations

import pytest
import torch

from core.encoders.unet import UNet
from core.errors import ConfigError, DataError


def test_default_sizes_are_those_of_the_published_network():
    with torch.device("meta"):
        net = UNet(channels=1, classes=4)
        x = torch.empty(1, 1, 192, 192)
        assert [tuple(level.shape[1:]) for level in net.encoder.levels(x)] == [
            (16, 192, 192), (32, 96, 96), (64, 48, 48), (128, 24, 24), (128, 12, 12), (128, 6, 6)
        ]  # fmt: skip
        widths = [128, 128, 64, 32, 16]
        for blocks, width in enumerate(widths, start=1):
            side = 192 // 2 ** (5 - blocks)
            assert net.decode(x, blocks=blocks).shape == (1, width, side, side)
        assert net(x).shape == (1, 4, 192, 192)
    names = {name.rsplit(".", 3)[0] for name, _ in net.named_parameters()}
    assert {f"encoder.level{k}" for k in range(1, 7)} <= {name[:14] for name, _ in net.named_parameters()}
    assert any(name.startswith("decoder.block5") for name in names)


def test_training_the_decoder_leaves_a_frozen_encoder_bit_identical():
    torch.manual_seed(0)
    net = UNet(channels=1, classes=2, widths=(4, 6, 8))
    net.encoder.requires_grad_(False).eval()
    before = {key: value.clone() for key, value in net.encoder.state_dict().items()}
    decoder = [parameter for parameter in net.parameters() if parameter.requires_grad]
    optimiser = torch.optim.SGD(decoder, lr=0.1)
    net(torch.randn(2, 1, 16, 16)).square().mean().backward()
    optimiser.step()
    assert all(parameter.grad is not None for parameter in decoder)
    assert all(torch.equal(value, before[key]) for key, value in net.encoder.state_dict().items())


def test_stage_weights_chain_and_another_width_is_refused(tmp_path):
    from core.errors import CheckpointError

    first, second = UNet(widths=(4, 6, 8)), UNet(widths=(4, 6, 8))
    torch.save(first.encoder.state_dict(), tmp_path / "encoder.pt")
    assert second.encoder.load_weights(tmp_path / "encoder.pt", strict=True).complete
    for key, value in first.encoder.state_dict().items():
        assert torch.equal(value, second.encoder.state_dict()[key])
    with pytest.raises(CheckpointError, match="another shape"):
        UNet(widths=(4, 6, 10)).encoder.load_weights(tmp_path / "encoder.pt", strict=True)


def test_mistakes_are_named():
    net = UNet(widths=(4, 6, 8))
    with pytest.raises(DataError, match="multiples of 4"):
        net(torch.zeros(1, 1, 18, 16))
    with pytest.raises(ConfigError, match="1 to 2"):
        net.decode(torch.zeros(1, 1, 16, 16), blocks=3)
    with pytest.raises(ConfigError, match="two levels"):
        UNet(widths=(4,))
