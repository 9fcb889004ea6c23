"""Random views of films and ECGs; report and film keep the same left and right."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Augmentation:
    """How far views differ from the original.

    Attributes:
        crop: smallest share of the film's side that is kept. flip: probability of mirroring; reports say left and
            right, so it is 0. contrast: of brightness and contrast, as shares.
        warp: largest change of tempo of a quarter of the ECG, as a share. noise: standard deviation added to it.
    """

    crop: float = 0.85
    flip: float = 0.0
    contrast: float = 0.2
    warp: float = 0.1
    noise: float = 0.0


def vary_films(films: Tensor, how: Augmentation) -> Tensor:
    """(B, S, S) uint8 -> the same: random crop (resized back), brightness and contrast; torch's global generator.

    >>> vary_films(torch.zeros(2, 8, 8, dtype=torch.uint8), Augmentation()).shape
    torch.Size([2, 8, 8])
    """
    count = len(films)
    values = films.float().unsqueeze(1) / 255
    share = 1 - torch.rand(count) * (1 - how.crop)
    shift = (torch.rand(count, 2) * 2 - 1) * (1 - share)[:, None]
    sign = torch.where(torch.rand(count) < how.flip, -1.0, 1.0)
    zero = torch.zeros(count)
    theta = torch.stack(
        [torch.stack([share * sign, zero, shift[:, 0]], 1), torch.stack([zero, share, shift[:, 1]], 1)], 1
    )
    grid = F.affine_grid(theta, list(values.shape), align_corners=False)
    values = F.grid_sample(values, grid, mode="bilinear", padding_mode="border", align_corners=False)
    gain = 1 + (torch.rand(count, 1, 1, 1) * 2 - 1) * how.contrast
    lift = (torch.rand(count, 1, 1, 1) * 2 - 1) * how.contrast / 2
    mean = values.mean((1, 2, 3), keepdim=True)
    out = (values - mean) * gain + mean + lift
    return (out.squeeze(1).clamp(0, 1) * 255).round().to(torch.uint8)


def vary_signals(signals: Tensor, how: Augmentation, *, parts: int = 4) -> Tensor:
    """(B, 12, T) -> the same: the tempo of each quarter is changed, for all leads alike, and noise is added.

    >>> vary_signals(torch.zeros(2, 12, 40), Augmentation()).shape
    torch.Size([2, 12, 40])
    """
    count, _, length = signals.shape
    if how.warp > 0:
        tempo = 1 + (torch.rand(count, parts) * 2 - 1) * how.warp
        steps = tempo.repeat_interleave(-(-length // parts), dim=1)[:, :length]
        place = torch.cumsum(steps, 1) - steps[:, :1]
        place = place * ((length - 1) / place[:, -1:])
        first = place.floor().clamp(0, length - 2).long()
        share = (place - first).unsqueeze(1)
        index = first.unsqueeze(1).expand(-1, signals.shape[1], -1)
        signals = signals.gather(2, index) * (1 - share) + signals.gather(2, index + 1) * share
    if how.noise > 0:
        signals = signals + how.noise * torch.randn_like(signals)
    return signals
