"""Where a phrase is in a film: cosine maps of patches and text, how to score them, and how to merge two maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from core.errors import DataError

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5)


def phrase_map(
    patches: np.ndarray,
    text: np.ndarray,
    *,
    size: tuple[int, int] | None = None,
    resize: int | None = None,
    crop: int | None = None,
    sigma: float = 1.5,
    interpolation: Literal["nearest", "bilinear"] = "nearest",
) -> np.ndarray:
    """Cosine of each patch with a phrase, smoothed, and laid over the film it came from.

    Boecking et al. 2022, "Making the most of text semantics to improve biomedical vision-language processing"
    (BioViL): the film was resized so that its shorter side is ``resize``, and the middle ``crop`` x ``crop`` of
    it went into the encoder; what lies outside is NaN.

    Args:
        patches: (h, w, d) unit vectors; others give products instead of cosines. text: (P, d) unit vectors of one or
            several prompts, which are averaged.
        size: (height, width) of the film; None returns the smoothed (h, w) map itself.
        resize, crop: see above; left out, the map covers the film.
        sigma: of the Gaussian filter, in patches; 0 for none.

    Returns:
        (height, width) float32 in -1..1, NaN outside the crop.

    >>> phrase_map(np.eye(4).reshape(2, 2, 4), np.eye(4)[:1], sigma=0).tolist()
    [[1.0, 0.0], [0.0, 0.0]]
    """
    from scipy.ndimage import gaussian_filter

    if patches.ndim != 3 or text.ndim != 2 or patches.shape[2] != text.shape[1]:
        raise DataError("(patches, text)", seen=(patches.shape, text.shape), expected="(h, w, d) and (P, d)")
    phrase = text.mean(axis=0)
    phrase = phrase / max(float(np.linalg.norm(phrase)), 1e-12)
    values = (patches @ phrase).astype(np.float32)
    if sigma > 0:
        values = gaussian_filter(values, sigma=(sigma, sigma), order=0)
    if size is None:
        return values
    height, width = size
    if crop is None or resize is None:
        return _resize(values, (height, width), interpolation)
    side = int(crop * min(height, width) / resize)
    inner = _resize(values, (side, side), interpolation)
    top, left = (height - side) // 2, (width - side) // 2
    out = np.full((height, width), np.nan, dtype=np.float32)
    out[top : top + side, left : left + side] = inner
    return out


def contrast_to_noise(values: np.ndarray, inside: np.ndarray, *, signed: bool = False) -> float:
    """CNR = (mean inside - mean outside) / sqrt(variance inside + variance outside) of a map and a bool mask.

    BioViL reports the absolute value; ``signed`` keeps the sign. NaN where a side is empty or both are constant.

    >>> contrast_to_noise(np.array([1.0, 3.0, 0.0, 2.0]), np.array([True, True, False, False]))
    0.5
    """
    there = np.isfinite(values)
    a, b = values[inside & there].astype(np.float64), values[~inside & there].astype(np.float64)
    if len(a) < 2 or len(b) < 2:
        return float("nan")
    spread = np.sqrt(a.var(ddof=1) + b.var(ddof=1))
    found = float((a.mean() - b.mean()) / spread) if spread > 0 else float("nan")
    return found if signed else abs(found)


def mean_iou(values: np.ndarray, inside: np.ndarray, thresholds: Sequence[float] = THRESHOLDS) -> float:
    """Mean over thresholds of the intersection over union of ``values > threshold`` and the mask (BioViL).

    >>> mean_iou(np.array([0.9, 0.2]), np.array([True, False]), thresholds=(0.1, 0.5))
    0.75
    """
    there = np.isfinite(values)
    found = []
    for threshold in thresholds:
        above = there & (np.nan_to_num(values, nan=-np.inf) > threshold)
        union = (above | (inside & there)).sum()
        found.append(float((above & inside).sum() / union) if union else 0.0)
    return float(np.mean(found))


def points_inside(values: np.ndarray, inside: np.ndarray) -> bool:
    """The pointing game: whether the middle of the map's largest cell lies inside the mask.

    Give the map of the patches, not one laid over the film: that one is flat from the middles of the outer patches to
    the film's edge, where rounding decides which of equal values is the largest.

    Args:
        values: (h, w), NaN where nothing is known. inside: (H, W) bool over the same film.

    >>> points_inside(np.array([[0.1, np.nan], [0.7, 0.2]]), np.array([[False, False], [True, False]]))
    True
    >>> points_inside(np.array([[0.1, 0.9]]), np.array([[False, False, False, False, True, False]]))
    True
    """
    place = np.unravel_index(int(np.nanargmax(values)), values.shape)
    middle = [
        int((k + 0.5) * size / cells)
        for k, size, cells in zip(place, inside.shape, values.shape, strict=True)
    ]
    return bool(inside[tuple(middle)])


def unit_range(values: np.ndarray) -> np.ndarray:
    """Values scaled to 0..1; a constant map becomes 0."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    return (values - low) / (high - low) if high > low else np.zeros_like(values)


def merge_maps(activation: np.ndarray, merged: np.ndarray, similarity: float) -> np.ndarray:
    """Bimodal bias merging: weigh a phrase map against the product of the image's and the text's own maps.

    out = (1 - s)^2 S + s^2 M + s (1 - s) (M + S + M S), s clipped to 0..1. Where both priors say the same (s near
    1) the merged map decides, otherwise the phrase's. "Generate to Ground" (2025), from its released code.

    Args:
        activation: S, the phrase's map in 0..1. merged: M, in 0..1. similarity: s of the two priors (SSIM).

    >>> merge_maps(np.array([0.2, 1.0]), np.array([1.0, 0.0]), 0.0).tolist()
    [0.2, 1.0]
    """
    s = float(np.clip(similarity, 0, 1))
    return (
        (1 - s) ** 2 * activation + s**2 * merged + s * (1 - s) * (merged + activation + merged * activation)
    )


def _resize(values: np.ndarray, size: tuple[int, int], interpolation: str) -> np.ndarray:
    import torch
    import torch.nn.functional as F

    options = {} if interpolation == "nearest" else {"align_corners": False}
    grid = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))[None, None]
    return F.interpolate(grid, size=size, mode=interpolation, **options)[0, 0].numpy()  # type: ignore[arg-type]
