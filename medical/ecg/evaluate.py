"""Multi-label metrics over a whole split: AUROC by rank, average precision, F1, with patient intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from core.errors import DataError
from core.evaluation.bootstrap import bootstrap_interval


def auroc(truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of each column, (C,); NaN where a column holds one outcome only.

    By ranks with ties shared (Mann-Whitney U), all columns at once.

    Args:
        truth: (N, C) of 0/1. scores: (N, C), any monotone scale.

    >>> auroc(np.array([[0, 1], [1, 1]]), np.array([[0.1, 0.5], [0.9, 0.5]])).tolist()
    [1.0, nan]
    """
    from scipy.stats import rankdata

    truth, scores = _checked(truth, scores)
    positives = truth.sum(0).astype(np.float64)
    negatives = len(truth) - positives
    ranks = rankdata(scores, axis=0)
    wins = (ranks * truth).sum(0) - positives * (positives + 1) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where((positives > 0) & (negatives > 0), wins / (positives * negatives), np.nan)


def macro_auroc(truth: np.ndarray, scores: np.ndarray) -> tuple[float, int]:
    """Mean AUROC over the columns with both outcomes, and how many these are; (NaN, 0) for none.

    >>> macro_auroc(np.array([[0, 1], [1, 1]]), np.array([[0.1, 0.5], [0.9, 0.5]]))
    (1.0, 1)
    """
    found = auroc(truth, scores)
    usable = ~np.isnan(found)
    return (float(found[usable].mean()), int(usable.sum())) if usable.any() else (float("nan"), 0)


def f_max(truth: np.ndarray, probabilities: np.ndarray) -> tuple[float, float]:
    """Largest micro F1 over the thresholds 0, 0.01, ..., 1 (strictly above), and its threshold.

    >>> f_max(np.array([[1, 0]]), np.array([[0.9, 0.2]]))
    (1.0, 0.2)
    """
    truth, probabilities = _checked(truth, probabilities)
    best, at = -1.0, 0.0
    for threshold in np.arange(0, 1.01, 0.01):
        value = micro_f1(truth, probabilities, threshold)
        if value > best:
            best, at = value, float(threshold)
    return best, at


def micro_f1(truth: np.ndarray, probabilities: np.ndarray, threshold: float = 0.5) -> float:
    """F1 over all labels of all rows together; 0 where nothing is true or said."""
    said = probabilities > threshold
    hit = float((said & (truth > 0)).sum())
    total = float(said.sum() + (truth > 0).sum())
    return 2 * hit / total if total else 0.0


def average_precision(truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Average precision of each column, (C,); NaN without a positive."""
    from sklearn.metrics import average_precision_score

    truth, scores = _checked(truth, scores)
    return np.array(
        [
            average_precision_score(truth[:, c], scores[:, c]) if truth[:, c].any() else np.nan
            for c in range(truth.shape[1])
        ]
    )


def macro_interval(
    truth: np.ndarray, scores: np.ndarray, patients: Sequence[Any], *, samples: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Macro AUROC with its 95 % interval by patient: ``{"value", "low", "high", "n"}``."""
    truth, scores = _checked(truth, scores)
    usable = ~np.isnan(auroc(truth, scores))
    rows = np.hstack([truth[:, usable], scores[:, usable]])
    if not usable.any():
        return {"value": None, "low": None, "high": None, "n": len(truth)}
    width = int(usable.sum())
    low, high = bootstrap_interval(
        rows,
        patients,
        samples,
        seed,
        statistic=lambda drawn: macro_auroc(drawn[:, :width], drawn[:, width:])[0],
    )
    return {"value": macro_auroc(truth, scores)[0], "low": low, "high": high, "n": len(truth)}


def macro_difference(
    truth: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    patients: Sequence[Any],
    *,
    samples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Macro AUROC of ``first`` less that of ``second``, both resampled together by patient."""
    truth, first = _checked(truth, first)
    truth, second = _checked(truth, second)
    usable = ~np.isnan(auroc(truth, first))
    width = int(usable.sum())
    if width == 0:
        return {"value": None, "low": None, "high": None, "n": len(truth)}
    rows = np.hstack([truth[:, usable], first[:, usable], second[:, usable]])

    def of_rows(drawn: np.ndarray) -> float:
        y, one, two = drawn[:, :width], drawn[:, width : 2 * width], drawn[:, 2 * width :]
        return macro_auroc(y, one)[0] - macro_auroc(y, two)[0]

    low, high = bootstrap_interval(rows, patients, samples, seed, statistic=of_rows)
    return {"value": of_rows(rows), "low": low, "high": high, "n": len(truth)}


def label_rows(labels: Sequence[str], truth: np.ndarray, probabilities: np.ndarray) -> list[dict[str, Any]]:
    """One row a label: positives, AUROC, average precision (None where not defined)."""
    areas, precisions = auroc(truth, probabilities), average_precision(truth, probabilities)
    return [
        {
            "label": label,
            "n_pos": int(truth[:, c].sum()),
            "auroc": None if np.isnan(areas[c]) else round(float(areas[c]), 4),
            "auprc": None if np.isnan(precisions[c]) else round(float(precisions[c]), 4),
        }
        for c, label in enumerate(labels)
    ]


def _checked(truth: Any, scores: Any) -> tuple[np.ndarray, np.ndarray]:
    y, s = np.asarray(truth), np.asarray(scores, dtype=np.float64)
    if y.ndim != 2 or y.shape != s.shape or len(y) == 0:
        raise DataError("labels and scores", seen=(y.shape, s.shape), expected="(N, C) both, N >= 1")
    if not np.isfinite(s).all():
        raise DataError("scores hold NaN or infinity")
    return y, s
