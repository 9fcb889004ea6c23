"""What a model sees of a request: checked rows, or a sentence that says what is wrong with which row."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from core.errors import ServingError
from core.tracking.serving import Field, guarded, read_request

QUERY = Field("query", "text", longest=20)
TOP = Field("top", "integer", required=False, default=10, low=1, high=100)
TEXT_FIELDS = [QUERY, TOP]
SIGNAL = Field("signal", "array", shape=(None, 3), longest=30)


@pytest.mark.parametrize(
    "request_",
    [
        [{"query": "a"}, {"query": "b", "top": 3}],
        pd.DataFrame({"query": ["a", "b"], "top": [math.nan, 3.0]}),
        pd.DataFrame({"query": ["a", "b"], "top": [None, 3]}, dtype=object),
        {"query": ["a", "b"], "top": [None, 3]},
        {"query": np.array(["a", "b"]), "top": np.array([math.nan, 3.0])},
    ],
)
def test_every_form_gives_the_same_rows(request_):
    rows = read_request(request_, TEXT_FIELDS)
    assert rows == [{"query": "a", "top": 10}, {"query": "b", "top": 3}]
    assert type(rows[1]["top"]) is int


@pytest.mark.parametrize(
    "request_", ["a", ["a"], np.array(["a"]), {"query": "a"}, pd.DataFrame({"query": ["a"]})]
)
def test_one_required_field_needs_no_name(request_):
    assert read_request(request_, TEXT_FIELDS) == [{"query": "a", "top": 10}]


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        ([], "empty"),
        (pd.DataFrame({"query": []}), "empty"),
        ([{"query": "a"}] * 6, "at most 5"),
        ([{"query": "a", "limit": 3}], "unknown field 'limit'"),
        ([{"top": 3}], "query in row 0 is missing"),
        ([{"query": "ok"}, {"query": None}], "query in row 1 is missing"),
        ([{"query": math.nan}], "query in row 0 is missing"),
        ([{"query": " \n"}], "query in row 0 is empty"),
        ([{"query": 5}], "expected text"),
        ([{"query": ["a"]}], "expected text"),
        ([{"query": "a" * 21}], "at most 20 characters"),
        ([{"query": "a", "top": 0}], "between 1 and 100"),
        ([{"query": "a", "top": 2.5}], "a whole number"),
        ([{"query": "a", "top": True}], "a whole number"),
        ([{"query": "a", "top": "3"}], "a whole number"),
        ([{"query": "a", "top": math.inf}], "a whole number"),
        ([{"query": "a"}, "b"], "mixes"),
        ({"query": ["a", "b"], "top": [1]}, "different lengths"),
    ],
)
def test_bad_rows_are_refused_with_a_sentence(request_, sentence):
    with pytest.raises(ServingError, match=sentence):
        read_request(request_, TEXT_FIELDS, max_rows=5)


@pytest.mark.parametrize(
    "value", [[[1, 2, 3], [4, 5, 6]], np.ones((2, 3), dtype=np.float32), np.ones((2, 3), dtype=np.int16)]
)
def test_arrays_become_float64(value):
    (row,) = read_request([{"signal": value}], [SIGNAL])
    assert row["signal"].shape == (2, 3)
    assert row["signal"].dtype == np.float64


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("/etc/passwd", "opens no file or URL"),
        ("file:///etc/passwd", "opens no file or URL"),
        (b"http://x", "opens no file or URL"),
        ([[1, 2, math.nan]], "NaN or infinity"),
        ([[1, 2, math.inf]], "NaN or infinity"),
        ([[1, 2], [3]], "ragged"),
        ([["a", "b", "c"]], "array of finite numbers"),
        ([[1, 2, {}]], "not a number"),
        ([[True, False, True]], "array of finite numbers"),
        ([[1, 2]], r"expected \('any', 3\)"),
        ([], "shape"),
        (np.ones((11, 3)), "at most 30"),
    ],
)
def test_bad_arrays_are_refused(value, sentence):
    with pytest.raises(ServingError, match=sentence):
        read_request([{"signal": value}], [SIGNAL])


def test_choices_and_booleans():
    fields = [
        Field("lang", "text", choices=("go", "ruby")),
        Field("exact", "boolean", required=False, default=False),
    ]
    assert read_request([{"lang": "go", "exact": True}], fields) == [{"lang": "go", "exact": True}]
    with pytest.raises(ServingError, match="one of go, ruby"):
        read_request([{"lang": "perl"}], fields)
    with pytest.raises(ServingError, match="true or false"):
        read_request([{"lang": "go", "exact": 1}], fields)


def test_guarded_turns_user_errors_into_status_400_and_lets_bugs_pass():
    from mlflow.exceptions import MlflowException

    @guarded
    def predict(error):
        raise error

    with pytest.raises(MlflowException, match="bad row") as caught:
        predict(ServingError("bad row"))
    assert caught.value.get_http_status_code() == 400
    with pytest.raises(ZeroDivisionError):
        predict(ZeroDivisionError())
