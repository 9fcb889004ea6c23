"""Losses over gloo ranks against the loss of one process on the whole batch."""

from __future__ import annotations

import torch
from torch import Tensor
from two_ranks import Case, assert_ranks_agree

from core.distributed import across_ranks
from core.objectives import contrast


def contrast_together(rows: Tensor, columns: Tensor, groups: Tensor, queue: Tensor) -> Tensor:
    return across_ranks(contrast, rows, columns, rows={"row_groups": groups}, queue=queue, symmetric=True)


def contrast_alone(rows: Tensor, columns: Tensor, groups: Tensor, queue: Tensor) -> Tensor:
    return contrast(rows, columns, row_groups=groups, queue=queue, symmetric=True)


def _inputs(n: int = 8, d: int = 6) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    rows, columns, queue = (torch.randn(k, d, generator=generator, dtype=torch.float64) for k in (n, n, 5))
    return {"rows": rows, "columns": columns, "groups": torch.arange(n) // 2, "queue": queue}


def test_contrast_over_ranks_equals_one_process():
    cases = [Case(contrast_alone, contrast_together, _inputs(), whole=("queue",))]
    assert_ranks_agree(cases, split=[(4, 4), (5, 3), (8, 0)])
