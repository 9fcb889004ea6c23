from __future__ import annotations

import numpy as np
import pytest
import torch

from core.errors import ConfigError, DataError
from core.evaluation.zero_shot import class_prototypes, cosine, paired_probabilities, zero_shot_probabilities


def rows(n: int, d: int = 5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d))


def test_prototypes_are_unit_means_of_unit_prompts():
    prompts = [rows(3, seed=1), 100 * rows(2, seed=2)]
    found = class_prototypes(prompts)
    for group, prototype in zip(prompts, found, strict=True):
        mean = np.mean([p / np.linalg.norm(p) for p in group], axis=0)
        np.testing.assert_allclose(prototype, mean / np.linalg.norm(mean))


def test_probabilities_are_a_softmax_of_cosines():
    x, prototypes = rows(4), rows(3, seed=1)
    found = zero_shot_probabilities(x, prototypes, temperature=0.2)
    expected = np.exp(cosine(x, prototypes) / 0.2)
    np.testing.assert_allclose(found, expected / expected.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("temperature", [1e-4, 1e4])
def test_extreme_temperatures_stay_finite(temperature):
    found = zero_shot_probabilities(rows(4), rows(3, seed=1), temperature=temperature)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    pairs = paired_probabilities(rows(4), rows(3, seed=1), rows(3, seed=2), temperature=temperature)
    assert np.isfinite(pairs).all()


def test_pairs_are_a_softmax_of_two():
    x, present, absent = rows(4), rows(3, seed=1), rows(3, seed=2)
    a, b = np.exp(cosine(x, present) / 0.5), np.exp(cosine(x, absent) / 0.5)
    np.testing.assert_allclose(paired_probabilities(x, present, absent), a / (a + b))


def test_zero_rows_and_tensors():
    assert cosine(torch.zeros(1, 5, dtype=torch.bfloat16), rows(2)).tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize(
    "prompts", [[], [np.zeros((0, 3))], [np.zeros(3)], [np.ones((1, 2)), np.ones((1, 3))]]
)
def test_prompts_that_make_no_classes_are_refused(prompts):
    with pytest.raises(DataError, match="prompts"):
        class_prototypes(prompts)


def test_wrong_shapes_and_temperatures_are_refused():
    with pytest.raises(DataError, match=r"\(N, d\), \(C, d\)"):
        cosine(rows(2, 3), rows(2, 4))
    for call in (
        lambda: zero_shot_probabilities(rows(2), rows(2), temperature=0),
        lambda: paired_probabilities(rows(2), rows(2), rows(2), temperature=-1),
    ):
        with pytest.raises(ConfigError, match="temperature"):
            call()
