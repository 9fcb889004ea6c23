"""Min-max fusion, and the fit of weights."""

from __future__ import annotations

import numpy as np
import pytest

from code_search.fuse import fit_weights, hybrid, unit_range, weighted
from core.errors import ConfigError, DataError


def test_each_query_is_scaled_on_its_own():
    scores = np.array([[1.0, 3.0, 2.0], [10.0, 10.0, 10.0], [-5.0, 0.0, 5.0]])
    np.testing.assert_allclose(unit_range(scores), [[0, 1, 0.5], [0, 0, 0], [0, 0.5, 1]])
    assert unit_range(np.zeros((2, 0))).shape == (2, 0)


def test_ends_of_the_weight_are_the_single_rankings():
    rng = np.random.default_rng(0)
    dense, lexical = rng.normal(size=50), rng.gamma(1, size=50)
    assert (np.argsort(hybrid(dense, lexical, 1.0)) == np.argsort(dense)).all()
    assert (np.argsort(hybrid(dense, lexical, 0.0)) == np.argsort(lexical)).all()


def test_fusion_ignores_the_scale_of_either_ranking():
    rng = np.random.default_rng(1)
    dense, lexical = rng.normal(size=20), rng.gamma(1, size=20)
    np.testing.assert_allclose(
        hybrid(dense, lexical, 0.7), hybrid(dense * 3 - 5, lexical * 100, 0.7), rtol=1e-4, atol=1e-6
    )


def test_without_a_vector_words_stand_in():
    dense, lexical = np.array([0.9, 0.1, 0.0]), np.array([0.0, 0.0, 5.0])
    fused = hybrid(dense, lexical, 0.7, np.array([True, True, False]))
    np.testing.assert_allclose(fused, [0.7, 0.0, 1.0])
    np.testing.assert_allclose(hybrid(dense, lexical, 0.7, np.zeros(3, bool)), unit_range(lexical))


@pytest.mark.parametrize("weight", [-0.1, 1.1, float("nan")])
def test_a_weight_outside_the_range_is_refused(weight):
    with pytest.raises(ConfigError, match="0 to 1"):
        hybrid(np.ones(2), np.ones(2), weight)


def test_scores_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match="one shape"):
        hybrid(np.ones(2), np.ones(3))
    with pytest.raises(DataError, match="finite"):
        hybrid(np.array([np.nan, 1.0]), np.ones(2))


def test_the_fit_trusts_what_ranks_well_and_is_the_best_of_its_neighbours():
    rng = np.random.default_rng(2)
    truth = np.arange(40)
    good = np.eye(40) + 0.4 * rng.normal(size=(40, 40))
    noise, flat = rng.normal(size=(40, 40)), np.ones((40, 40))
    pool = {"good": good, "against": -good, "noise": noise, "flat": flat}
    found = fit_weights([pool, pool], [truth, truth])
    assert found["good"] > 10 * found["noise"]
    assert (found["against"], found["flat"]) == (0, 0)

    def loss(weights):
        logits = weighted(weights, pool).astype(np.float64)
        likely = logits[truth, truth] - np.log(np.exp(logits).sum(axis=1))
        return -likely.mean() + 1e-3 * (weights["good"] * np.sqrt(good.var(axis=1).mean())) ** 2

    for step in (0.98, 1.02):
        assert loss(found) < loss({**found, "good": step * found["good"]})


def test_equal_weights_whatever_the_unit_of_a_score():
    rng = np.random.default_rng(3)
    pool = {"a": np.eye(20) + rng.normal(size=(20, 20)), "b": np.eye(20) + rng.normal(size=(20, 20))}
    plain = fit_weights([pool], [range(20)])
    scaled = fit_weights([{"a": pool["a"] * 1000 + 7, "b": pool["b"]}], [range(20)])
    assert scaled["a"] * 1000 == pytest.approx(plain["a"], rel=1e-2)
    assert scaled["b"] == pytest.approx(plain["b"], rel=1e-2)


@pytest.mark.parametrize(
    ("pools", "relevant"),
    [
        ([], []),
        ([{"a": np.ones((2, 3)), "b": np.ones((2, 2))}], [[0, 1]]),
        ([{"a": np.full((2, 2), np.nan)}], [[0, 1]]),
    ],
)
def test_validation_scores_that_do_not_fit_are_refused(pools, relevant):
    with pytest.raises(DataError, match="validation scores"):
        fit_weights(pools, relevant)
    with pytest.raises(DataError, match="scores"):
        weighted({"missing": 1.0}, {"a": np.ones(2)})
