"""The plain comparison: a logistic regression on numbers that anyone can compute from an ECG."""

from __future__ import annotations

import numpy as np

NAMES_PER_LEAD = ("largest", "smallest", "spread", "slope", "skew", "above_half")


def simple_features(signals: np.ndarray, fs: float) -> np.ndarray:
    """Heart rate and its spread, and six numbers a lead: (N, 12, T) preprocessed -> (N, 75).

    Beats are peaks of the summed slope over all leads; rate 0 where fewer than three are found.

    >>> simple_features(np.zeros((2, 12, 1000)), 100.0).shape
    (2, 75)
    """
    x = np.asarray(signals, dtype=np.float64)
    largest, smallest, spread = x.max(2), x.min(2), x.std(2)
    slope = np.abs(np.diff(x, axis=2))
    safe = np.maximum(spread, 1e-9)
    skew = (((x - x.mean(2, keepdims=True)) / safe[..., None]) ** 3).mean(2)
    above = (np.abs(x) > 0.5 * np.maximum(largest, -smallest)[..., None]).mean(2)
    per_lead = np.stack([largest, smallest, spread, slope.max(2), skew, above], axis=2)
    rhythm = np.array([_rhythm(one, fs) for one in slope.sum(1)])
    return np.concatenate([per_lead.reshape(len(x), -1), rhythm], axis=1)


def _rhythm(slope: np.ndarray, fs: float) -> tuple[float, float, float]:
    """(beats a second, spread of the intervals over their mean, their largest change)."""
    from scipy.signal import find_peaks

    window = max(1, round(0.08 * fs))
    smooth = np.convolve(slope, np.ones(window) / window, mode="same")
    peaks, _ = find_peaks(smooth, height=0.4 * np.percentile(smooth, 99), distance=max(1, round(0.3 * fs)))
    if len(peaks) < 3 or smooth.max() == 0:
        return 0.0, 0.0, 0.0
    gaps = np.diff(peaks) / fs
    return 1 / gaps.mean(), gaps.std() / gaps.mean(), float(np.abs(np.diff(gaps)).max())


def logistic_scores(
    train: np.ndarray, targets: np.ndarray, test: np.ndarray, *, strength: float = 0.1
) -> np.ndarray:
    """Probabilities (M, C) of one logistic regression a label on standardised features; the rate where it is constant.

    Args:
        train: (N, F). targets: (N, C) of 0/1. test: (M, F). strength: C of scikit-learn, 1 / L2 penalty.
    """
    from sklearn.linear_model import LogisticRegression

    mean, std = train.mean(0), train.std(0)
    x, z = ((rows - mean) / np.where(std > 0, std, 1) for rows in (train, test))
    found = np.empty((len(test), targets.shape[1]))
    for c in range(targets.shape[1]):
        y = targets[:, c]
        if 0 < y.sum() < len(y):
            model = LogisticRegression(C=strength, max_iter=1000).fit(x, y)
            found[:, c] = model.predict_proba(z)[:, 1]
        else:
            found[:, c] = y.mean()
    return found
