"""First-layer weights for another number of channels: how an RGB network learns to read 1 to 13 bands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch

from core.errors import ConfigError

InputInit = Literal["inflate", "copy", "random"]


def adapt_channels(
    weight: torch.Tensor,
    channels: int,
    *,
    copy: Mapping[int, int] | None = None,
) -> torch.Tensor:
    """Rewrite a convolution's weight for ``channels`` inputs, keeping its response where all bands are equal.

    With ``C`` source and ``D`` target channels, band ``d`` of the result is ``C/D`` times the mean over the
    source channels; bands listed in ``copy`` take their own source channel instead of the mean. The factor
    keeps the sum over channels: where all bands of an image are equal, an inflated layer answers exactly as
    before, and so does one with each source channel copied once.

    Args:
        weight: (O, C, \\*kernel), one weight for each output and source channel.
        channels: ``D`` >= 1. With ``D == C`` and no ``copy`` the weight is returned as it is.
        copy: target band -> source channel. Sentinel-2 in the order B1, B2, ... fed by an RGB layer is
            ``{3: 0, 2: 1, 1: 2}``: red from B4, green from B3, blue from B2.

    Returns:
        (O, D, \\*kernel), dtype and device of ``weight``.

    >>> rgb = torch.tensor([[[[1.0]], [[2.0]], [[6.0]]]])
    >>> adapt_channels(rgb, 2).flatten().tolist()
    [4.5, 4.5]
    >>> adapt_channels(rgb, 4, copy={0: 2, 1: 1, 2: 0}).flatten().tolist()
    [4.5, 1.5, 0.75, 2.25]
    """
    if weight.dim() < 3:
        raise ConfigError(
            "first-layer weight", seen=tuple(weight.shape), expected="a convolution weight (O, C, *kernel)"
        )
    if channels < 1:
        raise ConfigError("channels", seen=channels, expected="an integer >= 1")
    source = weight.shape[1]
    if not copy:
        if channels == source:
            return weight
        return _mean(weight, channels) * (source / channels)
    for target, origin in copy.items():
        if not (0 <= target < channels and 0 <= origin < source):
            raise ConfigError(
                f"copy={{{target}: {origin}}}",
                expected=f"target band in 0..{channels - 1} and source channel in 0..{source - 1}",
            )
    adapted = _mean(weight, channels).clone()
    targets, origins = list(copy), list(copy.values())
    adapted[:, targets] = weight[:, origins]
    return adapted * (source / channels)


def _mean(weight: torch.Tensor, channels: int) -> torch.Tensor:
    repeats = [1, channels] + [1] * (weight.dim() - 2)
    return weight.mean(dim=1, keepdim=True).repeat(repeats)


def adapt_input(
    state: Mapping[str, torch.Tensor],
    key: str,
    channels: int,
    init: InputInit,
    *,
    copy: Mapping[int, int] | None = None,
) -> dict[str, torch.Tensor]:
    """A copy of ``state`` whose first-layer weight ``key`` reads ``channels`` bands.

    ``inflate`` spreads the mean over the bands, ``copy`` gives named bands their own source channel (see
    :func:`adapt_channels`), ``random`` leaves the weight out so that the module keeps its own initial one.
    The layer's bias, which knows no channels, is kept in every case.

    >>> state = {"conv.weight": torch.ones(1, 3, 1, 1), "conv.bias": torch.zeros(1)}
    >>> adapt_input(state, "conv.weight", 6, "inflate")["conv.weight"].shape
    torch.Size([1, 6, 1, 1])
    >>> list(adapt_input(state, "conv.weight", 6, "random"))
    ['conv.bias']
    """
    adapted = dict(state)
    if key not in adapted:
        return adapted
    if init == "random":
        del adapted[key]
    elif init == "copy":
        if not copy:
            raise ConfigError(
                "copy", seen=copy, expected="target band -> source channel", remedy="name the bands"
            )
        adapted[key] = adapt_channels(adapted[key], channels, copy=copy)
    elif init == "inflate":
        adapted[key] = adapt_channels(adapted[key], channels)
    else:
        raise ConfigError("input_init", seen=init, expected="one of inflate, copy, random")
    return adapted
