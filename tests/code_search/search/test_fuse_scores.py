"""Min-max fusion and the choice of its weight."""

from __future__ import annotations

import numpy as np
import pytest

from code_search.fuse import DENSE_WEIGHT, choose_weight, hybrid, unit_range
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


def test_the_weight_that_ranks_best_is_chosen():
    truth = np.arange(30)
    good = np.eye(30)
    noise = np.random.default_rng(2).random((30, 30))
    assert choose_weight(good, noise, truth)[0] >= 0.5
    assert choose_weight(noise, good, truth)[0] <= 0.5
    weight, curve = choose_weight(good, good, truth)
    assert weight == DENSE_WEIGHT
    assert set(curve.values()) == {1.0}


def test_ties_count_as_their_average():
    same = np.zeros((2, 4))
    _, curve = choose_weight(same, same, [0, 3], weights=(0.5,))
    assert curve[0.5] == pytest.approx(1 / 2.5)
