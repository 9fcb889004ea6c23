"""The arms of the evidence: one start, one data order, one part left out each."""

from __future__ import annotations

import pytest

from code_search.ablation import ARMS, FULL, ablation_arms, fresh_copy
from code_search.prepared import load_prepared, prepare, save_prepared, starting_encoder
from core.errors import DataError


@pytest.fixture(scope="module")
def prepared(library):
    return prepare(library, encoder="static", vocabulary=600, min_frequency=2, code_length=48, text_length=16)


@pytest.fixture(scope="module")
def start(prepared):
    return starting_encoder(prepared, encoder="static", seed=3, dim=16, vectors="random", dropout=0.1)


SETTINGS = {"steps": 6, "batch_size": 16, "queue_size": 32, "momentum": 0.9, "learning_rate": 0.01}


def arms(prepared, start, library):
    return ablation_arms(
        prepared,
        lambda seed: fresh_copy(start),
        library,
        library,
        queries=40,
        settings=SETTINGS | {"validation_queries": 20},
        validate_every=1000,
        progress=False,
    )


def test_every_arm_measures_the_same_metrics_and_a_seed_fixes_them(prepared, start, library):
    before = start.encode_queries(["read a file"]).copy()
    found = {arm: run(1) for arm, run in arms(prepared, start, library).items()}
    assert found.keys() == ARMS.keys()
    for values in found.values():
        assert values.keys() == {"mrr_shown", "mrr_hidden"}
        assert all(0 < value <= 1 for value in values.values())
    assert len({tuple(values.values()) for values in found.values()}) > 1
    assert arms(prepared, start, library)[FULL](1) == found[FULL]
    assert (start.encode_queries(["read a file"]) == before).all(), "the start was trained"


def test_no_arm_but_the_full_one_is_empty():
    assert ARMS[FULL] == {}
    assert all(changes for arm, changes in ARMS.items() if arm != FULL)


def test_what_was_prepared_is_read_back(prepared, tmp_path):
    save_prepared(prepared, tmp_path)
    again = load_prepared(tmp_path)
    assert (again.code_length, again.text_length) == (48, 16)
    assert (again.pairs.code == prepared.pairs.code).all()
    assert again.tokenizer.text_ids(["def read(file)"], 16) == prepared.tokenizer.text_ids(
        ["def read(file)"], 16
    )


def test_a_starting_encoder_is_fixed_by_its_seed(prepared):
    def vector(seed):
        encoder = starting_encoder(prepared, encoder="static", seed=seed, dim=8, vectors="random")
        return encoder.encode_queries(["read a file"]).tolist()

    assert vector(1) == vector(1) != vector(2)


def test_a_folder_without_prepared_pairs_is_named(tmp_path):
    with pytest.raises(DataError, match=r"prepared\.json"):
        load_prepared(tmp_path)
