"""CoCoSoDa over two processes: losses, gradients and queues of one process on the whole batch."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from two_ranks import on_ranks

from code_search.learn.cocosoda import CoCoSoDa
from core.distributed import rank, world_size
from core.encoders import StaticText

STEPS, BATCH, LENGTH, VOCABULARY = 3, 8, 6, 30


def three_steps() -> dict[str, Any]:
    """Train three steps on this rank's part of each batch; runs on one process as well."""
    torch.manual_seed(0)
    module = CoCoSoDa(StaticText(VOCABULARY, 5).double(), queue_size=16, momentum=0.5)
    for queue in module.queues.values():
        queue.double()
    optimizer = torch.optim.SGD(module.encoder.parameters(), lr=0.5)
    generator = torch.Generator().manual_seed(1)
    part = slice(rank() * BATCH // world_size(), (rank() + 1) * BATCH // world_size())
    losses = []
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
        optimizer.step()
        losses.append(loss.item())
    return {
        "losses": torch.tensor(losses),
        "weights": module.encoder.vectors.detach(),
        **{name: queue.embeddings for name, queue in module.queues.items()},
        "groups": module.queues["code"].groups,
    }


def test_two_ranks_equal_one_process() -> None:
    alone = three_steps()
    for found in on_ranks(three_steps, timeout=240):
        assert found.keys() == alone.keys()
        for name, value in alone.items():
            torch.testing.assert_close(found[name], value, rtol=1e-6, atol=1e-8, msg=name)
