"""What the embedding of slices is worth: AUC, F1 and accuracy on slice labels, with intervals by patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.errors import DataError
from core.evaluation.bootstrap import bootstrap_interval
from core.evaluation.probes import score


@dataclass(frozen=True)
class Scored:
    """One metric with its 95 % interval over patients, on n slices."""

    value: float
    low: float
    high: float
    n: int


def classification(
    truth: Any, probabilities: Any, patients: Sequence[Any] | None = None, samples: int = 1000, seed: int = 0
) -> dict[str, Scored]:
    """AUC (macro over classes), F1 (macro) and accuracy of class probabilities.

    Args:
        truth: (n,) 0 .. classes - 1. probabilities: (n, classes).
        patients: (n,) who is resampled whole.

    Raises:
        DataError: one class only.

    >>> found = classification([0, 0, 1, 1], [[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.2, 0.8]], samples=50)
    >>> found["auc"].value, found["f1"].value, found["accuracy"].value
    (1.0, 1.0, 1.0)
    """
    labels, scores = np.asarray(truth), np.asarray(probabilities, dtype=np.float64)
    if len(np.unique(labels)) < 2:
        raise DataError(
            "labels to score", seen=np.unique(labels).tolist(), expected="two classes",
            remedy="label more slices, or choose another data.seed for the split",
        )  # fmt: skip
    rows = np.column_stack([labels, scores])
    found = {}
    for name, one in _METRICS.items():
        low, high = bootstrap_interval(rows, patients, samples, seed, statistic=one)
        found[name] = Scored(one(rows), low, high, len(labels))
    return found


def class_metrics(truth: Any, probabilities: Any) -> dict[str, float]:
    """The numbers of `classification` without intervals."""
    rows = np.column_stack([np.asarray(truth), np.asarray(probabilities, dtype=np.float64)])
    return {name: one(rows) for name, one in _METRICS.items()}


def probe_probabilities(
    train_x: Any, train_y: Any, x: Any, regularisation: float = 0.1, seed: int = 0
) -> np.ndarray:
    """(n, classes) probabilities by logistic regression on standardised embeddings; classes weigh the same.

    Args:
        train_x, train_y: (m, d), (m,) 0 .. classes - 1. x: (n, d).
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(
        StandardScaler(),
        LogisticRegression(C=regularisation, max_iter=2000, class_weight="balanced", random_state=seed),
    )
    return np.asarray(model.fit(np.asarray(train_x, dtype=np.float64), train_y).predict_proba(x))


def is_labelled(labels: Any, splits: Sequence[str]) -> bool:
    """Whether train and test both hold two labels, so that a probe can be fitted and scored.

    >>> is_labelled([0, 1, 0, 1], ["train", "train", "test", "test"]), is_labelled([-1], ["train"])
    (True, False)
    """
    numbers, parts = np.asarray(labels), np.asarray(splits)
    found = [set(numbers[(parts == part) & (numbers >= 0)].tolist()) for part in ("train", "test")]
    return min(map(len, found)) >= 2 and found[1] <= found[0]


def _auc(rows: np.ndarray) -> float:
    return score("auroc", rows[:, 0].astype(np.int64), rows[:, 1:])


def _f1(rows: np.ndarray) -> float:
    from sklearn.metrics import f1_score

    truth = rows[:, 0].astype(np.int64)
    return float(f1_score(truth, rows[:, 1:].argmax(axis=1), average="macro", zero_division=0))


def _accuracy(rows: np.ndarray) -> float:
    return score("accuracy", rows[:, 0].astype(np.int64), rows[:, 1:])


_METRICS = {"auc": _auc, "f1": _f1, "accuracy": _accuracy}
