"""A network's answer for the slices of a volume."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

BATCH = 16


@torch.no_grad()
def predict_probabilities(net: nn.Module, slices: Any, *, batch_size: int = BATCH) -> np.ndarray:
    """Class probabilities of slices: (D, H, W) -> (D, classes, H, W) float32.

    The network is used in the mode that it is in: put it into eval mode first.
    """
    device = next(net.parameters()).device
    found = [
        net(torch.from_numpy(np.array(slices[at : at + batch_size]))[:, None].to(device))
        .softmax(1)
        .float()
        .cpu()
        for at in range(0, len(slices), batch_size)
    ]
    return torch.cat(found).numpy()


@torch.no_grad()
def predict_labels(net: nn.Module, slices: Any, *, batch_size: int = BATCH) -> np.ndarray:
    """The most probable class of every pixel: (D, H, W) -> (D, H, W) uint8."""
    device = next(net.parameters()).device
    found = [
        net(torch.from_numpy(np.array(slices[at : at + batch_size]))[:, None].to(device))
        .argmax(1)
        .byte()
        .cpu()
        for at in range(0, len(slices), batch_size)
    ]
    return torch.cat(found).numpy()
