"""A linear multi-label classifier on frozen embeddings, solved to its optimum: the probe, and the served class head."""

from __future__ import annotations

import numpy as np

from core.errors import DataError


def fit_linear(
    x: np.ndarray, y: np.ndarray, *, regularisation: float = 1.0, most: int = 200
) -> tuple[np.ndarray, np.ndarray]:
    """One logistic regression a class, all at once, with an L2 penalty on standardised embeddings.

    A class that every row has, or none, gets zero weights and the log odds of its share with half a row each way.

    Args:
        x: (N, d) finite. y: (N, C) of 0 and 1. regularisation: of each class, in rows: the larger, the flatter.
        most: iterations of L-BFGS.

    Returns:
        weights (C, d) and bias (C,) float32 for embeddings as they are.

    >>> w, b = fit_linear(np.array([[0.0], [1.0]]), np.array([[0], [1]]), regularisation=0.1)
    >>> bool(w[0, 0] > 0), w.shape
    (True, (1, 1))
    """
    from scipy.optimize import minimize

    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or not len(x) or not np.isfinite(x).all():
        raise DataError("linear head", seen=(x.shape, y.shape), expected="(N, d) finite numbers and (N, C)")
    count, classes = y.shape
    mean, std = x.mean(0), x.std(0)
    std = np.where(std > 1e-8, std, 1.0)
    z = (x - mean) / std
    odds = np.log((y.sum(0) + 0.5) / (count - y.sum(0) + 0.5))
    both = (y.sum(0) > 0) & (y.sum(0) < count)
    weights, bias = np.zeros((classes, x.shape[1])), odds.copy()
    if both.any():
        target = y[:, both]
        width = int(both.sum())

        def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
            table = flat.reshape(width, -1)
            logits = z @ table[:, 1:].T + table[:, 0]
            loss = np.logaddexp(0, logits) - target * logits
            slope = (1 / (1 + np.exp(-np.clip(logits, -60, 60)))) - target
            gradient = np.concatenate(
                [slope.sum(0)[:, None], slope.T @ z + regularisation * table[:, 1:]], axis=1
            )
            return float(loss.sum() + regularisation / 2 * (table[:, 1:] ** 2).sum()), gradient.ravel()

        start = np.concatenate([odds[both][:, None], np.zeros((width, z.shape[1]))], axis=1)
        table = minimize(objective, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": most}).x
        table = table.reshape(width, -1)
        weights[both], bias[both] = table[:, 1:], table[:, 0]
    weights /= std
    return weights.astype(np.float32), (bias - weights @ mean).astype(np.float32)


def linear_scores(x: np.ndarray, weights: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """(N, C) probabilities."""
    return 1 / (1 + np.exp(-np.clip(x @ weights.T + bias, -60, 60)))
