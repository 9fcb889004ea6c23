"""What holds for every softmax and sigmoid loss: gradients, precision, degenerate input, compile, tiles."""

from __future__ import annotations

import sys

import pytest
import torch
from objective_checks import assert_finite
from softmax_table import SOFTMAX
from torch import Tensor

import core.objectives.tiled as tiled

NAMES = sorted(SOFTMAX)
problem = sys.modules["core.objectives.problem"]


@pytest.fixture
def tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small inputs go through tiles of 3 x 3."""
    monkeypatch.setattr(problem, "DENSE_ENTRIES", 0)
    monkeypatch.setattr(tiled, "TILE", 3)


def _pair(rows: int = 6, width: int = 5, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    x, y = torch.randn(2, rows, width, dtype=torch.float64).to(dtype)
    return x.clone().requires_grad_(), y.clone().requires_grad_()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("temperature", [0.07, 0.8])
def test_gradient_by_hand(name: str, temperature: float, tiles: None) -> None:
    pair = _pair(4, 3, torch.float64)
    loss = SOFTMAX[name]
    assert torch.autograd.gradcheck(lambda x, y: loss(x, y, temperature), pair, atol=1e-4, fast_mode=True)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("temperature", "dtype"),
    [(0.01, torch.float64), (0.07, torch.float32), (0.8, torch.float64), (0.8, torch.float32)],
)
def test_tiled_is_dense(
    name: str, temperature: float, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = _pair(7, 5, dtype)
    found = {}
    for method, entries in (("dense", 1 << 30), ("tiled", 0)):
        monkeypatch.setattr(problem, "DENSE_ENTRIES", entries)
        monkeypatch.setattr(tiled, "TILE", 3)
        loss = SOFTMAX[name](x, y, temperature)
        found[method] = (loss.detach(), *torch.autograd.grad(loss, (x, y)))
    precision = {torch.float64: 1e-12, torch.float32: 1e-6}[dtype]
    for dense, fast in zip(found["dense"], found["tiled"], strict=True):
        scale = max(1.0, float(dense.abs().max())) * max(1.0, 0.1 / temperature)  # of the logits' rounding
        assert float((dense - fast).abs().max()) <= precision * scale


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("temperature", [0.07, 0.01])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_numerics_table(name: str, temperature: float, dtype: torch.dtype, tiles: None) -> None:
    x, y = _pair(dtype=dtype)
    loss = SOFTMAX[name](x, y, temperature)
    assert_finite(loss, x, y)
    assert loss.dtype == torch.float32
    if name != "contrast_scales":  # its scales are made of x in half precision
        lifted = SOFTMAX[name](x.detach().float(), y.detach().float(), temperature)
        torch.testing.assert_close(loss.detach(), lifted, rtol=1e-6, atol=1e-6)


def _degenerate(kind: str) -> tuple[Tensor, Tensor]:
    x, y = torch.randn(2, 6, 4)
    if kind == "collapsed":
        x, y = torch.ones(6, 4), torch.ones(6, 4)
    elif kind == "zero row":
        x[2] = y[3] = 0.0
    elif kind == "all zero":
        x, y = torch.zeros(6, 4), torch.zeros(6, 4)
    elif kind == "identical":
        y = x.clone()
    elif kind == "opposite":
        y = -x
    else:
        rows = {"batch of 1": 1, "batch of 2": 2, "batch of 0": 0}[kind]
        x, y = x[:rows], y[:rows]
    return x.clone().requires_grad_(), y.clone().requires_grad_()


KINDS = [
    "collapsed",
    "zero row",
    "all zero",
    "identical",
    "opposite",
    "batch of 0",
    "batch of 1",
    "batch of 2",
]


@pytest.mark.parametrize("method", ["dense", "tiled"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_degenerate_input_is_finite(
    name: str, kind: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(problem, "DENSE_ENTRIES", 0 if method == "tiled" else 1 << 30)
    for temperature in (0.07, 0.01):
        x, y = _degenerate(kind)
        assert_finite(SOFTMAX[name](x, y, temperature), x, y)


@pytest.mark.parametrize("name", ["nt_xent", "clip", "dcl", "cwcl", "pairwise"])
def test_one_sample_has_nothing_to_learn(name: str, tiles: None) -> None:
    x, y = _pair(1)
    loss = SOFTMAX[name](x, y, 0.07)
    loss.backward()
    assert float(loss) == 0.0
    assert float(x.grad.abs().max()) == 0.0


@pytest.mark.parametrize("name", NAMES)
def test_autocast_does_not_lower_the_precision(name: str, tiles: None) -> None:
    x, y = _pair(8, 6)
    plain = SOFTMAX[name](x, y, 0.1)
    expected = torch.autograd.grad(plain, (x, y))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = SOFTMAX[name](x, y, 0.1)
    found = torch.autograd.grad(cast, (x, y))
    torch.testing.assert_close(cast, plain, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_equal_runs_give_equal_bits(name: str, tiles: None) -> None:
    x, y = _pair(8, 6)
    first, second = (
        [loss, *torch.autograd.grad(loss, (x, y))] for loss in (SOFTMAX[name](x, y, 0.1) for _ in "12")
    )
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["dense", "tiled"])
@pytest.mark.parametrize("name", NAMES)
def test_compiles_into_one_graph(name: str, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(problem, "DENSE_ENTRIES", 0 if method == "tiled" else 1 << 30)
    torch.compiler.reset()
    x, y = _pair(5, 4)
    expected = SOFTMAX[name](x, y, 0.2)
    loss = torch.compile(SOFTMAX[name], backend="eager", fullgraph=True)(x, y, 0.2)
    torch.testing.assert_close(loss, expected)
    gradients = torch.autograd.grad(loss, (x, y)), torch.autograd.grad(expected, (x, y))
    torch.testing.assert_close(*gradients)
