"""The tiled log partition: equal to the plain one for every mask, with a right gradient, in little memory."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import core.objectives.partition as partition
from core.objectives.partition import log_partition, partners
from core.objectives.rows import EMPTY


def _plain(
    rows: Tensor,
    columns: Tensor,
    pairs: list[tuple[Tensor, Tensor]],
    period: int | None,
    valid: Tensor | None,
) -> Tensor:
    keep = torch.ones(len(rows), len(columns), dtype=torch.bool)
    for mine, theirs in pairs:
        keep &= mine[:, None] != theirs[None, :]
    if period is not None:
        keep &= (torch.arange(len(columns))[None, :] - torch.arange(len(rows))[:, None]) % period != 0
    if valid is not None:
        keep &= valid[None, :]
    total = (rows @ columns.T).masked_fill(~keep, EMPTY).logsumexp(1)
    return torch.where(keep.any(1), total, EMPTY)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 12),
    columns=st.integers(1, 12),
    period=st.none() | st.integers(1, 12),
    grouped=st.booleans(),
    masked=st.booleans(),
    tile=st.sampled_from([1, 7, 30, 1 << 20]),
    seed=st.integers(0, 1000),
)
def test_every_mask_and_tile(
    rows: int, columns: int, period: int | None, grouped: bool, masked: bool, tile: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = (3 * torch.randn(rows, 3, generator=generator, dtype=torch.float64)).requires_grad_()
    y = (3 * torch.randn(columns, 3, generator=generator, dtype=torch.float64)).requires_grad_()
    ids = [torch.randint(3, (n,), generator=generator) for n in (rows, columns)]
    pairs = [(ids[0], ids[1])] if grouped else []
    valid = torch.rand(columns, generator=generator) > 0.3 if masked else None
    expected = _plain(x, y, pairs, period, valid)
    weight = torch.randn(rows, generator=generator, dtype=torch.float64) * (expected.detach() > EMPTY / 2)
    before, partition.TILE_ENTRIES = partition.TILE_ENTRIES, tile
    try:
        found = log_partition(x, y, *pairs, period=period, valid=valid)
        gradients = torch.autograd.grad((weight * found).sum(), (x, y))
    finally:
        partition.TILE_ENTRIES = before
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    for one, two in zip(gradients, torch.autograd.grad((weight * expected).sum(), (x, y)), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-11, atol=1e-12)


def test_tiled_gradcheck_and_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition, "TILE_ENTRIES", 8)
    x, y = (torch.randn(n, 3, dtype=torch.float64, requires_grad=True) for n in (5, 4))
    assert torch.autograd.gradcheck(lambda x, y: log_partition(x, y, period=4), (x, y))
    compiled = torch.compile(lambda x, y: log_partition(x, y, period=4), backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, y), log_partition(x, y, period=4))


def test_memory_of_the_tiled_form_does_not_grow_with_the_square_of_the_batch() -> None:
    """The largest tensor that is ever made holds a tile or the inputs, not N x N similarities."""
    largest = 0

    class Largest(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            result = function(*args, **(kwargs or {}))
            largest = max(largest, result.numel() if isinstance(result, Tensor) else 0)
            return result

    x = torch.randn(3000, 4, requires_grad=True)
    with Largest():
        log_partition(x, x, period=3000).sum().backward()
    assert largest <= partition.TILE_ENTRIES < 3000 * 3000


def test_partners_counts_other_ids() -> None:
    rows, columns = torch.randint(5, (9,)), torch.randint(5, (14,))
    assert torch.equal(partners(rows, columns), (rows[:, None] != columns).sum(1))
