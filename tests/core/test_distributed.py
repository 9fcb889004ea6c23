"""Losses over gloo ranks against the loss of one process on the whole batch, and what a dead rank does."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from two_ranks import Case, assert_ranks_agree, on_ranks

from core.distributed import across_ranks, all_sum, gather, needs, rank, share, sizes
from core.errors import KindredError
from core.learning.grad_cache import cached_step
from core.objectives import (
    CLIP,
    NTXent,
    SigLIP,
    clip,
    contrast,
    cwcl,
    dcl,
    nt_xent,
    pairwise,
    siglip,
    soft_contrast,
    supcon,
)

ROWS, WIDTH = 8, 6
OBJECTIVES = {
    "contrast": lambda i: (contrast, [i["x"], i["y"]], {"row_groups": i["groups"]}),
    "contrast_classes": lambda i: (contrast, [i["x"], i["y"]], {"row_labels": i["groups"]}),
    "nt_xent": lambda i: (nt_xent, [i["x"], i["y"]], {"groups": i["groups"]}),
    "clip": lambda i: (clip, [i["x"], i["y"]], {"groups": i["groups"]}),
    "siglip": lambda i: (siglip, [i["x"], i["y"]], {"groups": i["groups"]}),
    "supcon": lambda i: (supcon, [i["x"], i["groups"]], {}),
    "supcon_drop": lambda i: (supcon, [i["x"], i["alone"]], {}),
    "dcl": lambda i: (dcl, [i["x"], i["y"]], {}),
    "dclw": lambda i: (dcl, [i["x"], i["y"]], {}, {"sigma": 0.5}),
    "cwcl": lambda i: (cwcl, [i["x"], i["y"], i["sets"].double()], {}),
    "soft_contrast": lambda i: (soft_contrast, [i["x"], i["y"], i["sets"]], {}),
    "soft_softmax": lambda i: (soft_contrast, [i["x"], i["y"], i["sets"]], {}, {"form": "softmax"}),
    "pairwise": lambda i: (pairwise, [[i["x"], i["y"], i["z"]]], {"present": i["present"] > 0}),
}
"""Name -> (objective, positional arguments, arguments by name, options) of the inputs."""

MODULES = {"NTXent": NTXent, "CLIP": CLIP, "SigLIP": SigLIP}


def _inputs(name: str) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)

    def floats() -> Tensor:
        return torch.randn(ROWS, WIDTH, generator=generator, dtype=torch.float64)

    inputs = {"x": floats(), "y": floats(), "z": floats(), "groups": torch.tensor([0, 0, 1, 2, 2, 2, 3, 4])}
    inputs["alone"] = torch.tensor([0, 1, 2, 3, 3, 4, 5, 5])
    inputs["sets"] = torch.randint(0, 2, (ROWS, 4), generator=generator)
    inputs["present"] = torch.randint(0, 3, (ROWS, 3), generator=generator)
    unused = {"z"} if name != "pairwise" else set()
    unused |= {"y"} if name.startswith("supcon") else set()
    return {key: value for key, value in inputs.items() if key not in unused}


def alone(**inputs: Any) -> Tensor:
    name = _name_of(inputs)
    objective, tensors, rows, *options = OBJECTIVES[name](inputs)
    return objective(*tensors, **rows, **(options[0] if options else {}))


def together(**inputs: Any) -> Tensor:
    name = _name_of(inputs)
    objective, tensors, rows, *options = OBJECTIVES[name](inputs)
    return across_ranks(objective, *tensors, rows=rows, **(options[0] if options else {}))


def module_loss(**inputs: Any) -> Tensor:
    """On one process and on ranks alike: the module sees for itself."""
    groups = {} if inputs["kind"].shape == (2,) else {"groups": inputs["groups"]}
    module = [NTXent, CLIP, SigLIP][int(inputs["kind"][0])]
    return module()(inputs["x"], inputs["y"], **groups)


def _name_of(inputs: dict[str, Tensor]) -> str:
    return sorted(OBJECTIVES)[int(inputs.pop("which")[0])]


@pytest.mark.slow
def test_losses_over_ranks_equal_one_process() -> None:
    cases = [
        Case(alone, together, {**_inputs(name), "which": torch.tensor([place])}, whole=("which",), name=name)
        for place, name in enumerate(sorted(OBJECTIVES))
    ]
    for place, name in enumerate(MODULES):
        for marks in (1, 2) if name != "SigLIP" else (2,):
            inputs = {**_inputs(name), "kind": torch.full((marks,), place)}
            cases.append(Case(module_loss, module_loss, inputs, whole=("kind",), name=f"{name} module"))
    assert_ranks_agree(cases, split=[(4, 4), (5, 3), (8, 0)])


def _towers() -> list[nn.Module]:
    torch.manual_seed(3)
    return [nn.Sequential(nn.Linear(WIDTH, 9), nn.Tanh(), nn.Linear(9, 4)).double() for _ in "xy"]


def cached_gradients(x: Tensor, y: Tensor, counts: list[int]) -> list[Tensor]:
    """One cached step on this rank's rows with DDP towers and a learned scale."""
    at = slice(sum(counts[: rank()]), sum(counts[: rank()]) + counts[rank()])
    towers, loss = _towers(), CLIP().double()
    wrapped = [nn.parallel.DistributedDataParallel(tower) for tower in towers]
    cached_step(wrapped, [x[at], y[at]], loss, chunk=2)
    return [p.grad for module in (*towers, loss) for p in module.parameters()]


