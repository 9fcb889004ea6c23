"""Scores of multi-label classification, segmentation and change, over whole sets and never over batches."""

from __future__ import annotations

from typing import Any

import numpy as np

from core.errors import DataError


def average_precision(truth: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """mAP of multi-label scores over the whole set.

    The published evaluation averages over batches, which depends on their size; this does not.

    Args:
        truth: (N, C) of 0 and 1. scores: (N, C), higher is more likely.

    Returns:
        ``micro`` over all (row, class) pairs; ``macro`` over the classes that have both outcomes.

    >>> average_precision(np.array([[1, 0], [0, 1]]), np.array([[0.9, 0.2], [0.1, 0.8]]))
    {'micro': 1.0, 'macro': 1.0}
    """
    from sklearn.metrics import average_precision_score

    y = np.asarray(truth).astype(np.int64)
    if y.shape != np.shape(scores) or y.ndim != 2:
        raise DataError("mAP: truth and scores", seen=(y.shape, np.shape(scores)), expected="(N, C) both")
    usable = [c for c in range(y.shape[1]) if 0 < y[:, c].sum() < len(y)]
    macro = [float(average_precision_score(y[:, c], scores[:, c])) for c in usable]
    micro = (
        float(average_precision_score(y.ravel(), np.ravel(scores))) if 0 < y.sum() < y.size else float("nan")
    )
    return {"micro": micro, "macro": float(np.mean(macro)) if macro else float("nan")}


def f1_scores(truth: np.ndarray, scores: np.ndarray, threshold: float = 0.5) -> dict[str, float]:
    """F1 of multi-label scores at a threshold, micro and macro; a class never predicted nor present counts 0."""
    y, found = np.asarray(truth).astype(bool), np.asarray(scores) >= threshold
    hits, predicted, present = (y & found).sum(0), found.sum(0), y.sum(0)
    bound = np.maximum(predicted + present, 1)
    return {
        "micro": float(2 * hits.sum() / max(predicted.sum() + present.sum(), 1)),
        "macro": float((2 * hits / bound).mean()),
    }


def confusion_matrix(truth: np.ndarray, found: np.ndarray, classes: int, *, ignore: int = 255) -> np.ndarray:
    """(classes, classes) counts, rows by truth, over pixels whose truth is not ``ignore``.

    >>> confusion_matrix(np.array([0, 1, 255]), np.array([0, 0, 1]), 2).tolist()
    [[1, 0], [1, 0]]
    """
    y, p = np.asarray(truth).ravel().astype(np.int64), np.asarray(found).ravel().astype(np.int64)
    kept = y != ignore
    y, p = y[kept], p[kept]
    if len(y) and (y.min() < 0 or y.max() >= classes or p.min() < 0 or p.max() >= classes):
        raise DataError(
            "confusion",
            seen=(int(y.min()), int(y.max()), int(p.max())),
            expected=f"classes 0 to {classes - 1}",
        )
    return np.bincount(y * classes + p, minlength=classes**2).reshape(classes, classes)


def segmentation_scores(confusion: np.ndarray) -> dict[str, Any]:
    """Scores of a confusion added up over a whole test set.

    Returns:
        ``iou``, ``f1``, ``precision``, ``recall`` a class (NaN where a class is in neither); ``miou`` over the
        classes in truth or answer; ``miou_all`` with absent classes as 0; ``accuracy`` of pixels.

    >>> round(segmentation_scores(np.array([[3, 1], [0, 4]]))["miou"], 3)
    0.775
    """
    counts = np.asarray(confusion, dtype=np.float64)
    hits, truth, found = np.diag(counts), counts.sum(1), counts.sum(0)

    def share(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
        return np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0)

    iou = share(hits, truth + found - hits)
    known = np.isfinite(iou)
    return {
        "iou": iou,
        "f1": share(2 * hits, truth + found),
        "precision": share(hits, found),
        "recall": share(hits, truth),
        "miou": float(iou[known].mean()) if known.any() else float("nan"),
        "miou_all": float(np.nan_to_num(iou).mean()),
        "accuracy": float(hits.sum() / counts.sum()) if counts.sum() else float("nan"),
    }


def object_scores(
    truth: np.ndarray, found: np.ndarray, *, min_area: int = 1, overlap: float = 0.5
) -> dict[str, int]:
    """Objects of a binary mask that were found: 8-neighbour components, 255 in ``truth`` ignored.

    An object of the truth is a hit where at least ``overlap`` of its area is covered; an object of the answer
    that touches no object of the truth is false.

    >>> object_scores(np.array([[1, 0, 0, 0]]), np.array([[1, 0, 0, 1]]))
    {'hits': 1, 'misses': 0, 'false': 1}
    """
    from scipy.ndimage import label

    square = np.ones((3, 3), dtype=int)
    answer = (found == 1) & (truth != 255)
    objects, count = label(truth == 1, square)
    answers, many = label(answer, square)
    area = np.bincount(objects.ravel(), minlength=count + 1)[1:]
    covered = np.bincount(objects[answer], minlength=count + 1)[1:]
    real = area >= min_area
    hits = int((real & (covered >= overlap * area)).sum())
    size = np.bincount(answers.ravel(), minlength=many + 1)[1:]
    touching = np.zeros(many + 1, dtype=bool)
    touching[np.unique(answers[truth == 1])] = True
    return {
        "hits": hits,
        "misses": int(real.sum()) - hits,
        "false": int(((size >= min_area) & ~touching[1:]).sum()),
    }
