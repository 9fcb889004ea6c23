"""Checks that the tests of all objectives share: reference cases, gradients, degenerate inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

TOLERANCE = {torch.float64: (1e-9, 1e-9), torch.float32: (1e-5, 1e-4)}
"""Relative tolerance of the loss and of gradients (to the largest entry), from the notes on the vectors."""


def tensor(array: np.ndarray, dtype: torch.dtype) -> Tensor:
    """A tensor of `dtype` for floating arrays, of their own dtype for the rest."""
    value = torch.from_numpy(np.array(array))
    return value.to(dtype) if value.is_floating_point() else value


def assert_close(actual: Tensor, expected: np.ndarray, relative: float, what: str) -> None:
    """Every entry within `relative` of the largest expected magnitude (taken as 1e-3 where it is less)."""
    wanted = torch.from_numpy(np.array(expected)).double()
    assert actual.shape == wanted.shape, (
        f"{what}: shape {tuple(actual.shape)}, expected {tuple(wanted.shape)}"
    )
    scale = max(float(wanted.abs().max()) if wanted.numel() else 0.0, 1e-3)
    worst = float((actual.detach().double() - wanted).abs().max()) if wanted.numel() else 0.0
    assert worst <= relative * scale, f"{what}: off by {worst / scale:.3g} of {scale:.3g}"


def assert_matches(
    function: Callable[..., Tensor],
    case: dict[str, Any],
    dtype: torch.dtype,
    *,
    loosen: float = 1.0,
    expected: str = "loss",
) -> None:
    """Calls `function(**inputs)` on a reference case and compares loss and every gradient the case has.

    `function` takes the case's inputs by name and returns the loss (of output `expected`).
    """
    inputs = {name: tensor(value, dtype) for name, value in case["in"].items()}
    for name in case["grad"]:
        inputs[name].requires_grad_()
    loss = function(**inputs)
    of_loss, of_gradient = TOLERANCE[dtype]
    assert loss.dtype == dtype
    assert_close(loss, case["out"][expected], of_loss * loosen, f"{expected} of {case['args']}")
    if case["grad"]:
        names = list(case["grad"])
        found = torch.autograd.grad(loss, [inputs[name] for name in names], allow_unused=True)
        for name, gradient in zip(names, found, strict=True):
            gradient = torch.zeros_like(inputs[name]) if gradient is None else gradient
            assert_close(
                gradient, case["grad"][name], of_gradient * loosen, f"gradient of {name}, {case['args']}"
            )


def assert_finite(loss: Tensor, *inputs: Tensor) -> None:
    """The loss and its gradients are finite numbers."""
    assert torch.isfinite(loss).all(), loss
    wanted = [x for x in inputs if x.requires_grad]
    if wanted and loss.requires_grad:
        for gradient in torch.autograd.grad(loss, wanted, allow_unused=True):
            assert gradient is None or torch.isfinite(gradient).all()
