"""The pre-norm transformer block of the image and signal encoders, with attention dropping and recording."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from core.errors import ConfigError


def kept_keys(
    shape: Sequence[int],
    rate: float,
    *,
    device: torch.device | str = "cpu",
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Draw which attention entries stay: True with probability ``1 - rate``, never a whole row of False.

    A row (the keys of one query) that would lose every key keeps all of them, so its softmax stays defined
    in every precision. Without rescaling, as in DropKey (Li et al. 2023), where logits of dropped keys are
    masked before the softmax.

    Args:
        shape: (..., keys); usually (B, heads, queries, keys).
        rate: probability of dropping, 0 <= rate < 1.

    >>> keep = kept_keys((2, 1, 4, 4), 0.9, generator=torch.Generator().manual_seed(0))
    >>> bool(keep.any(-1).all())
    True
    """
    keep = torch.rand(tuple(shape), device=device, generator=generator) >= rate
    return keep | ~keep.any(dim=-1, keepdim=True)


def drop_schedule(first: float, last: float, depth: int) -> list[float]:
    """Rates that fall or rise linearly from the first block to the last.

    >>> [round(rate, 2) for rate in drop_schedule(0.2, 0.0, 5)]
    [0.2, 0.15, 0.1, 0.05, 0.0]
    """
    if depth < 1 or not (0 <= first < 1 and 0 <= last < 1):
        raise ConfigError(
            "attention drop schedule", seen=(first, last, depth), expected="rates in [0, 1) and depth >= 1"
        )
    if depth == 1:
        return [first]
    return [first + (last - first) * block / (depth - 1) for block in range(depth)]


class Attention(nn.Module):
    """Multi-head self-attention: (B, N, dim) -> (B, N, dim).

    Attributes:
        drop: rate of attention entries dropped in training, see :func:`kept_keys`.
        recorded: the attention (B, heads, N, N) of the last call while :func:`recorded_attention` is open,
            else None.
    """

    def __init__(self, dim: int, heads: int, *, qkv_bias: bool = True, drop: float = 0.0) -> None:
        super().__init__()
        if dim % heads:
            raise ConfigError("heads", seen=heads, expected=f"a divisor of the width {dim}")
        if not 0 <= drop < 1:
            raise ConfigError("attention drop", seen=drop, expected="a rate in [0, 1)")
        self.heads = heads
        self.drop = drop
        self.record = False
        self.recorded: torch.Tensor | None = None
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, tokens, dim = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.heads, dim // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        keep = None
        if self.training and self.drop > 0:
            keep = kept_keys((batch, self.heads, tokens, tokens), self.drop, device=x.device)
        if self.record:  # the fused kernel never holds the attention, and explanations need its gradient too
            exact = torch.promote_types(x.dtype, torch.float32)
            logits = (query @ key.transpose(-2, -1)).to(exact) * (dim // self.heads) ** -0.5
            if keep is not None:
                logits = logits.masked_fill(~keep, float("-inf"))
            self.recorded = logits.softmax(dim=-1)
            mixed = self.recorded.to(value.dtype) @ value
        else:
            mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=keep)
        out: torch.Tensor = self.proj(mixed.transpose(1, 2).reshape(batch, tokens, dim))
        return out


class MLP(nn.Module):
    """Two linear layers with GELU between: (..., dim) -> (..., dim)."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


class LayerScale(nn.Module):
    """A learned factor for each feature of a residual branch (Touvron et al. 2021)."""

    def __init__(self, dim: int, initial: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((dim,), initial))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.gamma


class Block(nn.Module):
    """Pre-norm transformer block: attention, then MLP, each in a residual branch with optional LayerScale."""

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        layer_scale: float | None = None,
        drop: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, heads, qkv_bias=qkv_bias, drop=drop)
        self.ls1 = nn.Identity() if layer_scale is None else LayerScale(dim, layer_scale)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = MLP(dim, int(dim * mlp_ratio))
        self.ls2 = nn.Identity() if layer_scale is None else LayerScale(dim, layer_scale)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))


class Blocks(nn.ModuleList):
    """A stack of blocks: (B, N, dim) -> (B, N, dim).

    Attributes:
        checkpointing: recompute each block in the backward pass, which holds one block's activations in
            memory instead of all of them, for one more forward pass of time. Results and random draws stay
            the same.
    """

    def __init__(
        self,
        depth: int,
        dim: int,
        heads: int,
        *,
        drop: float | Sequence[float] = 0.0,
        **options: float | bool | None,
    ) -> None:
        rates = [drop] * depth if isinstance(drop, (int, float)) else list(drop)
        if depth < 1 or len(rates) != depth:
            raise ConfigError(
                "transformer depth and attention drop",
                seen=(depth, drop),
                expected="depth >= 1 and one rate a block",
            )
        super().__init__(Block(dim, heads, drop=rate, **options) for rate in rates)  # type: ignore[arg-type]
        self.checkpointing = False

    def each(self, x: torch.Tensor) -> Iterator[torch.Tensor]:
        """The output of each block in turn."""
        for block in self:
            if self.checkpointing and self.training and torch.is_grad_enabled():
                x = checkpoint(block, x, use_reentrant=False)
            else:
                x = block(x)
            yield x

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return deque(self.each(x), maxlen=1).pop()

    def set_drop(self, rates: Sequence[float]) -> None:
        """Set the attention drop of every block, for example to ``drop_schedule(0.2, 0.0, depth)``."""
        if len(rates) != len(self) or not all(0 <= rate < 1 for rate in rates):
            raise ConfigError("attention drop", seen=list(rates), expected=f"{len(self)} rates in [0, 1)")
        for block, rate in zip(self, rates, strict=True):
            block.attn.drop = rate


def init_transformer(module: nn.Module) -> None:
    """Truncated normal (0.02) linear weights, zero biases; other layers keep torch's own initial values."""
    for child in module.modules():
        if isinstance(child, nn.Linear):
            nn.init.trunc_normal_(child.weight, std=0.02)
            if child.bias is not None:
                nn.init.zeros_(child.bias)


@contextlib.contextmanager
def recorded_attention(module: nn.Module) -> Iterator[list[Attention]]:
    """Keep the attention of every block while open: after a forward pass, ``layer.recorded`` of each.

    The recorded tensors are part of the graph, so that ``torch.autograd.grad(score, recorded)`` gives the
    gradients that relevance methods (Chefer et al. 2021) need. Use eval mode, or dropped keys show in the
    maps.

    >>> stack = Blocks(2, 8, 2).eval()
    >>> with recorded_attention(stack) as layers:
    ...     _ = stack(torch.randn(1, 3, 8))
    ...     [tuple(layer.recorded.shape) for layer in layers]
    [(1, 2, 3, 3), (1, 2, 3, 3)]
    """
    layers = [child for child in module.modules() if isinstance(child, Attention)]
    for layer in layers:
        layer.record = True
    try:
        yield layers
    finally:
        for layer in layers:
            layer.record, layer.recorded = False, None
