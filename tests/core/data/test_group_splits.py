from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.data.splits import check_splits, group_split
from core.errors import ConfigError, DataError

NAMES = st.lists(st.text(min_size=1).filter(str.strip), min_size=3, max_size=60)
THREE = {"train": 0.7, "valid": 0.2, "test": 0.1}


@given(groups=NAMES, seed=st.integers(0, 5))
def test_groups_stay_together_and_every_split_is_met(groups, seed):
    distinct = len(set(groups))
    if distinct < 3:
        with pytest.raises(DataError, match="at least one for each"):
            group_split(groups, THREE, seed)
        return
    splits = group_split(groups, THREE, seed)
    check_splits(groups, splits)
    of_group = dict(zip(groups, splits, strict=True))
    for split, share in THREE.items():
        count = sum(found == split for found in of_group.values())
        assert count >= 1
        assert abs(count - share * distinct) <= 2


@given(groups=st.lists(st.integers(0, 30), min_size=20, max_size=60), data=st.data())
def test_order_of_rows_does_not_matter(groups, data):
    if len(set(groups)) < 3:
        return
    shuffled = data.draw(st.permutations(groups))
    first = dict(zip(groups, group_split(groups, THREE), strict=True))
    assert first == dict(zip(shuffled, group_split(shuffled, THREE), strict=True))


def test_fractions_are_met_as_closely_as_whole_groups_allow():
    splits = group_split([f"p{i}" for i in range(1000)], THREE)
    assert [splits.count(name) for name in THREE] == [700, 200, 100]


def test_another_seed_gives_another_split():
    groups = list(range(50))
    assert group_split(groups, THREE, 0) == group_split(groups, THREE, 0) != group_split(groups, THREE, 1)


def test_one_more_group_moves_at_most_one_over_each_boundary():
    groups = [f"p{i}" for i in range(100)]
    before = dict(zip(groups, group_split(groups, THREE), strict=True))
    after = dict(zip([*groups, "new"], group_split([*groups, "new"], THREE), strict=True))
    assert sum(before[group] != after[group] for group in groups) <= 2


@pytest.mark.parametrize(
    "fractions", [{}, {"a": 0.5, "b": 0.4}, {"a": 1.2, "b": -0.2}, {"a": 1.0, "b": 0.0}, {"a": math.nan}]
)
def test_fractions_that_make_no_whole_are_refused(fractions):
    with pytest.raises(ConfigError, match="sum to 1"):
        group_split([1, 2, 3], fractions)


@pytest.mark.parametrize("missing", [None, "", "  ", math.nan])
def test_a_missing_group_is_named_by_its_row(missing):
    with pytest.raises(DataError, match="group of row 1"):
        group_split(["a", missing, "b"], {"all": 1.0})
    with pytest.raises(DataError, match="group of row 1"):
        check_splits(["a", missing, "b"], ["x"] * 3)


def test_a_group_in_two_splits_is_named_with_both():
    with pytest.raises(DataError, match=r"1 group\(s\) in more than one split: p7 in test and train"):
        check_splits(["p7", "p8", "p7"], ["train", "train", "test"])


def test_at_most_five_groups_are_listed():
    groups = list(range(9)) * 2
    with pytest.raises(DataError, match=r"9 group\(s\)") as caught:
        check_splits(groups, ["train"] * 9 + ["test"] * 9)
    assert str(caught.value).count(" in test and train") == 5


def test_lengths_must_agree():
    with pytest.raises(DataError, match="one of each a row"):
        check_splits(["a"], ["train", "test"])
