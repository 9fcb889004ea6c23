"""GradCache: a contrastive step on a batch that the encoders cannot hold at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from core.distributed import all_sum, world_size
from core.errors import ConfigError

Batch: TypeAlias = Tensor | Mapping[str, Tensor] | Sequence[Tensor]


def cached_step(
    encoders: Sequence[Callable[[Any], Tensor]],
    batches: Sequence[Batch],
    loss: Callable[..., Tensor],
    *,
    chunk: int,
    scale_loss: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Adds the gradients of ``loss(encoders[0](batches[0]), encoders[1](batches[1]), ...)`` to the parameters.

    Encodes without graph in chunks, takes the gradient of the loss with respect to the embeddings, then
    encodes each chunk again with graph and hands it its part. Activations of one chunk are alive at a time;
    the price is one more forward pass. Gao et al. 2021, "Scaling deep contrastive learning batch size under
    memory limited setup".

    The random state of each chunk is replayed, so that dropout drops the same units in both passes. Under DDP
    the gradients are exchanged once, with the last chunk of each encoder; ranks may hold batches of different
    sizes. What the loss itself learns (a scale) is averaged over ranks here, so do not wrap the loss in DDP.

    Batch norm sees chunks, not the batch, and updates its running statistics in both passes: use group or
    layer norm, or freeze it. Random numbers drawn outside torch (numpy, random) are not replayed.

    Args:
        encoders: one callable a batch, (n, ...) -> (n, d); the same one may stand there several times.
        batches: tensors, or dicts or tuples of tensors, whose first axes are this rank's rows.
        loss: takes the embeddings in the same order; under DDP one that gathers (`core.objectives.CLIP`,
            `core.distributed.across_ranks`).
        chunk: rows that an encoder takes at a time, >= 1.
        scale_loss: applied to the loss before its backward pass (`GradScaler.scale`).

    Returns:
        The loss, detached.

    Raises:
        ConfigError: chunk < 1, or not one encoder a batch.

    >>> from core.objectives import clip
    >>> encoder, x = nn.Linear(3, 2), torch.eye(3)
    >>> loss = cached_step([encoder, encoder], [x, x.flip(0)], clip, chunk=1)
    >>> loss.requires_grad, encoder.weight.grad.shape
    (False, torch.Size([2, 3]))
    """
    if chunk < 1:
        raise ConfigError("chunk", seen=chunk, expected="an integer >= 1")
    if len(encoders) != len(batches):
        raise ConfigError(
            "encoders", seen=f"{len(encoders)} for {len(batches)} batches", expected="one a batch"
        )
    pieces = [list(_pieces(batch, chunk)) for batch in batches]
    states: list[list[Any]] = [[] for _ in encoders]
    embedded: list[Tensor] = []
    with torch.no_grad():
        for encoder, parts, seen in zip(encoders, pieces, states, strict=True):
            outputs = []
            for part in parts:
                seen.append(_random_state(part))
                outputs.append(encoder(part))
            embedded.append(torch.cat(outputs).detach())
    torch.clear_autocast_cache()  # weights that were cast without graph must not be reused with it
    leaves = [x.requires_grad_() for x in embedded]
    value = loss(*leaves)
    (value if scale_loss is None else scale_loss(value)).backward()
    if isinstance(loss, nn.Module):
        _average(loss)
    order = [(place, number) for place, parts in enumerate(pieces) for number in range(len(parts))]
    last = {id(encoders[place]): (place, number) for place, number in order}
    for place, number in order:
        encoder, part = encoders[place], pieces[place][number]
        upstream = leaves[place].grad
        with _replayed(states[place][number]), _exchange(encoder, last[id(encoder)] == (place, number)):
            output = encoder(part)
            if not output.requires_grad:  # a frozen tower
                continue
            piece = (
                torch.zeros_like(output) if upstream is None else upstream[number * chunk :][: len(output)]
            )
            output.backward(piece.to(output.dtype))
    return value.detach()


def _pieces(batch: Batch, chunk: int) -> Iterator[Batch]:
    """Consecutive parts of at most `chunk` rows; one empty part of an empty batch, for DDP waits for it."""
    for start in range(0, max(_length(batch), 1), chunk):
        if isinstance(batch, Tensor):
            yield batch[start : start + chunk]
        elif isinstance(batch, Mapping):
            yield {name: x[start : start + chunk] for name, x in batch.items()}
        else:
            yield tuple(x[start : start + chunk] for x in batch)


def _tensors(batch: Batch) -> list[Tensor]:
    if isinstance(batch, Tensor):
        return [batch]
    return list(batch.values()) if isinstance(batch, Mapping) else list(batch)


def _length(batch: Batch) -> int:
    return len(_tensors(batch)[0])


def _random_state(batch: Batch) -> tuple[Tensor, dict[int, Tensor]]:
    devices = {x.device.index or 0 for x in _tensors(batch) if x.is_cuda}
    return torch.get_rng_state(), {device: torch.cuda.get_rng_state(device) for device in devices}


@contextmanager
def _replayed(state: tuple[Tensor, dict[int, Tensor]]) -> Iterator[None]:
    """Random numbers of an earlier time, then those of now again."""
    with torch.random.fork_rng(devices=list(state[1])):
        torch.set_rng_state(state[0])
        for device, value in state[1].items():
            torch.cuda.set_rng_state(value, device)
        yield


def _exchange(encoder: Callable[[Any], Tensor], last: bool) -> AbstractContextManager[None]:
    """DDP exchanges gradients in every backward pass unless told not to."""
    return encoder.no_sync() if isinstance(encoder, DistributedDataParallel) and not last else nullcontext()


def _average(loss: nn.Module) -> None:
    if world_size() == 1 or isinstance(loss, DistributedDataParallel):
        return
    for parameter in loss.parameters():
        if parameter.grad is not None:
            parameter.grad = all_sum(parameter.grad) / world_size()
