"""Alignment: how far the two sides of a positive pair lie from each other."""

from __future__ import annotations

from torch import Tensor

from core.objectives.rows import as_pair, in_full_precision, safe_sqrt, unit_rows


@in_full_precision
def alignment(x: Tensor, y: Tensor, *, power: float = 2.0, normalize: bool = True) -> Tensor:
    """Mean distance between the two sides of each pair, raised to `power`.

    Formula:
        L = 1/N sum_i |x_i - y_i|^power, on unit rows; with power 2 it equals 2 - 2 cos.

    Use when:
        You want the pull of a contrastive loss alone: as a term against the modality gap
        (`contrastive_gap`) or, together with `uniformity`, as a measure of collapse.

    Cost:
        3 N d time, N d memory.

    Source:
        Wang and Isola 2020, "Understanding contrastive representation learning through alignment and
        uniformity"; as used by "It's Not a Modality Gap". Verified against a transcription of the
        public code.

    Distributed:
        none: a mean over pairs that know nothing of each other.

    Used by:
        diagnostics of every pipeline.

    Args:
        x: (N, d) one side of the pairs, any float dtype.
        y: (N, d) the other side.
        power: exponent of the distance, > 0.
        normalize: put rows on the unit sphere first; a zero row stays zero.

    Returns:
        Scalar >= 0 (at most 2^power on unit rows); 0 for an empty batch.

    Raises:
        KindredError: shapes differ or the dtype is not floating.

    Example:
        >>> import torch
        >>> alignment(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 1.0]]))
        tensor(2.)
    """
    x, y = as_pair("x", x, "y", y)
    if normalize:
        x, y = unit_rows(x), unit_rows(y)
    square = (x - y).square().sum(1)
    distance = square if power == 2 else safe_sqrt(square).pow(power)
    return distance.sum() / max(len(x), 1)
