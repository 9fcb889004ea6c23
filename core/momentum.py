"""Momentum encoder and embedding queue: the two memories of MoCo-style contrastive learning."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from core.errors import ConfigError

NO_GROUP = -(2**63)
"""Group of a queue column that belongs to none: equal to no row's group, hence never excluded."""


class MomentumEncoder(nn.Module):
    """A slowly moving copy of ``online``: k <- m k + (1 - m) q, for parameters and floating-point buffers.

    MoCo (He et al., CVPR 2020, eq. 2). Integer buffers (counters, masks) are copied. The copy takes no
    gradient and stays in eval mode whatever ``train()`` says, so that its keys are a fixed function of
    its weights: dropout is off, and batch norm uses running statistics, which follow the online ones by
    the same average. The online module is referred to, not registered: ``state_dict`` and ``parameters``
    hold the copy only.

    Args:
        online: the encoder that is trained. Parameters must be float32 or float64 (with bf16 weights the
            increment (1 - m)(q - k) is lost in rounding; train with autocast instead).
        momentum: m in [0, 1]. 0.99 for some hundred steps, 0.999 for thousands, 0.996-1 for very long runs.

    Call ``update()`` once a step, before the keys of the step are computed.

    >>> online = nn.Linear(2, 1, bias=False)
    >>> slow = MomentumEncoder(online, momentum=0.5)
    >>> _ = online.weight.data.zero_(), slow.encoder.weight.data.fill_(1)
    >>> slow.update()
    >>> slow.encoder.weight.tolist(), slow(torch.ones(1, 2)).requires_grad
    ([[0.5, 0.5]], False)
    """

    def __init__(self, online: nn.Module, momentum: float = 0.999) -> None:
        super().__init__()
        self.momentum = _checked(momentum)
        for name, parameter in online.named_parameters():
            if parameter.dtype in (torch.bfloat16, torch.float16):
                raise ConfigError(
                    f"momentum encoder: parameter {name}",
                    seen=str(parameter.dtype),
                    expected="float32 or float64",
                    remedy="keep float32 weights and train with precision bf16-mixed",
                )
        self.encoder = copy.deepcopy(online).requires_grad_(False).eval()
        self._online = (online,)  # a tuple hides the module from registration

    @property
    def online(self) -> nn.Module:
        """The encoder that this one follows."""
        return self._online[0]

    def train(self, mode: bool = True) -> MomentumEncoder:
        """Keep eval mode whatever ``mode`` is."""
        self.training = mode
        self.encoder.eval()
        return self

    @torch.no_grad()
    def update(self, momentum: float | None = None) -> None:
        """Move the copy one step towards the online encoder; ``momentum`` overrides the set one (schedules).

        Raises:
            ConfigError: when the online encoder's parameters no longer have the copy's names and shapes.
        """
        weight = 1.0 - (self.momentum if momentum is None else _checked(momentum))
        slow, fast = _state(self.encoder), _state(self.online)
        if slow.keys() != fast.keys() or any(slow[name].shape != fast[name].shape for name in slow):
            names = [
                n
                for n in {**slow, **fast}
                if n not in slow or n not in fast or slow[n].shape != fast[n].shape
            ]
            raise ConfigError(
                "momentum encoder: the online encoder was changed after the copy was made",
                seen=names[:5],
                remedy="build the MomentumEncoder after the last change of the encoder's layers",
            )
        moving = [name for name, tensor in slow.items() if tensor.is_floating_point()]
        if moving:
            torch._foreach_lerp_([slow[n] for n in moving], [fast[n] for n in moving], weight)
        for name in slow.keys() - set(moving):
            slow[name].copy_(fast[name])

    @torch.no_grad()
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the copy returns, without gradient."""
        return self.encoder(*args, **kwargs)


class EmbeddingQueue(nn.Module):
    """The last ``size`` embeddings, as extra negatives: a ring that starts empty (all columns masked).

    Buffers (in the checkpoint): ``embeddings`` (K, d) float32, ``groups`` (K,) int64, ``valid`` (K,)
    bool, ``pointer`` () int64. Hand them to ``contrast(queue=q.embeddings, queue_groups=q.groups,
    queue_valid=q.valid)``. ``enqueue`` replaces the buffers and leaves the old tensors as they were, so
    it may run between a forward and its backward pass. Under DDP enqueue the gathered batch: then all
    ranks hold the same queue.

    >>> queue = EmbeddingQueue(dim=2, size=4)
    >>> queue.enqueue(torch.ones(2, 2))
    >>> queue.valid.tolist(), int(queue.pointer)
    ([True, True, False, False], 2)
    """

    embeddings: Tensor
    groups: Tensor
    valid: Tensor
    pointer: Tensor

    def __init__(self, dim: int, size: int) -> None:
        super().__init__()
        if dim < 1 or size < 1:
            raise ConfigError("queue (dim, size)", seen=(dim, size), expected="two numbers >= 1")
        self.dim, self.size = dim, size
        self.register_buffer("embeddings", torch.zeros(size, dim))
        self.register_buffer("groups", torch.full((size,), NO_GROUP, dtype=torch.int64))
        self.register_buffer("valid", torch.zeros(size, dtype=torch.bool))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def enqueue(self, x: Tensor, groups: Tensor | None = None) -> None:
        """Put ``x`` (B, d) over the oldest columns; ``groups`` (B,) int64 as in ``contrast``, default none.

        Raises:
            ConfigError: when d is not the queue's, when B does not divide its size, when groups are not (B,).
        """
        batch = x.shape[0]
        if x.ndim != 2 or x.shape[1] != self.dim:
            raise ConfigError("queue: embeddings", seen=tuple(x.shape), expected=f"(B, {self.dim})")
        if batch == 0 or self.size % batch:
            raise ConfigError(
                "queue: batch size", seen=batch, expected=f"a divisor of the queue size {self.size}",
                remedy="choose queue_size a multiple of batch_size, and drop the last short batch",
            )  # fmt: skip
        if groups is not None and tuple(groups.shape) != (batch,):
            raise ConfigError("queue: groups", seen=tuple(groups.shape), expected=f"({batch},)")
        where = self.pointer + torch.arange(batch, device=self.pointer.device)
        kept = x.detach().to(self.embeddings.dtype)
        labels = torch.full_like(where, NO_GROUP) if groups is None else groups.to(torch.int64)
        self.embeddings = self.embeddings.index_copy(0, where, kept)
        self.groups = self.groups.index_copy(0, where, labels)
        self.valid = self.valid.index_fill(0, where, True)
        self.pointer = (self.pointer + batch) % self.size


def _checked(momentum: float) -> float:
    if not 0.0 <= momentum <= 1.0:
        raise ConfigError("momentum", seen=momentum, expected="a number from 0 to 1", remedy="use 0.999")
    return float(momentum)


def _state(module: nn.Module) -> dict[str, Tensor]:
    return {
        **dict(module.named_parameters()),
        **{f"{name} (buffer)": b for name, b in module.named_buffers()},
    }
