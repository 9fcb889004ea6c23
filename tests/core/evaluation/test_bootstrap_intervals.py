from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from core.errors import ConfigError, DataError
from core.evaluation.bootstrap import bootstrap_difference, bootstrap_interval


def coverage(make, truth: float, trials: int = 200) -> float:
    hits = 0
    for trial in range(trials):
        values, groups = make(np.random.default_rng(trial))
        low, high = bootstrap_interval(values, groups, samples=300, seed=trial)
        hits += low <= truth <= high
    return hits / trials


def test_independent_values_are_covered():
    assert 0.89 <= coverage(lambda rng: (rng.normal(size=60), None), 0.0) <= 0.99


def test_values_that_come_in_groups_are_covered_only_with_the_groups_named():
    def clustered(rng):
        groups = np.repeat(np.arange(30), 10)
        return rng.normal(size=30)[groups] + 0.1 * rng.normal(size=300), groups

    assert coverage(clustered, 0.0) >= 0.87
    assert coverage(lambda rng: (clustered(rng)[0], None), 0.0) <= 0.6


def test_the_interval_of_a_large_sample_is_the_normal_one():
    values = np.random.default_rng(0).normal(3.0, 2.0, 4000)
    half = norm.ppf(0.975) * values.std() / len(values) ** 0.5
    low, high = bootstrap_interval(values, samples=4000)
    assert low == pytest.approx(values.mean() - half, abs=0.006)
    assert high == pytest.approx(values.mean() + half, abs=0.006)


def test_groups_of_one_are_no_groups():
    values = np.random.default_rng(0).normal(size=50)
    assert bootstrap_interval(values, list(range(50))) == bootstrap_interval(values)


def test_a_statistic_sees_whole_groups():
    rows = np.stack([np.arange(12.0), np.repeat([0, 1, 2], 4)], axis=1)
    sizes = []

    def statistic(drawn):
        assert all((drawn[:, 1] == group).sum() % 4 == 0 for group in range(3))
        sizes.append(len(drawn))
        return float(drawn[:, 0].mean())

    low, high = bootstrap_interval(rows, rows[:, 1], samples=50, statistic=statistic)
    assert set(sizes) == {12}
    assert low < 5.5 < high


def test_the_mean_as_a_statistic_agrees_with_the_fast_path():
    values = np.random.default_rng(1).normal(size=80)
    slow = bootstrap_interval(values, samples=1500, statistic=lambda drawn: float(drawn.mean()))
    assert slow == pytest.approx(bootstrap_interval(values, samples=1500), abs=0.05)


def test_resamples_without_a_value_are_left_out():
    values = np.array([0.0, 1.0, 1.0])
    low, high = bootstrap_interval(
        values, statistic=lambda d: float("nan") if d.std() == 0 else float(d.mean())
    )
    assert 0 < low <= high < 1
    with pytest.raises(DataError, match="NaN on every resample"):
        bootstrap_interval(values, statistic=lambda d: float("nan"))


def test_pairing_removes_what_both_share():
    rng = np.random.default_rng(0)
    shared, noise = rng.normal(size=100), 0.1 * rng.normal(size=100)
    mean, low, high = bootstrap_difference(shared + 0.2 + noise, shared)
    assert low < 0.2 < high
    assert high - low < 0.06
    assert mean == pytest.approx(0.2, abs=0.03)


def test_the_same_seed_gives_the_same_interval():
    values = np.arange(20.0)
    assert bootstrap_interval(values, seed=1) == bootstrap_interval(values, seed=1)
    assert bootstrap_interval(values, seed=1) != bootstrap_interval(values, seed=2)


def test_one_group_has_no_spread():
    assert bootstrap_interval([1.0, 2.0], ["a", "a"]) == (1.5, 1.5)


@pytest.mark.parametrize(
    ("call", "kind", "told"),
    [
        (lambda: bootstrap_interval([]), DataError, "no values"),
        (lambda: bootstrap_interval([1.0, float("nan")]), DataError, "1 NaN"),
        (lambda: bootstrap_interval([1.0], ["a", "b"]), DataError, "groups"),
        (lambda: bootstrap_interval([1.0], samples=0), ConfigError, "samples"),
        (lambda: bootstrap_interval([1.0], level=1.0), ConfigError, "level"),
        (lambda: bootstrap_difference([1.0], [1.0, 2.0]), DataError, "same rows"),
    ],
)
def test_what_makes_no_interval_is_explained(call, kind, told):
    with pytest.raises(kind, match=told):
        call()
