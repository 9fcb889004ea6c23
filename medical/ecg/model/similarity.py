"""Similarities of features to prototypes: one vector a recording, or every window of a feature map.

Sethi et al. 2025, "ProtoECGNet" (MLHC), and the code released with it.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from core.errors import ConfigError, DataError

Pool = Literal["mean", "topk", "max"]
EPSILON = 1e-4
TOP_WINDOWS = 5


def cosine(features: Tensor, prototypes: Tensor) -> Tensor:
    """Cosine of (B, D) features and (P, D) prototypes, (B, P) in [-1, 1].

    >>> cosine(torch.eye(2), torch.ones(1, 2)).shape
    torch.Size([2, 1])
    """
    return F.normalize(features, dim=1) @ F.normalize(prototypes, dim=1).T


def default_scale(dim: int, length: int) -> float:
    """What the published code multiplies the cosine of a (dim, length) window by: int(sqrt(dim length)) / length.

    >>> default_scale(512, 3), default_scale(512, 32)
    (13.0, 4.0)
    """
    return int(math.sqrt(dim * length)) / length


def window_cosine(
    features: Tensor, prototypes: Tensor, *, scale: float | None = None, epsilon: float = EPSILON
) -> Tensor:
    """Scaled cosine of each prototype with each window of a feature map, (B, P, windows).

    a[b, p, t] = scale <f[b, :, t : t + T], p> / (|f[b, :, t : t + T]| |p|), norms as sqrt(sum of squares +
    epsilon). Windows are never cut out: one convolution gives all products, another all norms.

    Args:
        features: (B, D, steps) or (B, D, 1, steps).
        prototypes: (P, D, T) or (P, D, 1, T), T <= steps.
        scale: `default_scale` where left out.

    Raises:
        DataError: shapes that do not go together.

    >>> window_cosine(torch.rand(2, 4, 12), torch.rand(5, 4, 3)).shape
    torch.Size([2, 5, 10])
    """
    features, prototypes = _maps(features, prototypes)
    product = F.conv1d(features, prototypes)
    scale = default_scale(*prototypes.shape[1:]) if scale is None else scale
    energy = _window_sums(features.square().sum(1, keepdim=True), prototypes.shape[2])
    size = (prototypes.square().sum((1, 2)) + epsilon).sqrt()
    return scale * product / ((energy + epsilon).sqrt() * size[None, :, None])


def distance(features: Tensor, prototypes: Tensor) -> Tensor:
    """Euclidean distance: (B, P) of vectors (B, D), (P, D), or (B, P, windows) of maps as in `window_cosine`."""
    if features.ndim == 2:
        return torch.cdist(features, prototypes, compute_mode="donot_use_mm_for_euclid_dist")
    features, prototypes = _maps(features, prototypes)
    energy = _window_sums(features.square().sum(1, keepdim=True), prototypes.shape[2])
    squared = energy + prototypes.square().sum((1, 2))[None, :, None] - 2 * F.conv1d(features, prototypes)
    return squared.clamp_min(0).sqrt()


def distance_similarity(distances: Tensor, kind: Literal["log", "linear"] = "log") -> Tensor:
    """Similarity from distances: ln((d + 1) / (d + 1e-4)), or -d.

    >>> distance_similarity(torch.tensor([0.0, 1.0]), "linear").tolist()
    [-0.0, -1.0]
    """
    if kind == "linear":
        return -distances
    return ((distances + 1) / (distances + EPSILON)).log()


def pool_windows(activations: Tensor, pool: Pool = "mean", *, top: int = TOP_WINDOWS) -> Tensor:
    """(B, P, windows) -> (B, P): mean over all windows, mean of the ``top`` largest, or the largest.

    The published network trains and classifies with the mean and explains with the largest; here the same
    pooling does both (see `window_shares`).

    >>> pool_windows(torch.tensor([[[1.0, 3.0]]]), "max").item()
    3.0
    """
    if pool == "mean":
        return activations.mean(-1)
    if pool == "max":
        return activations.amax(-1)
    if pool != "topk":
        raise ConfigError("pool", seen=pool, expected=", ".join(get_args(Pool)))
    return activations.topk(min(top, activations.shape[-1]), dim=-1).values.mean(-1)


def window_shares(activations: Tensor, pool: Pool, *, top: int = TOP_WINDOWS) -> Tensor:
    """How much of the pooled similarity each window gives, (B, P, windows); sums to the pooled value exactly.

    >>> window_shares(torch.tensor([[[1.0, 3.0]]]), "mean").tolist()
    [[[0.5, 1.5]]]
    """
    windows = activations.shape[-1]
    if pool == "mean":
        return activations / windows
    count = 1 if pool == "max" else min(top, windows)
    chosen = activations.topk(count, dim=-1).indices
    weight = torch.zeros_like(activations).scatter_(-1, chosen, 1.0 / count)
    return activations * weight


def _window_sums(values: Tensor, length: int) -> Tensor:
    return F.avg_pool1d(values, length, stride=1) * length


def _maps(features: Tensor, prototypes: Tensor) -> tuple[Tensor, Tensor]:
    flat = [one.squeeze(2) if one.ndim == 4 and one.shape[2] == 1 else one for one in (features, prototypes)]
    features, prototypes = flat
    fits = features.ndim == prototypes.ndim == 3 and features.shape[1] == prototypes.shape[1]
    if not fits or prototypes.shape[2] > features.shape[2]:
        raise DataError(
            "feature map and prototypes",
            seen=(tuple(features.shape), tuple(prototypes.shape)),
            expected="(B, D, steps) and (P, D, T) with T <= steps",
        )
    return features, prototypes
