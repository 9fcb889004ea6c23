"""Random changes of a batch of slices, each image with its own draw, as whole-batch tensor operations.

All draw from torch's global generator, which training seeds from (seed, step). Brightness adds, contrast scales about
the mean of the image: MONAI calls the latter RandScaleIntensityFixedMean; its RandAdjustContrast is a gamma curve.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

TURNS = ("rotate", "scale", "flip", "eighths", "none")
ELASTIC = 5 / 192  # as published: 5 pixels of 192


def intensity(
    images: Tensor,
    *,
    brightness: float = 0.3,
    contrast: float = 0.3,
    clip: tuple[float, float] | None = (0, 1.5),
) -> Tensor:
    """Brightness within +-``brightness`` and contrast within 1 +-``contrast``: (B, 1, H, W) -> the same.

    >>> intensity(torch.full((2, 1, 2, 2), 0.5), brightness=0).unique()
    tensor([0.5000])
    """
    factor = 1 + contrast * _uniform(len(images), images)
    shift = brightness * _uniform(len(images), images)
    mean = images.mean((1, 2, 3), keepdim=True)
    changed = (images - mean) * factor + mean + shift
    return changed if clip is None else changed.clamp(*clip)


def crop_and_resize(images: Tensor, *, share: float = 100 / 192) -> Tensor:
    """A random crop of ``share`` of each side, resized to the whole: (B, 1, H, W) -> the same.

    The published 100 pixels of 192 at an offset below 70 reach neither the last columns nor smaller images;
    here a crop lies anywhere.
    """
    theta = images.new_zeros(len(images), 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = share
    theta[:, :, 2] = (1 - share) * (2 * torch.rand(len(images), 2) - 1)
    return _sample(images, _grid(theta, images))


def global_view(
    images: Tensor, *, share: float = 100 / 192, brightness: float = 0.3, contrast: float = 0.3
) -> Tensor:
    """The augmentation of global pretraining: crop and resize, then brightness and contrast, in [0, 1.5]."""
    return intensity(crop_and_resize(images, share=share), brightness=brightness, contrast=contrast)


def deform(
    images: Tensor, labels: Tensor, *, sigma: float = ELASTIC, turns: Sequence[str] = TURNS
) -> tuple[Tensor, Tensor]:
    """The geometry of fine-tuning: one random change of each slice, then an elastic one of a random part.

    The change is one of ``turns`` with equal chance: rotation within 15 degrees, scaling by 0.95 to 1.05, a
    left-right flip (every second time), rotation by a multiple of 45 degrees, none. The elastic deformation
    is a 3 x 3 grid of displacements (Gaussian, ``sigma`` of the shorter side), enlarged bicubically; a random
    first part of the batch, at least one slice, stays without it.

    Args:
        images: (B, 1, H, W); labels: (B, H, W) integers, moved along by nearest neighbour.
        sigma: as a share, so that slices of all sizes bend alike; 0 leaves the elastic part out.
    """
    count, (height, width) = len(images), images.shape[2:]
    kind = torch.randint(len(turns), (count,))
    angle, scale, flip = torch.zeros(count), torch.ones(count), torch.ones(count)
    for number, name in enumerate(turns):
        chosen = kind == number
        if name == "rotate":
            angle = torch.where(chosen, math.radians(15) * (2 * torch.rand(count) - 1), angle)
        elif name == "scale":
            scale = torch.where(chosen, 0.95 + 0.1 * torch.rand(count), scale)
        elif name == "flip":
            flip = torch.where(chosen & (torch.rand(count) < 0.5), -1.0, flip)
        elif name == "eighths":
            angle = torch.where(chosen, math.pi / 4 * torch.randint(8, (count,)), angle)
    # in units of pixels a rotation keeps its angle on slices that are not square
    theta = torch.zeros(count, 2, 3)
    cosine, sine = angle.cos() / scale, angle.sin() / scale
    theta[:, 0, 0], theta[:, 0, 1] = cosine, -sine * height / width
    theta[:, 1, 0], theta[:, 1, 1] = sine * width / height * flip, cosine * flip
    grid = _grid(theta.to(images), images)
    if sigma > 0 and count > 1:
        coarse = sigma * min(height, width) * torch.randn(count, 2, 3, 3)
        coarse[: int(torch.randint(1, count, ()))] = 0
        bent = F.interpolate(coarse, (height, width), mode="bicubic", align_corners=True)
        grid = grid + bent.permute(0, 2, 3, 1).to(grid) * grid.new_tensor([2 / width, 2 / height])
    moved = _sample(images, grid)
    masks = F.grid_sample(labels[:, None].to(images.dtype), grid, mode="nearest", align_corners=False)
    return moved, masks[:, 0].round().long()


def mixup(images: Tensor, targets: Tensor, *, alpha: float = 0.1) -> tuple[Tensor, Tensor]:
    """Mixup of a batch with itself in another order, weights from Beta(alpha, alpha).

    Args:
        images: (B, 1, H, W). targets: (B, C, H, W) class probabilities.

    >>> x, y = mixup(torch.ones(2, 1, 2, 2), torch.ones(2, 3, 2, 2))
    >>> bool(x.eq(1).all() and y.eq(1).all())
    True
    """
    weight = torch.distributions.Beta(alpha, alpha).sample((len(images), 1, 1, 1)).to(images)
    order = torch.randperm(len(images))
    return torch.lerp(images[order], images, weight), torch.lerp(targets[order], targets, weight)


def _uniform(count: int, like: Tensor) -> Tensor:
    return (2 * torch.rand(count, 1, 1, 1) - 1).to(like)


def _grid(theta: Tensor, images: Tensor) -> Tensor:
    return F.affine_grid(theta, list(images.shape), align_corners=False)


def _sample(images: Tensor, grid: Tensor) -> Tensor:
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
