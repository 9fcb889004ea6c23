"""Checks that every encoder makes on its input: a wrong tensor is named before a kernel fails on it."""

from __future__ import annotations

import torch

from core.errors import DataError


def check_input(
    x: torch.Tensor,
    *,
    what: str,
    layout: str,
    channels: int | None = None,
    finite: bool = False,
) -> torch.Tensor:
    """Return ``x`` unchanged if it is a floating tensor of the given layout, otherwise say what is wrong.

    Args:
        x: the input of an encoder.
        what: its name in messages, as the user knows it ("images of ResNetEncoder").
        layout: axis names, batch and channels first, for example ``"(B, C, H, W)"``; their number is the
            rank.
        channels: length expected of axis 1; None leaves it free.
        finite: also refuse NaN and infinity. Costs one pass over the data and, on a GPU, a synchronisation.

    Raises:
        DataError: not floating point, wrong rank, wrong number of channels, an empty axis, or (``finite``)
            NaN.

    >>> check_input(torch.zeros(2, 3, 8), what="signals", layout="(B, C, T)", channels=12)
    Traceback (most recent call last):
    ...
    core.errors.DataError: signals: saw (2, 3, 8), expected 12 channels on axis 1 of (B, C, T). Remedy: \
select or reorder the channels, or build the encoder with channels=3
    """
    shape = tuple(x.shape)
    if not x.is_floating_point():
        raise DataError(
            f"dtype of {what}", seen=str(x.dtype), expected="a floating type", remedy="scale to floats first"
        )
    if x.dim() != layout.count(",") + 1:
        raise DataError(what, seen=shape, expected=f"a tensor of layout {layout}")
    if channels is not None and shape[1] != channels:
        raise DataError(
            what,
            seen=shape,
            expected=f"{channels} channels on axis 1 of {layout}",
            remedy=f"select or reorder the channels, or build the encoder with channels={shape[1]}",
        )
    if 0 in shape:
        raise DataError(what, seen=shape, expected=f"no empty axis in {layout}")
    if finite and not bool(torch.isfinite(x).all()):
        bad = [index for index, item in enumerate(x) if not bool(torch.isfinite(item).all())]
        raise DataError(
            f"{what} hold NaN or infinity",
            seen=f"rows {bad}",
            remedy="quarantine these items in the validate stage",
        )
    return x
