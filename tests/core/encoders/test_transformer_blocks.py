"""Attention dropping, recording and recomputation in the shared transformer blocks."""

from __future__ import annotations

import pytest
import torch

from core.encoders.signal import SignalTransformer
from core.encoders.transformer import Attention, Blocks, drop_schedule, kept_keys, recorded_attention
from core.errors import ConfigError


def test_no_row_loses_every_key_and_the_rate_is_met():
    generator = torch.Generator().manual_seed(0)
    keep = kept_keys((8, 4, 50, 50), 0.3, generator=generator)
    assert abs(float((~keep).float().mean()) - 0.3) < 0.01
    assert bool(kept_keys((64, 3), 0.99, generator=generator).any(-1).all())


def test_dropping_changes_training_only_and_stays_finite_at_a_high_rate():
    torch.manual_seed(0)
    layer = Attention(8, 2, drop=0.95)
    x = torch.randn(4, 6, 8, requires_grad=True)
    assert not torch.equal(layer(x), layer(x))
    layer(x).sum().backward()
    assert torch.isfinite(x.grad).all()
    layer.eval()
    assert torch.equal(layer(x), layer(x))


@pytest.mark.parametrize("drop", [0.0, 0.4])
def test_recorded_attention_gives_the_fused_result_and_gradients(drop):
    torch.manual_seed(0)
    layer = Attention(8, 2, drop=drop)
    x = torch.randn(2, 5, 8)
    torch.manual_seed(1)
    fused = layer(x)
    torch.manual_seed(1)
    with recorded_attention(layer) as layers:
        explicit = layer(x)
        attention = layers[0].recorded
        (gradient,) = torch.autograd.grad(explicit.sum(), attention)
    torch.testing.assert_close(explicit, fused)
    assert attention.shape == gradient.shape == (2, 2, 5, 5)
    assert bool((attention == 0).any()) == (drop > 0)
    assert layer.recorded is None


def test_recomputing_blocks_changes_neither_output_nor_gradient():
    torch.manual_seed(0)
    stack = Blocks(3, 8, 2, drop=0.3)
    x = torch.randn(2, 5, 8)
    results = []
    for stack.checkpointing in (False, True):
        stack.zero_grad()
        torch.manual_seed(1)
        out = stack(x)
        out.square().sum().backward()
        results.append([out, *(parameter.grad for parameter in stack.parameters())])
    for plain, recomputed in zip(*results, strict=True):
        assert torch.equal(plain, recomputed)


def test_schedule_sets_one_rate_a_block():
    net = SignalTransformer(samples=50, stem=4, dim=8, depth=3, heads=1, attention_drop=0.3)
    assert [block.attn.drop for block in net.blocks] == [0.3, 0.3, 0.3]
    net.blocks.set_drop(drop_schedule(0.2, 0.0, 3))
    assert [block.attn.drop for block in net.blocks] == pytest.approx([0.2, 0.1, 0.0])
    assert drop_schedule(0.1, 0.0, 1) == [0.1]


def test_mistakes_are_named():
    with pytest.raises(ConfigError, match="one rate a block"):
        Blocks(3, 8, 2, drop=[0.1])
    with pytest.raises(ConfigError, match="rate in"):
        Attention(8, 2, drop=1.0)
    with pytest.raises(ConfigError, match="3 rates"):
        Blocks(3, 8, 2).set_drop([0.1, 0.1])
    with pytest.raises(ConfigError, match="schedule"):
        drop_schedule(0.2, 1.0, 3)
