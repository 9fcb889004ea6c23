"""Probes: what a linear model or the nearest neighbours can read from frozen embeddings, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from core.errors import ConfigError, DataError
from core.evaluation.bootstrap import bootstrap_interval

Metric = Literal["accuracy", "balanced_accuracy", "auroc", "average_precision"]


@dataclass(frozen=True)
class Probe:
    """Score of a probe on the test rows, its interval, and the class probabilities (n, C) behind it.

    ``classes`` are the labels of the columns; with multi-label targets the column numbers.
    """

    metric: str
    value: float
    low: float
    high: float
    n: int
    scores: np.ndarray = field(repr=False)
    classes: list[Any] = field(repr=False)


def linear_probe(
    train_x: Any,
    train_y: Any,
    test_x: Any,
    test_y: Any,
    *,
    metric: Metric = "balanced_accuracy",
    groups: Sequence[Any] | None = None,
    regularisation: float = 1.0,
    seed: int = 0,
    samples: int = 1000,
) -> Probe:
    """Logistic regression on standardised embeddings, fitted on train rows and scored on test rows.

    Args:
        train_x, test_x: (N, d) and (M, d) finite embeddings.
        train_y, test_y: class labels (N,), (M,), or multi-label 0/1 (N, C), (M, C): then one classifier a
            column, for columns with both values in train.
        metric: "accuracy" or "balanced_accuracy" (single label); "auroc" or "average_precision" (macro over
            the classes that have both outcomes in the rows scored).
        groups: (M,) of the test rows, for the interval (patients, scenes).
        regularisation: inverse strength C of the L2 penalty.

    Raises:
        DataError: shapes that do not fit, non-finite embeddings, one class in train.

    >>> x = np.array([[0.0], [0.1], [1.0], [1.1]])
    >>> linear_probe(x, [0, 0, 1, 1], x, [0, 0, 1, 1], samples=50).value
    1.0
    """
    from sklearn.linear_model import LogisticRegression

    def build() -> Any:
        return LogisticRegression(C=regularisation, max_iter=2000, random_state=seed)

    return _probe(build, True, train_x, train_y, test_x, test_y, metric, groups, seed, samples)


def knn_probe(
    train_x: Any,
    train_y: Any,
    test_x: Any,
    test_y: Any,
    *,
    k: int = 20,
    temperature: float = 0.07,
    metric: Metric = "balanced_accuracy",
    groups: Sequence[Any] | None = None,
    seed: int = 0,
    samples: int = 1000,
) -> Probe:
    """Vote of the k most similar train rows by cosine, weighted exp(similarity / temperature).

    Wu et al., "Unsupervised feature learning via non-parametric instance discrimination", CVPR 2018,
    section 3.4. Arguments and errors as in ``linear_probe``; ``k`` is cut to the number of train rows.

    >>> x = np.array([[0.0, 1.0], [0.1, 1.0], [1.0, 0.0], [1.0, 0.1]])
    >>> knn_probe(x, [0, 0, 1, 1], x, [0, 0, 1, 1], k=2, samples=50).value
    1.0
    """
    from sklearn.neighbors import KNeighborsClassifier

    if k < 1 or temperature <= 0:
        raise ConfigError("(k, temperature)", seen=(k, temperature), expected="k >= 1 and temperature > 0")

    def build() -> Any:
        return KNeighborsClassifier(
            n_neighbors=min(k, len(train_x)),
            metric="cosine",
            algorithm="brute",
            weights=lambda distance: np.exp(-distance / temperature),  # exp(s/t) up to a factor that cancels
        )

    return _probe(build, False, train_x, train_y, test_x, test_y, metric, groups, seed, samples)


def score(metric: Metric, truth: np.ndarray, scores: np.ndarray) -> float:
    """One metric of class scores; NaN where it is not defined on these rows.

    Args:
        truth: (n,) class numbers, or (n, C) of 0/1.
        scores: (n, C).

    >>> score("accuracy", np.array([0, 1]), np.array([[0.9, 0.1], [0.2, 0.8]]))
    1.0
    """
    from sklearn.metrics import average_precision_score, recall_score, roc_auc_score

    if metric in ("accuracy", "balanced_accuracy"):
        if truth.ndim != 1:
            raise ConfigError(
                "probe metric", seen=metric, expected="auroc or average_precision, for multi-label"
            )
        chosen = scores.argmax(axis=1)
        if metric == "accuracy":
            return float((chosen == truth).mean())
        return float(recall_score(truth, chosen, labels=np.unique(truth), average="macro", zero_division=0))
    if metric not in ("auroc", "average_precision"):
        expected = "accuracy, balanced_accuracy, auroc or average_precision"
        raise ConfigError("probe metric", seen=metric, expected=expected)
    outcomes = truth if truth.ndim == 2 else truth[:, None] == np.arange(scores.shape[1])
    one: Callable[..., float] = roc_auc_score if metric == "auroc" else average_precision_score
    usable = [c for c in range(scores.shape[1]) if 0 < outcomes[:, c].sum() < len(outcomes)]
    return float(np.mean([one(outcomes[:, c], scores[:, c]) for c in usable])) if usable else float("nan")


def _probe(
    build: Callable[[], Any],
    standardise: bool,
    train_x: Any,
    train_y: Any,
    test_x: Any,
    test_y: Any,
    metric: Metric,
    groups: Sequence[Any] | None,
    seed: int,
    samples: int,
) -> Probe:
    x, y = _checked(train_x, train_y, "train")
    x_test, y_test = _checked(test_x, test_y, "test")
    if x.shape[1] != x_test.shape[1] or y.shape[1:] != y_test.shape[1:]:
        raise DataError("probe: train and test", seen=(x.shape, x_test.shape), expected="the same columns")
    if standardise:
        mean, spread = x.mean(axis=0), x.std(axis=0)
        x, x_test = ((rows - mean) / np.where(spread > 0, spread, 1) for rows in (x, x_test))
    if y.ndim == 1:
        classes, code = np.unique(y, return_inverse=True)
        unknown = sorted(set(y_test.tolist()) - set(classes.tolist()))
        if len(classes) < 2 or unknown:
            raise DataError(
                "probe: labels",
                seen=f"{len(classes)} in train, only in test: {unknown[:5]}",
                expected="two or more in train, and no others in test",
                remedy="split so that train holds every class",
            )
        scores = build().fit(x, code).predict_proba(x_test)
        truth, names = np.searchsorted(classes, y_test), classes.tolist()
    else:
        names = [c for c in range(y.shape[1]) if 0 < y[:, c].sum() < len(y)]
        if not names:
            raise DataError("probe: labels", expected="a column with both values in train")
        scores = np.stack([build().fit(x, y[:, c]).predict_proba(x_test)[:, 1] for c in names], axis=1)
        truth = y_test[:, names].astype(np.int64)
    columns = truth.reshape(len(truth), -1).shape[1]
    rows = np.hstack([truth.reshape(len(truth), -1), scores])

    def of_rows(drawn: np.ndarray) -> float:
        labels = drawn[:, :columns].astype(np.int64)
        return score(metric, labels[:, 0] if truth.ndim == 1 else labels, drawn[:, columns:])

    low, high = bootstrap_interval(rows, groups, samples, seed, statistic=of_rows)
    return Probe(metric, of_rows(rows), low, high, len(truth), scores, names)


def _checked(x: Any, y: Any, part: str) -> tuple[np.ndarray, np.ndarray]:
    rows = np.asarray(x.detach().cpu() if hasattr(x, "detach") else x, dtype=np.float64)
    labels = np.asarray(y.detach().cpu() if hasattr(y, "detach") else y)
    if rows.ndim != 2 or labels.ndim not in (1, 2) or len(labels) != len(rows) or len(rows) == 0:
        raise DataError(
            f"probe: {part}", seen=(rows.shape, labels.shape), expected="(N, d) and (N,) or (N, C)"
        )
    if not np.isfinite(rows).all():
        bad = int((~np.isfinite(rows)).any(axis=1).sum())
        raise DataError(f"probe: {part} embeddings", seen=f"{bad} row(s) with NaN or inf", expected="numbers")
    return rows, labels
