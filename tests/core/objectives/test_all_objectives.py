"""What holds for every objective: gradients, half precision, autocast, degenerate input, compile, tiles."""

from __future__ import annotations

import pytest
import torch
from objective_checks import assert_finite
from objective_table import OBJECTIVES, ONE_SIDED, SURROGATE

import core.objectives.partition as partition

NAMES = sorted(OBJECTIVES)


def _pair(
    rows: int = 6, width: int = 4, dtype: torch.dtype = torch.float32
) -> tuple[torch.Tensor, torch.Tensor]:
    x, y = torch.randn(2, rows, width, dtype=torch.float64).to(dtype)
    return x.clone().requires_grad_(), y.clone().requires_grad_()


@pytest.mark.parametrize("name", sorted(set(NAMES) - SURROGATE))
@pytest.mark.parametrize("temperature", [0.07, 0.8])
def test_gradcheck(name: str, temperature: float) -> None:
    x, y = _pair(5, 4, torch.float64)
    if name in ONE_SIDED:
        y = y.detach()
    assert torch.autograd.gradcheck(
        lambda x, y: OBJECTIVES[name](x, y, temperature),
        (x, y),
        eps=1e-6,
        atol=1e-4,
        fast_mode=temperature < 0.1,
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("temperature", [0.07, 0.01])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_numerics_table(name: str, temperature: float, dtype: torch.dtype) -> None:
    """Finite at each temperature and dtype; half inputs give the float32 result of the same numbers."""
    x, y = _pair(dtype=dtype)
    loss = OBJECTIVES[name](x, y, temperature)
    assert_finite(loss, x, y)
    lifted = OBJECTIVES[name](x.detach().float(), y.detach().float(), temperature)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.detach(), lifted, rtol=1e-5, atol=1e-5)


def _degenerate(kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    x, y = torch.randn(2, 6, 4)
    if kind == "collapsed":
        x, y = torch.ones(6, 4), torch.ones(6, 4)
    elif kind == "zero row":
        x[2] = y[3] = 0.0
    elif kind == "all zero":
        x, y = torch.zeros(6, 4), torch.zeros(6, 4)
    elif kind == "identical views":
        y = x.clone()
    elif kind == "huge":
        x, y = 1e4 * x, 1e4 * y
    else:
        rows = {"empty batch": 0, "batch of 1": 1, "batch of 2": 2}[kind]
        x, y = x[:rows], y[:rows]
    return x.clone().requires_grad_(), y.clone().requires_grad_()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "kind",
    [
        "collapsed",
        "zero row",
        "all zero",
        "identical views",
        "huge",
        "empty batch",
        "batch of 1",
        "batch of 2",
    ],
)
def test_degenerate_input_is_finite(name: str, kind: str) -> None:
    for temperature in (0.07, 0.01):
        x, y = _degenerate(kind)
        assert_finite(OBJECTIVES[name](x, y, temperature), x, y)


@pytest.mark.parametrize("name", NAMES)
def test_autocast_does_not_lower_the_precision(name: str) -> None:
    x, y = _pair(8, 6)
    plain = OBJECTIVES[name](x, y, 0.1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = OBJECTIVES[name](x, y, 0.1)
    torch.testing.assert_close(cast, plain, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_tiles_change_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = _pair(7, 5, torch.float64)
    whole = OBJECTIVES[name](x, y, 0.2)
    expected = torch.autograd.grad(whole, (x, y), allow_unused=True)
    monkeypatch.setattr(partition, "TILE_ENTRIES", 16)
    tiled = OBJECTIVES[name](x, y, 0.2)
    torch.testing.assert_close(tiled, whole, rtol=1e-12, atol=1e-12)
    for found, wanted in zip(torch.autograd.grad(tiled, (x, y), allow_unused=True), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_compiles_into_one_graph(name: str) -> None:
    torch.compiler.reset()
    x, y = _pair(5, 4)
    expected = OBJECTIVES[name](x, y, 0.2)
    compiled = torch.compile(OBJECTIVES[name], backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, y, 0.2), expected)
