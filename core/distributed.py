"""The one place where ranks talk: gather and sum with gradient, so that a loss over ranks is that of the whole batch.

The contract, held by every objective: the mean over ranks of the loss, and of the gradient as DDP averages
it, equal those of one process that sees the concatenated batch. Batches may differ in size from rank to rank.

An objective declares what it needs by the first word of its docstring's "Distributed:" section:

- gather: it compares rows with each other; it must see the rows of all ranks (`gather`).
- statistic: it reduces to sums; it takes `reduce=`, and is given `all_sum`.
- none: a mean over rows that know nothing of each other; it is weighted by the rank's share (`share`).

`across_ranks` does what is declared.
"""

from __future__ import annotations

import datetime
import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from core.errors import KindredError

TIMEOUT = datetime.timedelta(minutes=10)
"""How long a rank waits for the others before it gives up."""


_alone = False


def world_size() -> int:
    """Number of ranks; 1 where no process group was set up, and where the others wait (`work_alone`).

    >>> world_size()
    1
    """
    if _alone or not (dist.is_available() and dist.is_initialized()):
        return 1
    return dist.get_world_size()


def work_alone(alone: bool) -> None:
    """Say that the other ranks wait for a call, so that nothing is exchanged with them; or that they work again."""
    global _alone
    _alone = alone


def rank() -> int:
    """Number of this rank, from 0.

    >>> rank()
    0
    """
    return dist.get_rank() if world_size() > 1 else 0


def join(
    rank: int, world: int, init_method: str, *, backend: str = "gloo", timeout: datetime.timedelta = TIMEOUT
) -> None:
    """Joins the process group; every later exchange fails after `timeout` instead of waiting for a dead rank for ever.

    Args:
        rank: 0 .. world - 1.
        world: number of ranks.
        init_method: where they meet, such as "env://" or "file:///shared/path".
        backend: "gloo" on CPUs, "nccl" on GPUs.
        timeout: longest wait for another rank.
    """
    with _explained():
        dist.init_process_group(
            backend, init_method=init_method, rank=rank, world_size=world, timeout=timeout
        )


@contextmanager
def _explained() -> Iterator[None]:
    """Says what a failed exchange means; the first cause stays in the traceback."""
    try:
        yield
    except KindredError:
        raise
    except RuntimeError as error:
        raise KindredError(
            f"rank {rank()}: an exchange with the other ranks failed ({str(error).splitlines()[0][:160]})",
            remedy="another rank has died or hangs: look at its log, then restart all ranks from the checkpoint",
        ) from error


def sizes(count: int, device: torch.device | str = "cpu") -> list[int]:
    """The number of rows that each rank brings.

    >>> sizes(3)
    [3]
    """
    if world_size() == 1:
        return [count]
    mine = torch.tensor([count], device=device)
    found = [torch.empty_like(mine) for _ in range(world_size())]
    with _explained():
        dist.all_gather(found, mine)
    return [int(x) for x in found]


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, counts: list[int]) -> Tensor:
        ctx.counts = counts
        most = max(counts)
        padded = (
            x.contiguous() if len(x) == most else torch.cat([x, x.new_zeros(most - len(x), *x.shape[1:])])
        )
        parts = [torch.empty_like(padded) for _ in counts]
        with _explained():
            dist.all_gather(parts, padded)
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        total = upstream.contiguous().clone()
        with _explained():
            dist.all_reduce(total)
        start = sum(ctx.counts[: rank()])
        return total[start : start + ctx.counts[rank()]], None


def gather(x: Tensor, counts: list[int] | None = None) -> Tensor:
    """Rows of all ranks, in order of rank, with gradient: each rank gets back the sum of what all ask of its rows.

    Args:
        x: (n, ...); n may differ between ranks, the rest of the shape not. Ids and labels may be gathered
            too.
        counts: `sizes(n)`, where it is known already.

    Returns:
        (sum of n, ...); `x` itself on a single process.

    >>> gather(torch.ones(2, 3)).shape
    torch.Size([2, 3])
    """
    if world_size() == 1:
        return x
    counts = sizes(len(x), x.device) if counts is None else counts
    if x.dtype == torch.bool:
        return _Gather.apply(x.to(torch.uint8), counts).bool()
    return _Gather.apply(x, counts)


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.contiguous().clone()
        with _explained():
            dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Tensor:
        return _Sum.apply(upstream)


def all_sum(x: Tensor) -> Tensor:
    """Sum of `x` over ranks, with gradient: to be handed to an objective as `reduce=`.

    >>> all_sum(torch.tensor(2.0))
    tensor(2.)
    """
    return x if world_size() == 1 else _Sum.apply(x)


def first_row(count: int, counts: list[int] | None = None) -> int:
    """Where this rank's rows start among the gathered ones.

    >>> first_row(4)
    0
    """
    return sum((counts or sizes(count))[: rank()])


def share(count: int, counts: list[int] | None = None, device: torch.device | str = "cpu") -> float:
    """What to multiply a mean over this rank's rows by, so that the mean over ranks is the mean over all rows.

    >>> share(4)
    1.0
    """
    total = sum(counts or sizes(count, device))
    return world_size() * count / total if total else 1.0


def needs(objective: Callable[..., Any]) -> str:
    """What an objective declares: "gather", "statistic" or "none".

    Raises:
        KindredError: its docstring has no such declaration.

    >>> from core.objectives import contrast
    >>> needs(contrast)
    'gather'
    """
    found = re.search(r"Distributed:\s*(gather|statistic|none)\b", objective.__doc__ or "")
    if found is None:
        raise KindredError(
            f"objective {getattr(objective, '__name__', objective)!r}",
            expected='a docstring with "Distributed: gather", "statistic" or "none"',
            remedy="write down what the objective needs from other ranks",
        )
    return found.group(1)


def across_ranks(
    objective: Callable[..., Tensor],
    *tensors: Tensor | Sequence[Tensor],
    rows: Mapping[str, Tensor | Sequence[Tensor]] | None = None,
    **options: Any,
) -> Tensor:
    """Calls an objective on this rank's rows so that the contract of this module holds.

    Args:
        objective: a function of `core.objectives`; what it declares decides what is exchanged.
        tensors: its positional arguments: tensors whose first axis is this rank's rows, or lists of such.
        rows: further arguments by name whose first axis is this rank's rows (labels, groups).
        options: arguments that are the same on every rank (scale, queue).

    Returns:
        The loss of the whole batch (gather, statistic), or this rank's share of it (none).

    >>> from core.objectives import contrast
    >>> across_ranks(contrast, torch.eye(2), torch.eye(2), rows={"row_groups": torch.arange(2)}, scale=1.0)
    tensor(0.3133)
    """
    named = dict(rows or {})
    if world_size() == 1:
        return objective(*tensors, **named, **options)
    kind = needs(objective)
    if kind == "statistic" and "reduce" in inspect.signature(objective).parameters:
        return objective(*tensors, **named, **options, reduce=all_sum)
    first = tensors[0] if isinstance(tensors[0], Tensor) else tensors[0][0]
    counts = sizes(len(first), first.device)
    if kind != "gather":
        return objective(*tensors, **named, **options) * share(len(first), counts)

    def whole(x: Tensor | Sequence[Tensor]) -> Tensor | list[Tensor]:
        return gather(x, counts) if isinstance(x, Tensor) else [gather(part, counts) for part in x]

    return objective(*map(whole, tensors), **{name: whole(x) for name, x in named.items()}, **options)
