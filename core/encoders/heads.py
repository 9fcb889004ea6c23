"""Projection heads between an encoder and an objective: linear, MLP, residual; for vectors and maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import nn

from core.errors import ConfigError, DataError

Norm = Literal["none", "batch", "layer"]
LastNorm = Literal["none", "batch", "batch_plain", "layer"]


class ProjectionHead(nn.Sequential):
    """Linear layers (over a map: 1 x 1 convolutions) with norm and ReLU between them.

    ==================  ============================  ============================
    ``spatial``         input                         output
    ==================  ============================  ============================
    0                   (B, in_dim)                   (B, out_dim)
    1, 2, 3             (B, in_dim, \\*grid)           (B, out_dim, \\*grid)
    ==================  ============================  ============================

    Settings of published heads: SimCLR ``hidden=[2048]``; MoCo v3's projector ``hidden=[4096, 4096],
    norm="batch", last_norm="batch_plain", bias=False`` and predictor ``hidden=[4096]`` of the same kind; SwAV
    ``hidden=[2048], norm="batch"``; MoRE ``hidden=[768], norm="batch", last_norm="batch", bias=False``; the
    global head of Chaitanya et al. ``hidden=[1024], bias=False`` and their local head ``hidden=[width],
    norm="batch", bias=False, spatial=2``.

    Args:
        in_dim, out_dim: widths. hidden: widths between; empty for one linear layer.
        norm: after each hidden layer, before its ReLU.
        last_norm: after the last layer; ``batch_plain`` has no learned scale and shift.
        bias: of the linear layers. spatial: axes behind the channels.

    Attributes:
        dim: ``out_dim``.

    Raises:
        ConfigError: widths below 1, or a norm unknown or not defined for maps.

    BatchNorm needs more than one value a channel in training: a batch of one vector is refused there with a
    DataError.

    >>> head = ProjectionHead(8, 4, hidden=[16], norm="batch", last_norm="batch_plain", bias=False)
    >>> head(torch.randn(3, 8)).shape
    torch.Size([3, 4])
    >>> ProjectionHead(8, 4, spatial=2)(torch.randn(3, 8, 5, 5)).shape
    torch.Size([3, 4, 5, 5])
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        *,
        hidden: Sequence[int] = (),
        norm: Norm = "none",
        last_norm: LastNorm = "none",
        bias: bool = True,
        spatial: int = 0,
    ) -> None:
        widths = [in_dim, *hidden, out_dim]
        if min(widths) < 1 or spatial not in (0, 1, 2, 3):
            raise ConfigError(
                "widths and spatial axes of a head",
                seen=(widths, spatial),
                expected="widths >= 1, 0 to 3 axes",
            )
        layers: list[nn.Module] = []
        for index in range(len(widths) - 1):
            last = index == len(widths) - 2
            layers.append(_linear(widths[index], widths[index + 1], bias, spatial))
            layers += _norm(last_norm if last else norm, widths[index + 1], spatial)
            if not last:
                layers.append(nn.ReLU(inplace=True))
        super().__init__(*layers)
        self.in_dim, self.dim, self.spatial = in_dim, out_dim, spatial
        self._batch_norm = any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Project; see the class."""
        if x.dim() != 2 + self.spatial or x.shape[1] != self.in_dim:
            raise DataError(
                "input of a projection head",
                seen=tuple(x.shape),
                expected=f"(B, {self.in_dim}{', *grid' if self.spatial else ''})",
            )
        if self.training and self._batch_norm and x.numel() == self.in_dim:
            raise DataError(
                "batch of a projection head with BatchNorm in training",
                seen=1,
                expected="at least 2 rows",
                remedy="enlarge the batch, drop the last partial one, or use norm='layer'",
            )
        out: torch.Tensor = super().forward(x)
        return out


def _linear(source: int, target: int, bias: bool, spatial: int) -> nn.Module:
    if spatial == 0:
        return nn.Linear(source, target, bias=bias)
    kinds: list[Any] = [nn.Conv1d, nn.Conv2d, nn.Conv3d]
    layer: nn.Module = kinds[spatial - 1](source, target, 1, bias=bias)
    return layer


def _norm(name: str, width: int, spatial: int) -> list[nn.Module]:
    if name == "none":
        return []
    if name in ("batch", "batch_plain"):
        kinds: list[Any] = [nn.BatchNorm1d, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d]
        return [kinds[spatial](width, affine=name == "batch")]
    if name == "layer" and spatial == 0:
        return [nn.LayerNorm(width)]
    raise ConfigError(
        "norm of a head", seen=name, expected="none, batch, batch_plain (last only), or layer for vectors"
    )


class ResidualHead(nn.Module):
    """The head of Microsoft's CLAP: ``LayerNorm(e + dropout(W2 gelu(e)))`` with ``e = W1 x``, no biases.

    (B, in_dim) -> (B, out_dim).

    >>> ResidualHead(8, 4)(torch.randn(1, 8)).shape
    torch.Size([1, 4])
    """

    def __init__(self, in_dim: int, out_dim: int, *, dropout: float = 0.5) -> None:
        super().__init__()
        self.dim = out_dim
        self.linear1 = nn.Linear(in_dim, out_dim, bias=False)
        self.linear2 = nn.Linear(out_dim, out_dim, bias=False)
        self.drop = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(out_dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = self.linear1(x)
        out: torch.Tensor = self.norm(first + self.drop(self.linear2(nn.functional.gelu(first))))
        return out
