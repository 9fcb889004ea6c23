"""GradCache against one large step."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from core.errors import ConfigError
from core.learning.grad_cache import cached_step
from core.objectives import CLIP, clip


class Tower(nn.Module):
    """Takes a dict, drops units at random."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(5, 8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 4))

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return self.layers(batch["x"])


def _gradients(*modules: nn.Module) -> list[Tensor]:
    found = [p.grad.clone() for module in modules for p in module.parameters()]
    for module in modules:
        module.zero_grad()
    return found


@pytest.mark.parametrize("chunk", [1, 3, 7, 50])
def test_equals_one_step_with_the_same_random_numbers(chunk: int) -> None:
    tower, loss = Tower(), CLIP()
    x, y = torch.randn(2, 7, 5)
    torch.manual_seed(1)
    value = cached_step([tower, tower], [{"x": x}, {"x": y}], loss, chunk=chunk)
    after = torch.rand(1)
    found = _gradients(tower, loss)
    torch.manual_seed(1)
    whole = [torch.cat([tower({"x": part}) for part in batch.split(chunk)]) for batch in (x, y)]
    expected = loss(*whole)
    assert torch.equal(after, torch.rand(1))  # the random state goes on as after one pass
    expected.backward()
    torch.testing.assert_close(value, expected.detach())
    torch.testing.assert_close(found, _gradients(tower, loss), rtol=1e-5, atol=1e-6)


def test_under_autocast_and_with_a_scaled_loss() -> None:
    """Weights cast without graph in the first pass must not be used in the second."""
    tower = nn.Linear(5, 4)
    x, y = torch.randn(2, 6, 5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cached_step([tower, tower], [x, y], clip, chunk=2, scale_loss=lambda value: 8 * value)
        found = _gradients(tower)
        value = clip(tower(x), tower(y))
    (8 * value).backward()
    for a, b in zip(found, _gradients(tower), strict=True):
        assert float((a - b).norm()) < 0.05 * float(b.norm())  # the products were made in bf16


def test_tuples_and_frozen_towers() -> None:
    tower = nn.Bilinear(3, 2, 4)
    batch = (torch.randn(5, 3), torch.randn(5, 2))
    fixed = torch.randn(5, 4)
    cached_step([lambda pair: tower(*pair), lambda x: x], [batch, fixed], clip, chunk=2)
    found = _gradients(tower)
    clip(tower(*batch), fixed).backward()
    torch.testing.assert_close(found, _gradients(tower), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("encoders", "chunk"), [(2, 0), (1, 2)])
def test_errors(encoders: int, chunk: int) -> None:
    with pytest.raises(ConfigError):
        cached_step([nn.Identity()] * encoders, [torch.ones(2, 2)] * 2, clip, chunk=chunk)
