"""The served model: what it answers to series of slices, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from mlflow.exceptions import MlflowException

from medical.ct.hashing import dhash
from medical.ct.index import HashIndex
from medical.ct.model import new_encoder
from medical.ct.serve import CTReduction, input_example, signature
from medical.ct.window import to_bytes

from .conftest import anatomy


@pytest.fixture(scope="module")
def model():
    encoder = new_encoder(
        encoder="resnet18", window="chest", size=32, seed=0, blocks=[1, 1, 1, 1], widths=[4, 4, 4, 8]
    )
    codes = np.stack([dhash(to_bytes(anatomy(k), "chest")) for k in (0, 9)])
    return CTReduction(encoder, HashIndex(codes, ["a", "b"], threshold=3, window="chest", hash_size=8))


def test_each_slice_gets_its_nearest_exemplar_and_an_embedding(model):
    series = [anatomy(0), anatomy(0), anatomy(9), anatomy(4)[::-1]]
    (answer,) = model.predict(None, [{"hounsfield": np.stack(series).tolist()}])
    slices = answer["slices"]
    assert [one["exemplar"] for one in slices[:3]] == ["a", "a", "b"]
    assert [one["duplicate"] for one in slices] == [True, True, True, False]
    assert [one["keep"] for one in slices] == [True, False, True, True]
    assert [one["first_like_it"] for one in slices] == [0, 0, 2, 3]
    assert all(len(one["embedding"]) == 8 for one in slices)
    assert slices[0]["embedding"] == pytest.approx(slices[1]["embedding"], abs=1e-6)


def test_the_input_example_fits_the_signature(model):
    answers = model.predict(None, input_example())
    assert [len(answer["slices"]) for answer in answers] == [2, 2]
    assert signature().inputs.input_names() == ["hounsfield"]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("/etc/passwd", "array of finite numbers"),
        ([[1.0, 2.0]], "shape"),
        (np.full((1, 32, 32), np.nan).tolist(), "NaN"),
        (np.full((1, 32, 32), 1e6).tolist(), "Hounsfield"),
        (np.zeros((1, 4, 4)).tolist(), "16 x 16"),
    ],
)
def test_what_is_no_series_is_refused_in_a_sentence(model, value, words):
    with pytest.raises(MlflowException, match=words):
        model.predict(None, [{"hounsfield": value}])
