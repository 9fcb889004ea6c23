"""CoCoSoDa and its fine-tuning over two processes: losses, gradients and queues of one process on the whole batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.distributed as dist
from two_ranks import on_ranks

from code_search.learn.cocosoda import CoCoSoDa, FineTune
from core.distributed import rank, world_size
from core.encoders import StaticText

STEPS, BATCH, LENGTH, VOCABULARY = 3, 8, 6, 30
SPLITS = ([4, 4], [5, 3])
"""Rows of each rank; a single process takes them all."""


def steps_of(module: Any, rows: list[int]) -> dict[str, torch.Tensor]:
    """Train three steps on this rank's rows of each batch; losses, first gradients, weights, queues after them."""
    optimizer = torch.optim.SGD(module.encoder.parameters(), lr=0.5)
    generator = torch.Generator().manual_seed(1)
    start = sum(rows[: rank()])
    part = slice(start, start + rows[rank()]) if world_size() > 1 else slice(None)
    losses, gradients = [], []
    for _ in range(STEPS):
        batch: dict[str, torch.Tensor] = {}
        for name in ("code", "code_key", "text", "text_key"):
            batch[name] = torch.randint(0, VOCABULARY, (BATCH, LENGTH), generator=generator)[part]
            batch[f"{name}_mask"] = torch.ones_like(batch[name], dtype=torch.bool)
        batch["groups"] = torch.randint(0, 6, (BATCH,), generator=generator)[part]
        loss = module.terms(batch)["loss"]
        optimizer.zero_grad()
        loss.backward()
        for parameter in module.encoder.parameters():
            if world_size() > 1:  # what DDP does
                dist.all_reduce(parameter.grad)
                parameter.grad /= world_size()
            gradients.append(parameter.grad.clone())
        optimizer.step()
        losses.append(loss.item())
    found = {"losses": torch.tensor(losses), "weights": module.encoder.vectors.detach()}
    found |= {f"gradient {place}": value for place, value in enumerate(gradients)}
    queues = getattr(module, "queues", {})
    found |= {f"queue {name}": queue.embeddings for name, queue in queues.items()}
    return found | {f"groups {name}": queue.groups for name, queue in queues.items()}


def all_runs() -> dict[str, dict[str, torch.Tensor]]:
    """Several trainings in one start of the processes; runs on one process as well."""
    found = {}
    for rows in SPLITS:
        for name in ("CoCoSoDa", "without keys and queue", "FineTune"):
            torch.manual_seed(0)
            encoder = StaticText(VOCABULARY, 5).double()
            if name == "FineTune":
                module: Any = FineTune(encoder, chunks=2)
            elif name == "CoCoSoDa":
                module = CoCoSoDa(encoder, queue_size=16, momentum=0.5)
                for queue in module.queues.values():
                    queue.double()
            else:
                module = CoCoSoDa(encoder, queue_size=0, keys=False, intra=False)
            found[f"{name}, rows {rows}"] = steps_of(module, rows)
    return found


@pytest.mark.slow
def test_two_ranks_equal_one_process() -> None:
    alone = all_runs()
    for found in on_ranks(all_runs, timeout=240):
        assert found.keys() == alone.keys()
        for run, values in alone.items():
            assert found[run].keys() == values.keys()
            for name, value in values.items():
                torch.testing.assert_close(
                    found[run][name], value, rtol=1e-6, atol=1e-8, msg=f"{run}: {name}"
                )
