"""Views of slices for contrastive pretraining: random crops, mirroring, gain, offset, blur and noise, in batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from core.errors import ConfigError


@dataclass(frozen=True)
class Crops:
    """``count`` square crops of ``size`` pixels that show a share of the slice's area in [low, high].

    >>> Crops(2, 48, 0.4, 1.0).count
    2
    """

    count: int
    size: int
    low: float
    high: float

    def __post_init__(self) -> None:
        if self.count < 0 or self.size < 8 or not 0 < self.low <= self.high <= 1:
            raise ConfigError(
                "crops (count, size, low, high)",
                seen=(self.count, self.size, self.low, self.high),
                expected="count >= 0, size >= 8, 0 < low <= high <= 1",
            )


@dataclass(frozen=True)
class Strength:
    """How far grey values are changed: each number is the largest relative gain, offset, blur chance, noise.

    Hue and saturation do not exist in CT; a mirrored body is as good a body as any for most tasks.
    """

    gain: float = 0.3
    offset: float = 0.15
    blur: float = 0.5
    noise: float = 0.04
    mirror: bool = True


def to_input(images: Tensor) -> Tensor:
    """(B, H, W) uint8 to the encoder's input (B, 1, H, W) float32, about zero.

    >>> to_input(torch.zeros(1, 2, 2, dtype=torch.uint8)).min()
    tensor(-2.)
    """
    return (images.float().unsqueeze(1) / 255 - 0.5) / 0.25


def views(images: Tensor, crops: Sequence[Crops], strength: Strength) -> list[Tensor]:
    """All crops of a batch of slices, each (B, 1, size, size) float32, as `to_input` scales them.

    Draws from torch's global generator, which training sets from (seed, step).

    Args:
        images: (B, H, W) uint8.
    """
    grey = images.float().unsqueeze(1) / 255
    return [_view(grey, kind, strength) for kind in crops for _ in range(kind.count)]


def _view(grey: Tensor, crop: Crops, strength: Strength) -> Tensor:
    count = len(grey)
    side = torch.empty(count).uniform_(crop.low, crop.high).sqrt()
    ratio = torch.empty(count).uniform_(-0.28, 0.28).exp().sqrt()
    wide, tall = (side * ratio).clamp(max=1), (side / ratio).clamp(max=1)
    shift_x = (torch.rand(count) * 2 - 1) * (1 - wide)
    shift_y = (torch.rand(count) * 2 - 1) * (1 - tall)
    sign = torch.where(torch.rand(count) < 0.5, -1.0, 1.0) if strength.mirror else torch.ones(count)
    zero = torch.zeros(count)
    theta = torch.stack(
        [torch.stack([wide * sign, zero, shift_x], 1), torch.stack([zero, tall, shift_y], 1)], 1
    )
    grid = F.affine_grid(theta, [count, 1, crop.size, crop.size], align_corners=False)
    view = F.grid_sample(grey, grid, padding_mode="border", align_corners=False)
    gain = 1 + strength.gain * (torch.rand(count, 1, 1, 1) * 2 - 1)
    offset = strength.offset * (torch.rand(count, 1, 1, 1) * 2 - 1)
    view = (view - 0.5) * gain + 0.5 + offset
    softened = F.avg_pool2d(F.pad(view, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    view = torch.where(torch.rand(count, 1, 1, 1) < strength.blur, softened, view)
    view = view + strength.noise * torch.rand(count, 1, 1, 1) * torch.randn_like(view)
    return (view.clamp(0, 1) - 0.5) / 0.25