def counted() -> tuple[list[int], float, list[int], bool]:
    x = torch.full((rank() + 1, 2), float(rank()), requires_grad=True)
    whole = gather(x)
    (whole.sum(1) * torch.arange(3.0)).sum().backward()
    marks = gather(torch.tensor([True] * (rank() + 1)))
    return sizes(len(x)), float(all_sum(torch.tensor(1.0))), x.grad[:, 0].int().tolist(), bool(marks.all())


def gathered_and_cached(inputs: dict[str, Tensor]) -> list[Any]:
    """Several things in one start of the ranks."""
    return [counted(), *(cached_gradients(inputs["x"], inputs["y"], counts) for counts in ([4, 4], [7, 1]))]


@pytest.mark.slow
def test_gather_and_cached_step_under_ddp() -> None:
    inputs = _inputs("clip")
    first, second = on_ranks(gathered_and_cached, inputs)
    assert first[0] == ([1, 2], 2.0, [0], True)
    assert second[0][2] == [2, 4]  # both ranks asked for each row
    towers, loss = _towers(), CLIP().double()
    loss(towers[0](inputs["x"]), towers[1](inputs["y"])).backward()
    expected = [p.grad for module in (*towers, loss) for p in module.parameters()]
    for found in (*first[1:], *second[1:]):
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-9)


def wait_for_the_other(how: str) -> tuple[str, float]:
    """Rank 1 dies or hangs; rank 0 says what it got and after how long."""
    if rank() == 1:
        if how == "dies":
            os._exit(0)
        os.kill(os.getpid(), signal.SIGSTOP)
    start = time.monotonic()
    try:
        gather(torch.ones(2, 2))
    except KindredError as error:
        return str(error), time.monotonic() - start
    return "no error", time.monotonic() - start


@pytest.mark.slow
@pytest.mark.parametrize("how", ["dies", "hangs"])
def test_a_dead_rank_ends_the_others(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK_TIMEOUT", "4")
    (text, seconds), _ = on_ranks(wait_for_the_other, how, timeout=90, may_fail=(1,))
    assert "another rank has died or hangs" in text
    assert seconds < 30


def test_one_process_needs_no_group() -> None:
    x = torch.ones(3, 2)
    assert gather(x) is x
    assert all_sum(x) is x
    assert share(3) == 1.0


def test_an_objective_must_declare_what_it_needs() -> None:
    def silent(x: Tensor) -> Tensor:
        return x

    with pytest.raises(KindredError, match="silent"):
        needs(silent)
