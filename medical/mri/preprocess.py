"""From a volume to slices that a network reads, and from its answer back to the voxels of the file.

The order is that of the published code: intensities by the percentiles of the whole volume (not clipped), each slice to
the target spacing (never across slices), a centred crop or padding; slices come first, from inferior to superior.
Orientation, percentiles and the fit to an even size agree with MONAI's transforms (tested); its fit of an even side to
an odd one is a voxel off, and its Spacing keeps voxel centres where resampling here keeps the field of view, as
scikit-image does. MONAI itself is not imported: that would cost each stage some ten seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.errors import DataError
from medical.mri.data.nifti import Geometry

LOW, HIGH = 1.0, 99.0


@dataclass(frozen=True)
class Placement:
    """How a stack of slices lies in its file: the geometry, the in-plane size after resampling, the final size."""

    geometry: Geometry
    resampled: tuple[int, int]
    size: tuple[int, int]


def percentiles(voxels: np.ndarray) -> tuple[float, float]:
    """1st and 99th percentile of all voxels, by linear interpolation.

    >>> percentiles(np.arange(101.0))
    (1.0, 99.0)
    """
    low, high = np.percentile(voxels, [LOW, HIGH])
    return float(low), float(high)


def rescale_intensity(voxels: np.ndarray, low: float, high: float) -> np.ndarray:
    """(x - low) / (high - low), without clipping. Raises DataError where high is not above low.

    >>> rescale_intensity(np.array([1.0, 3.0]), 1.0, 2.0)
    array([0., 2.])
    """
    if not high > low:
        raise DataError(
            "volume: 1st and 99th percentile",
            seen=(low, high),
            expected="different values",
            remedy="leave the volume out: it is constant",
        )
    return (voxels - low) / (high - low)


def fit_to(stack: np.ndarray, height: int, width: int, fill: float = 0) -> np.ndarray:
    """Crop or pad the last two axes about the centre: start (x - n) // 2, padding (n - x) // 2 before.

    >>> fit_to(np.arange(8).reshape(2, 4), 3, 2)
    array([[1, 2],
           [5, 6],
           [0, 0]])
    """
    out = np.full((*stack.shape[:-2], height, width), fill, dtype=stack.dtype)
    (from_rows, to_rows), (from_columns, to_columns) = (
        _overlap(have, want) for have, want in zip(stack.shape[-2:], (height, width))
    )
    out[..., to_rows, to_columns] = stack[..., from_rows, from_columns]
    return out


def _overlap(have: int, want: int) -> tuple[slice, slice]:
    start, pad, size = max((have - want) // 2, 0), max((want - have) // 2, 0), min(have, want)
    return slice(start, start + size), slice(pad, pad + size)


def resize_slices(stack: np.ndarray, height: int, width: int, *, mask: bool = False) -> np.ndarray:
    """Resize each (h, w) of a (..., h, w) stack: linear with anti-aliasing when it shrinks; nearest for masks.

    Pixels are areas: the field of view stays. Before shrinking by a factor f an image is smoothed by a
    Gaussian of (f - 1) / 2 pixels, as scikit-image does.

    >>> resize_slices(np.array([[[0.0, 2.0]]]), 1, 4).tolist()
    [[[0.0, 0.5, 1.5, 2.0]]]
    """
    if stack.shape[-2:] == (height, width):
        return stack
    import torch
    from scipy.ndimage import gaussian_filter1d

    if mask:
        rows, columns = (
            ((np.arange(want) + 0.5) * have / want).astype(int)
            for have, want in zip(stack.shape[-2:], (height, width))
        )
        return stack[..., rows[:, None], columns]
    for axis, want in ((-2, height), (-1, width)):
        sigma = (stack.shape[axis] / want - 1) / 2
        if sigma > 0:
            stack = gaussian_filter1d(stack, sigma, axis=axis, mode="nearest")
    flat = torch.from_numpy(np.ascontiguousarray(stack)).reshape(-1, 1, *stack.shape[-2:])
    found = torch.nn.functional.interpolate(flat, (height, width), mode="bilinear", align_corners=False)
    return found.reshape(*stack.shape[:-2], height, width).numpy()


def place(geometry: Geometry, spacing: float | None, size: Sequence[int]) -> Placement:
    """Where the slices of a volume come to lie.

    Args:
        geometry: of the file.
        spacing: in-plane target in mm; None keeps the voxels as they are.
        size: (height, width) of the slices in the end: along the right and the anterior axis.
    """
    voxels = geometry.shape_ras[:2]
    if spacing is not None:
        voxels = tuple(max(1, round(n * mm / spacing)) for n, mm in zip(voxels, geometry.spacing))  # type: ignore[assignment]
    return Placement(geometry, (voxels[0], voxels[1]), (int(size[0]), int(size[1])))


def image_slices(voxels: np.ndarray, placement: Placement) -> np.ndarray:
    """Voxels of the file (X, Y, Z) -> (slices, height, width) float32 in percentile units."""
    scaled = rescale_intensity(voxels, *percentiles(voxels))
    stack = placement.geometry.to_ras(scaled.astype(np.float32)).transpose(2, 0, 1)
    return fit_to(resize_slices(stack, *placement.resampled), *placement.size)


def mask_slices(mask: np.ndarray, placement: Placement) -> tuple[np.ndarray, float]:
    """Mask of the file (X, Y, Z) -> ((slices, height, width) of its dtype, share of foreground that was cropped)."""
    stack = resize_slices(placement.geometry.to_ras(mask).transpose(2, 0, 1), *placement.resampled, mask=True)
    fitted = fit_to(stack, *placement.size)
    before = np.count_nonzero(stack)
    return fitted, 1 - np.count_nonzero(fitted) / before if before else 0.0


def native_labels(probabilities: np.ndarray, placement: Placement) -> np.ndarray:
    """Class probabilities of slices -> the mask of the file.

    The crop is put back (background outside of it), maps are resized linearly to the native in-plane size,
    the class of the highest is taken, and axes are turned back.

    Args:
        probabilities: (slices, classes, height, width), class 0 the background.

    Returns:
        (X, Y, Z) uint8.
    """
    whole = fit_to(probabilities, *placement.resampled)
    rows, columns = (_overlap(a, b)[1] for a, b in zip(placement.size, placement.resampled))
    outside = np.ones(placement.resampled, dtype=bool)
    outside[rows, columns] = False
    whole[:, 0, outside] = 1
    native = resize_slices(whole, *placement.geometry.shape_ras[:2])
    return placement.geometry.from_ras(native.argmax(1).astype(np.uint8).transpose(1, 2, 0))
