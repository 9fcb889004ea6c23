"""Views of chips: crops, light, blur, flips, a batch at a time; radar keeps its two channels apart."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from core.errors import ConfigError


class Augment:
    """Random views as in the SSL4EO-S12 recipes (Wang et al. 2023), drawn from torch's global generator.

    Crop and resize, brightness and contrast (one factor an image over all bands), mean of all bands in every band,
    Gaussian blur, mirror. What the published code does to bytes without clipping is clipped here. Radar gets crop,
    blur and mirror only: decibels have no brightness and two polarisations no grey.

    Args:
        crop: pixels a side of the view. area: least share of the chip that is cropped.
        radar: leave out what is for light.

    >>> views = Augment(8)(torch.zeros(3, 13, 16, 16, dtype=torch.uint8))
    >>> views.shape, float(views.max())
    (torch.Size([3, 13, 8, 8]), 0.0)
    """

    def __init__(
        self,
        crop: int,
        *,
        area: float = 0.2,
        radar: bool = False,
        light: float = 0.8,
        grey: float = 0.2,
        blur: float = 0.5,
    ) -> None:
        if not 0 < area <= 1 or crop < 1:
            raise ConfigError("(crop, area)", seen=(crop, area), expected="crop >= 1, area in (0, 1]")
        self.crop, self.area, self.blur = crop, area, blur
        self.light, self.grey = (0.0, 0.0) if radar else (light, grey)

    def __call__(self, x: Tensor) -> Tensor:
        """(B, C, H, W) uint8 -> (B, C, crop, crop) float32 in [0, 1]."""
        x = random_crop(x.float(), self.crop, self.area) / 255  # the crop is the smaller of the two
        if self.light:
            x = _light(x, self.light)
        if self.grey:
            chosen = torch.rand(len(x), 1, 1, 1) < self.grey
            x = torch.where(chosen, x.mean(1, keepdim=True), x)
        if self.blur:
            chosen = (torch.rand(len(x)) < self.blur).nonzero().flatten()
            if len(chosen):
                x[chosen] = gaussian_blur(x[chosen], 0.1 + 1.9 * torch.rand(len(chosen)))
        return x


def random_crop(x: Tensor, crop: int, area: float) -> Tensor:
    """A window of ``area`` to all of each image, aspect 3/4 to 4/3, mirrored half the time, resampled to ``crop``."""
    count = len(x)
    share = area + (1 - area) * torch.rand(count)
    aspect = torch.exp((torch.rand(count) * 2 - 1) * 0.2877)
    height = (share / aspect).sqrt().clamp_max(1)
    width = (share * aspect).sqrt().clamp_max(1)
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0] = width * torch.where(torch.rand(count) < 0.5, -1.0, 1.0)
    theta[:, 1, 1] = height
    theta[:, 0, 2] = (torch.rand(count) * 2 - 1) * (1 - width)
    theta[:, 1, 2] = (torch.rand(count) * 2 - 1) * (1 - height)
    grid = F.affine_grid(theta, [count, 1, crop, crop], align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def gaussian_blur(x: Tensor, sigma: Tensor, radius: int = 4) -> Tensor:
    """Blur each image with its own sigma (B,), edges reflected; two passes of one axis each."""
    offsets = torch.arange(-radius, radius + 1, dtype=x.dtype)
    kernel = torch.softmax(-(offsets**2) / (2 * sigma[:, None].to(x.dtype) ** 2), dim=1)
    count, bands, height, width = x.shape
    flat = x.transpose(0, 1)  # one group an image
    flat = F.pad(flat, (radius, radius, radius, radius), mode="reflect")
    flat = F.conv2d(flat, kernel[:, None, :, None], groups=count)
    flat = F.conv2d(flat, kernel[:, None, None, :], groups=count)
    return flat.transpose(0, 1).reshape(count, bands, height, width)


def flip_turn(x: Tensor, *more: Tensor) -> list[Tensor]:
    """The same random mirror and quarter turn for a batch and the maps (B, H, W) or images that belong to it."""
    turns, mirror = int(torch.randint(4, ())), bool(torch.rand(()) < 0.5)
    out = []
    for one in (x, *more):
        one = torch.rot90(one, turns, (-2, -1))
        out.append(one.flip(-1) if mirror else one)
    return out


def _light(x: Tensor, chance: float) -> Tensor:
    count = len(x)
    chosen = torch.rand(count, 1, 1, 1) < chance
    bright = 0.6 + 0.8 * torch.rand(count, 1, 1, 1)
    contrast = 0.6 + 0.8 * torch.rand(count, 1, 1, 1)
    changed = (x * bright).clamp(0, 1)
    middle = changed.mean((1, 2, 3), keepdim=True)
    changed = ((changed - middle) * contrast + middle).clamp(0, 1)
    return torch.where(chosen, changed, x)
