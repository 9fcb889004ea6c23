from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from core.config import Settings
from core.data.digest import digest_files, digest_of, evaluation_digest
from core.errors import DataError


class Section(Settings):
    rate: float = 0.1


def test_files_count_by_name_and_content_and_not_by_place_or_order(tmp_path):
    first, second = tmp_path / "one", tmp_path / "two"
    (first / "d").mkdir(parents=True)
    (first / "a").write_text("1")
    (first / "d" / "b").write_text("2")
    shutil.copytree(first, second)
    digest = digest_files([first / "a", first / "d" / "b"], first)
    assert digest == digest_files([second / "d" / "b", second / "a"], second)
    (second / "a").write_text("3")
    assert digest != digest_files([second / "a", second / "d" / "b"], second)
    (second / "a").write_text("1")
    (second / "a").rename(second / "c")
    assert digest != digest_files([second / "c", second / "d" / "b"], second)


def test_files_outside_or_missing_are_refused(tmp_path):
    with pytest.raises(DataError, match="outside the root"):
        digest_files([tmp_path / ".." / "x"], tmp_path)
    with pytest.raises(DataError, match="cannot be read"):
        digest_files([tmp_path / "x"], tmp_path)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (1, 1.0),
        (1, True),
        ("1", 1),
        (None, "None"),
        ([1, [2]], [1, 2]),
        ({"a": 1}, {"a": 2}),
        ({"a": {"b": 1}}, {"a": 1, "b": 1}),
        (np.zeros(2), np.zeros((2, 1))),
        (np.zeros(2), np.zeros(2, np.float32)),
        (b"a", "a"),
        (pd.DataFrame({"a": [1], "b": [2]}), pd.DataFrame({"b": [2], "a": [1]})),
        (Section(), Section(rate=0.2)),
    ],
)
def test_different_values_differ(a, b):
    assert digest_of(a) != digest_of(b)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ({"a": 1, "b": [1, 2]}, {"b": (1, 2), "a": 1}),
        (np.float64(2.0), 2.0),
        (torch.ones(2), np.ones(2, np.float32)),
        (np.array(["x", None], dtype=object), ["x", None]),
        (Section(), {"rate": 0.1}),
        (np.arange(6).reshape(2, 3).T, np.arange(6).reshape(2, 3).T.copy()),
    ],
)
def test_equal_values_agree(a, b):
    assert digest_of(a) == digest_of(b)


def test_what_has_no_fixed_content_is_refused():
    with pytest.raises(TypeError, match="object"):
        digest_of({"a": object()})


def test_an_evaluation_set_is_its_items_truth_and_protocol():
    base = evaluation_digest(["a", "b"], [0, 1], protocol={"candidates": 10})
    assert base == evaluation_digest(("a", "b"), np.array([0, 1]), protocol={"candidates": 10})
    assert base != evaluation_digest(["b", "a"], [0, 1], protocol={"candidates": 10})
    assert base != evaluation_digest(["a", "b"], [1, 1], protocol={"candidates": 10})
    assert base != evaluation_digest(["a", "b"], [0, 1], protocol={"candidates": 11})
