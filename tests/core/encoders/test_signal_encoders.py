"""Signal encoders: time arithmetic, the 2D form they stand for, token positions."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from core.encoders.signal import SignalResNet, SignalTransformer, signal_resnet
from core.errors import ConfigError, DataError

SMALL = {"blocks": (1, 1, 1, 1), "widths": (4, 4, 4, 8)}


@pytest.mark.parametrize(("samples", "steps"), [(1000, 32), (5000, 157), (100, 4), (64, 2)])
@pytest.mark.parametrize("options", [{}, {"xresnet": True, "kernel": 5}, {"bottleneck": True}])
def test_a_feature_is_32_samples(samples, steps, options):
    net = SignalResNet(channels=3, **SMALL, **options).eval()
    assert net.features(torch.zeros(1, 3, samples)).shape == (1, net.width, steps)


def test_the_first_layer_is_the_2d_layer_over_all_leads():
    net = SignalResNet(channels=12, **SMALL)
    first = net.stem[0][0]
    image = nn.Conv2d(1, 4, (12, 7), stride=(1, 2), padding=(0, 3), bias=False)
    image.weight.data = first.weight.data.unsqueeze(1)
    x = torch.randn(2, 12, 100)
    torch.testing.assert_close(image(x.unsqueeze(1)).squeeze(2), first(x))


def test_zero_initialised_blocks_of_the_xresnet_pass_their_shortcut():
    net = SignalResNet(channels=2, xresnet=True, **SMALL).eval()
    block = net.stages[1][0]
    x = torch.rand(1, 4, 16)
    torch.testing.assert_close(block(x), torch.relu(block.shortcut(x)))


def test_mean_max_pooling_holds_both():
    net = SignalResNet(channels=1, pool="mean_max", **SMALL).eval()
    x = torch.randn(2, 1, 200)
    features = net.features(x)
    assert net.dim == 2 * net.width
    torch.testing.assert_close(net(x), torch.cat([features.mean(2), features.amax(2)], dim=1))


def test_tokens_see_the_samples_that_centres_tells():
    torch.manual_seed(0)
    net = SignalTransformer(channels=2, samples=100, stem=8, dim=8, depth=1, heads=1).eval()
    x = torch.randn(1, 2, 100)
    changed = x.clone()
    changed[..., 50] += 5.0
    with torch.no_grad():
        moved = (net.embed(changed) - net.embed(x)).abs().amax(dim=(0, 1)) > 0
    centres = net.centres()
    assert len(centres) == moved.numel() == 100 // 5 - 4
    assert set(centres[moved].tolist()) <= set(centres[(centres - 50).abs() <= 12].tolist())
    assert SignalTransformer(samples=1000, stem=4, dim=4, depth=1, heads=1).centres().numel() == 196


def test_features_are_the_tokens_over_time():
    net = SignalTransformer(channels=1, samples=50, stem=4, dim=8, depth=1, heads=1).eval()
    x = torch.randn(2, 1, 50)
    assert torch.equal(net.features(x), net.tokens(x).patches.transpose(1, 2))


def test_mistakes_are_named():
    net = SignalTransformer(channels=1, samples=50, stem=4, dim=8, depth=1, heads=1)
    with pytest.raises(DataError, match="50 samples"):
        net(torch.zeros(1, 1, 55))
    with pytest.raises(ConfigError, match="multiple of 5"):
        SignalTransformer(samples=101)
    with pytest.raises(ConfigError, match="odd kernel"):
        SignalResNet(kernel=4)
    with pytest.raises(ConfigError, match="pool"):
        SignalResNet(pool="median")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="xresnet101"):
        signal_resnet("resnet17")
