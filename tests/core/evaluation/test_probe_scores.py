from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from core.errors import ConfigError, DataError
from core.evaluation.probes import knn_probe, linear_probe, score


def blobs(n: int, classes: int, noise: float, seed: int):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    centres = np.random.default_rng(9).normal(size=(classes, 6))
    return centres[y] + noise * rng.normal(size=(n, 6)), y


@pytest.mark.parametrize("probe", [linear_probe, knn_probe])
def test_separated_classes_are_read_and_noise_is_not(probe):
    x, y = blobs(90, 3, 0.1, 0)
    test_x, test_y = blobs(60, 3, 0.1, 1)
    good = probe(x, y, test_x, test_y, samples=100)
    assert good.value == 1.0
    assert (good.low, good.high, good.n) == (1.0, 1.0, 60)
    noise = np.random.default_rng(2).normal(size=test_x.shape)
    bad = probe(x, y, noise, test_y, samples=100)
    assert bad.low < 1 / 3 + 0.15
    assert bad.low <= bad.value <= bad.high


def test_named_classes_and_scores():
    x, y = blobs(60, 2, 0.1, 0)
    names = np.array(["benign", "malign"])[y]
    probe = linear_probe(torch.tensor(x), names, x, names, metric="auroc", samples=20)
    assert probe.classes == ["benign", "malign"]
    assert probe.scores.shape == (60, 2)
    np.testing.assert_allclose(probe.scores.sum(axis=1), 1)


def test_multi_label_leaves_out_columns_without_both_values():
    x, y = blobs(80, 2, 0.3, 0)
    targets = np.stack([y, 1 - y, np.zeros_like(y)], axis=1)
    probe = linear_probe(x, targets, x, targets, metric="auroc", samples=20)
    assert probe.classes == [0, 1]
    assert probe.value > 0.95
    assert linear_probe(x, targets, x, targets, metric="average_precision", samples=5).value > 0.9


def test_groups_widen_the_interval():
    x, y = blobs(400, 2, 1.5, 0)
    test_x, test_y = blobs(20, 2, 1.5, 3)
    repeated = np.repeat(np.arange(20), 10)
    alone = linear_probe(x, y, test_x[repeated], test_y[repeated], samples=200)
    grouped = linear_probe(x, y, test_x[repeated], test_y[repeated], groups=repeated, samples=200)
    assert grouped.value == alone.value
    assert grouped.high - grouped.low > 1.5 * (alone.high - alone.low)


def test_metrics_agree_with_scikit_learn():
    rng = np.random.default_rng(0)
    truth, scores = rng.integers(0, 3, 50), rng.random((50, 3))
    scores /= scores.sum(axis=1, keepdims=True)
    assert score("accuracy", truth, scores) == pytest.approx((scores.argmax(1) == truth).mean())
    expected = balanced_accuracy_score(truth, scores.argmax(1))
    assert score("balanced_accuracy", truth, scores) == pytest.approx(expected)
    expected = roc_auc_score(truth, scores, multi_class="ovr", average="macro")
    assert score("auroc", truth, scores) == pytest.approx(expected)


def test_balanced_accuracy_is_over_the_classes_that_are_there():
    truth, scores = np.array([0, 0]), np.array([[0.9, 0.1], [0.1, 0.9]])
    assert score("balanced_accuracy", truth, scores) == 0.5


def test_a_metric_without_both_outcomes_is_nan():
    assert np.isnan(score("auroc", np.zeros((3, 1)), np.zeros((3, 1))))


def test_a_constant_column_does_no_harm():
    x, y = blobs(40, 2, 0.1, 0)
    x = np.hstack([x, np.full((40, 1), 7.0)])
    assert linear_probe(x, y, x, y, samples=5).value == 1.0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"train_y": [0, 0, 0, 0]}, "two or more in train"),
        ({"test_y": [0, 1, 2, 0]}, r"only in test: \[2\]"),
        ({"train_x": np.zeros((3, 2))}, r"\(N, d\)"),
        ({"train_x": np.full((4, 2), np.nan)}, "4 row"),
        ({"test_x": np.zeros((4, 3))}, "same columns"),
        ({"train_y": np.zeros((4, 1)), "test_y": np.zeros((4, 1))}, "both values in train"),
    ],
)
def test_wrong_input_is_explained(change, told):
    given = {"train_x": np.eye(4, 2), "train_y": [0, 1, 0, 1], "test_x": np.eye(4, 2), "test_y": [0, 1, 0, 1]}
    metric = "auroc" if np.ndim(change.get("train_y", 0)) == 2 else "balanced_accuracy"
    with pytest.raises(DataError, match=told):
        linear_probe(**{**given, **change}, metric=metric)


def test_wrong_settings_are_explained():
    with pytest.raises(ConfigError, match="k >= 1"):
        knn_probe(np.eye(2), [0, 1], np.eye(2), [0, 1], k=0)
    with pytest.raises(ConfigError, match="multi-label"):
        score("accuracy", np.zeros((3, 2)), np.zeros((3, 2)))
    with pytest.raises(ConfigError, match="balanced_accuracy"):
        score("f1", np.zeros(3), np.zeros((3, 2)))  # type: ignore[arg-type]
