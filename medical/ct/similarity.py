"""How alike two eight-bit slices are: SSIM, mutual information, squared error, correlation; entropy of one.

Each measure is a class built on a stack of images, with ``measure(rows, columns)`` for `medical.ct.greedy`.
Thresholds do not carry over from one measure to another: they rank changes differently (SSIM puts noise
above a change of gain, mutual information the reverse).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from core.errors import DataError


def gaussian_taps(size: int = 11, sigma: float = 1.5) -> np.ndarray:
    """(size,) float64 weights that sum to 1."""
    place = np.arange(size) - (size - 1) / 2
    weights = np.exp(-(place**2) / (2 * sigma**2))
    return weights / weights.sum()


class SSIM:
    """Mean structural similarity: Gaussian 11 x 11 window, sigma 1.5, windows that lie inside the image.

    Wang et al., "Image quality assessment", IEEE TIP 2004, eq. 13, with K1 .01, K2 .03, L 255; equal to
    MONAI's SSIMMetric to 1e-5. In [-1, 1], 1 for equal images.

    Args:
        images: (n, H, W) in [0, 255], sides >= 11. Means and variances are computed once an image.

    >>> x = np.random.default_rng(0).integers(0, 256, (2, 16, 16))
    >>> SSIM(x).measure(np.array([0]), np.array([0, 1])).round(2).tolist()
    [[1.0, -0.06]]
    """

    def __init__(self, images: Any) -> None:
        self.images = _stack(images, smallest=11)
        self.mean = _filtered(self.images)
        self.variance = _filtered(self.images**2) - self.mean**2

    def measure(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """(len(rows), len(columns)) float64."""
        c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
        found = np.empty((len(rows), len(columns)))
        for place, row in enumerate(rows):
            means = self.mean[row] * self.mean[columns]
            covariance = _filtered(self.images[row] * self.images[columns]) - means
            luminance = (2 * means + c1) / (self.mean[row] ** 2 + self.mean[columns] ** 2 + c1)
            contrast = (2 * covariance + c2) / (self.variance[row] + self.variance[columns] + c2)
            found[place] = (luminance * contrast).mean(axis=(1, 2))
        return found


class MutualInformation:
    """Mutual information from joint histograms of ``bins`` equal bins on [0, 256).

    In bits, or normalised: 2 I(x; y) / (H(x) + H(y)), in [0, 1], 1 for images that determine each other.
    Two constant images have normalised information 1, a constant one and another 0.

    Args:
        images: (n, H, W) in [0, 255].

    >>> x = np.array([[[0, 255], [0, 255]], [[255, 0], [255, 0]]])
    >>> MutualInformation(x).measure(np.array([0]), np.array([1])).tolist()
    [[1.0]]
    """

    def __init__(self, images: Any, bins: int = 64, normalised: bool = True) -> None:
        values = _stack(images)
        self.bins, self.normalised = bins, normalised
        self.codes = np.clip(values * (bins / 256), 0, bins - 1).astype(np.int64).reshape(len(values), -1)
        counts = (np.bincount(codes, minlength=bins) for codes in self.codes)
        self.entropies = np.array([entropy_of_counts(one) for one in counts])

    def measure(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """(len(rows), len(columns)) float64."""
        found = np.empty((len(rows), len(columns)))
        for place, row in enumerate(rows):
            scaled = self.codes[row] * self.bins
            for at, column in enumerate(columns):
                joint = np.bincount(scaled + self.codes[column], minlength=self.bins**2)
                found[place, at] = -entropy_of_counts(joint)
        total = self.entropies[rows][:, None] + self.entropies[columns][None]
        information = np.maximum(found + total, 0.0)
        if not self.normalised:
            return information
        return np.where(total > 0, 2 * information / np.where(total > 0, total, 1), 1.0)


class SquaredError:
    """Mean squared difference of grey values; 0 for equal images.

    >>> SquaredError(np.array([[[0, 0]], [[0, 2]]])).measure(np.array([0]), np.array([1])).tolist()
    [[2.0]]
    """

    def __init__(self, images: Any) -> None:
        values = _stack(images)
        self.flat = values.reshape(len(values), -1)
        self.squares = np.einsum("ij,ij->i", self.flat, self.flat)

    def measure(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """(len(rows), len(columns)) float64."""
        products = self.flat[rows] @ self.flat[columns].T
        summed = self.squares[rows][:, None] + self.squares[columns][None] - 2 * products
        return np.maximum(summed, 0) / self.flat.shape[1]


class Correlation:
    """Pearson correlation of grey values (normalised cross-correlation at no shift), in [-1, 1].

    A constant image correlates 0 with every other.

    >>> x = np.array([[[0, 1]], [[5, 9]], [[1, 0]]])
    >>> Correlation(x).measure(np.array([0]), np.array([1, 2])).round(9).tolist()
    [[1.0, -1.0]]
    """

    def __init__(self, images: Any) -> None:
        values = _stack(images)
        flat = values.reshape(len(values), -1)
        self.rows = _unit(flat - flat.mean(axis=1, keepdims=True))

    def measure(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """(len(rows), len(columns)) float64."""
        return self.rows[rows] @ self.rows[columns].T


class Cosine:
    """Cosine of embeddings (n, d), in [-1, 1].

    >>> Cosine(np.eye(2)).measure(np.array([0]), np.array([0, 1])).tolist()
    [[1.0, 0.0]]
    """

    def __init__(self, embeddings: Any) -> None:
        values = np.asarray(embeddings, dtype=np.float64)
        if values.ndim != 2 or not np.isfinite(values).all():
            raise DataError("embeddings", seen=values.shape, expected="finite numbers, (n, d)")
        self.rows = _unit(values)

    def measure(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """(len(rows), len(columns)) float64."""
        return self.rows[rows] @ self.rows[columns].T


def entropy(images: Any, bins: int = 256) -> np.ndarray:
    """Shannon entropy of the grey values of each image, in bits, (n,): 0 for a constant one, at most 8.

    >>> entropy(np.array([[[0, 0]], [[0, 255]]])).tolist()
    [0.0, 1.0]
    """
    values = _stack(images)
    codes = np.clip(values * (bins / 256), 0, bins - 1).astype(np.int64).reshape(len(values), -1)
    return np.array([entropy_of_counts(np.bincount(one, minlength=bins)) for one in codes])


def entropy_of_counts(counts: np.ndarray) -> float:
    """Entropy in bits of a histogram."""
    filled = counts[counts > 0] / counts.sum()
    return float(-(filled * np.log2(filled)).sum()) + 0.0


def _stack(images: Any, smallest: int = 1) -> np.ndarray:
    values = np.asarray(images, dtype=np.float64)
    if values.ndim != 3 or min(values.shape[1:]) < smallest or not np.isfinite(values).all():
        raise DataError(
            "images to compare", seen=values.shape, expected=f"finite (n, H, W) with sides >= {smallest}"
        )
    return values


def _filtered(stack: np.ndarray) -> np.ndarray:
    from scipy.ndimage import correlate1d

    taps = gaussian_taps()
    margin = len(taps) // 2
    for axis in (-1, -2):
        stack = correlate1d(stack, taps, axis=axis)
    return stack[..., margin:-margin, margin:-margin]


def _unit(rows: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norms > 1e-12, norms, 1)
