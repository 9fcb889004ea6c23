"""Projection heads: widths, norms, maps, and the batch of one that BatchNorm cannot take."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from core.encoders.heads import ProjectionHead, ResidualHead
from core.errors import ConfigError, DataError


@pytest.mark.parametrize("hidden", [[], [6], [6, 7]])
@pytest.mark.parametrize("norm", ["none", "batch", "layer"])
@pytest.mark.parametrize("last_norm", ["none", "batch", "batch_plain", "layer"])
@pytest.mark.parametrize("bias", [True, False])
def test_shapes_and_gradients(hidden, norm, last_norm, bias):
    head = ProjectionHead(5, 3, hidden=hidden, norm=norm, last_norm=last_norm, bias=bias)
    out = head(torch.randn(4, 5))
    assert out.shape == (4, head.dim) == (4, 3)
    (out * torch.randn(4, 3)).sum().backward()
    assert all(parameter.grad is not None for parameter in head.parameters())


@pytest.mark.parametrize("spatial", [1, 2, 3])
def test_a_head_over_maps_is_the_vector_head_at_each_cell(spatial):
    torch.manual_seed(0)
    flat = ProjectionHead(5, 3, hidden=[6], norm="batch").eval()
    maps = ProjectionHead(5, 3, hidden=[6], norm="batch", spatial=spatial).eval()
    state = flat.state_dict()
    maps.load_state_dict({key: value.reshape(maps.state_dict()[key].shape) for key, value in state.items()})
    x = torch.randn(2, 5, *[4] * spatial)
    cells = x.flatten(2).transpose(1, 2).reshape(-1, 5)
    expected = flat(cells).reshape(2, -1, 3).transpose(1, 2).reshape(2, 3, *[4] * spatial)
    torch.testing.assert_close(maps(x), expected)


def test_plain_batch_norm_has_no_parameters_and_standardises():
    head = ProjectionHead(5, 3, last_norm="batch_plain", bias=False)
    assert [name for name, _ in head.named_parameters()] == ["0.weight"]
    out = head(torch.randn(64, 5))
    torch.testing.assert_close(out.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.var(0, unbiased=False), torch.ones(3), atol=1e-3, rtol=0)


def test_one_row_is_refused_in_training_with_batch_norm_only():
    head = ProjectionHead(5, 3, hidden=[4], norm="batch")
    with pytest.raises(DataError, match="at least 2 rows"):
        head(torch.randn(1, 5))
    assert head.eval()(torch.randn(1, 5)).shape == (1, 3)
    assert ProjectionHead(5, 3, hidden=[4], norm="layer")(torch.randn(1, 5)).shape == (1, 3)
    dense = ProjectionHead(5, 3, last_norm="batch", spatial=2)
    assert dense(torch.randn(1, 5, 2, 2)).shape == (1, 3, 2, 2)


def test_residual_head_is_its_formula():
    torch.manual_seed(0)
    head = ResidualHead(5, 3).eval()
    x = torch.randn(4, 5)
    first = x @ head.linear1.weight.T
    expected = nn.functional.layer_norm(first + nn.functional.gelu(first) @ head.linear2.weight.T, (3,))
    torch.testing.assert_close(head(x), expected)
    head.train()
    assert not torch.equal(head(x), head(x))


def test_saved_and_loaded_heads_answer_the_same(tmp_path):
    first, second = (ProjectionHead(5, 3, hidden=[4], norm="batch", last_norm="batch") for _ in range(2))
    first(torch.randn(8, 5))
    save_file(first.state_dict(), tmp_path / "head.safetensors")
    second.load_state_dict(load_file(tmp_path / "head.safetensors"))
    x = torch.randn(2, 5)
    assert torch.equal(first.eval()(x), second.eval()(x))


def test_mistakes_are_named():
    with pytest.raises(DataError, match=r"\(B, 5\)"):
        ProjectionHead(5, 3)(torch.zeros(2, 6))
    with pytest.raises(DataError, match="grid"):
        ProjectionHead(5, 3, spatial=2)(torch.zeros(2, 5))
    with pytest.raises(ConfigError, match="widths"):
        ProjectionHead(5, 0)
    with pytest.raises(ConfigError, match="norm of a head"):
        ProjectionHead(5, 3, last_norm="layer", spatial=2)
    with pytest.raises(ConfigError, match="norm of a head"):
        ProjectionHead(5, 3, hidden=[4], norm="group")  # type: ignore[arg-type]
