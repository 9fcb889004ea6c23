"""Random changes of a batch of ECGs: for training, and as the two views of contrastive pretraining.

Everything draws from torch's global generator, which training seeds for every step.
"""

from __future__ import annotations

import torch
from torch import Tensor


def jitter(x: Tensor, *, shift: float = 0.1, scale: float = 0.1, noise: float = 0.02) -> Tensor:
    """Shift in time (circular), scale and add noise, each recording by its own draw.

    Args:
        x: (B, 12, T) in mV. shift: largest, as a share of T. scale: spread of the factor around 1.
        noise: mV.

    >>> jitter(torch.zeros(2, 12, 100)).shape
    torch.Size([2, 12, 100])
    """
    batch, _, length = x.shape
    if shift:
        most = int(shift * length)
        by = torch.randint(-most, most + 1, (batch, 1), device=x.device)
        index = (torch.arange(length, device=x.device)[None] + by) % length
        x = x.gather(2, index[:, None].expand_as(x))
    if scale:
        x = x * (1 + scale * (2 * torch.rand(batch, 1, 1, device=x.device) - 1))
    return x + noise * torch.randn_like(x) if noise else x


def view(
    x: Tensor, *, segment: float = 0.5, drop_leads: float = 0.25, scale: float = 0.2, noise: float = 0.03
) -> Tensor:
    """One view for contrastive pretraining: a random segment in time, some leads set to zero, then `jitter`.

    Every recording keeps at least one lead.

    Args:
        segment: length as a share of T. drop_leads: probability that a lead is set to zero.

    >>> view(torch.zeros(2, 12, 100)).shape
    torch.Size([2, 12, 50])
    """
    batch, leads, length = x.shape
    size = max(1, round(segment * length))
    start = torch.randint(0, length - size + 1, (batch, 1), device=x.device)
    index = start + torch.arange(size, device=x.device)[None]
    x = x.gather(2, index[:, None].expand(batch, leads, size))
    draw = torch.rand(batch, leads, device=x.device)
    keep = (draw >= drop_leads) | (draw == draw.amax(1, keepdim=True))
    return jitter(x * keep[..., None], shift=0.0, scale=scale, noise=noise)
