"""Token arrays of the pairs, groups of duplicates, and batches of one language."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_pairs import made_up_functions

from code_search.learn.batches import PairBatches
from code_search.learn.pairs import PairArrays, duplicate_groups, prepare_pairs, query_of
from code_search.model import build_tokenizer
from core.errors import ConfigError, DataError


@pytest.fixture(scope="module")
def functions():
    return made_up_functions(240, "train")


@pytest.fixture(scope="module")
def tokenizer(functions):
    types = ["identifier", "keyword", "separators", "operator", "integer"]
    return build_tokenizer("static", (f.code + f.documentation for f in functions), types, vocabulary=500)


@pytest.fixture(scope="module")
def pairs(functions, tokenizer) -> PairArrays:
    return prepare_pairs(functions, tokenizer, code_length=64, text_length=16)


def test_arrays_hold_what_the_tokenizer_says(functions, tokenizer, pairs) -> None:
    batch = PairBatches(pairs, tokenizer, 4, augment=False).of(np.array([5, 0, 17]), 0)
    for row, index in enumerate([5, 0, 17]):
        code = batch["code"][row][batch["code_mask"][row]].tolist()
        text = batch["text"][row][batch["text_mask"][row]].tolist()
        assert code == tokenizer.code_ids([functions[index].code], 64)[0]
        assert text == tokenizer.text_ids([functions[index].documentation], 16)[0]


def test_a_pool_and_saving_change_nothing(functions, tokenizer, pairs, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("code_search.learn.pairs._PART", 50)
    with ThreadPoolExecutor(2) as pool:
        elsewhere = prepare_pairs(functions, tokenizer, code_length=64, text_length=16, pool=pool)
    pairs.save(tmp_path / "p.npz")
    for other in (
        PairArrays.load(tmp_path / "p.npz"),
        elsewhere,
    ):
        for name in ("code", "code_ends", "types", "own", "text", "text_ends", "groups", "languages"):
            assert np.array_equal(getattr(pairs, name), getattr(other, name)), name
    with pytest.raises(DataError, match="is missing"):
        PairArrays.load(tmp_path / "none.npz")


def test_own_name_is_marked_once_a_piece(functions, tokenizer, pairs) -> None:
    stop = int(pairs.code_ends[0])
    marked = pairs.own[:stop]
    name = tokenizer.code_ids([functions[0].name], 16)[0][1:]
    assert pairs.code[:stop][marked > 0].tolist() == name
    assert marked[marked > 0].tolist() == [1] + [2] * (len(name) - 1)


def test_first_sentence_is_the_query() -> None:
    assert query_of("Open a file.\nThen close it.") == "Open a file."
    assert query_of("Version 2.0 of\nthe reader") == "Version 2.0 of the reader"


def test_groups_join_equal_code_or_equal_query() -> None:
    assert duplicate_groups(["a", "b", "c", "b"], ["x", "y", "x", "z"]).tolist() == [0, 1, 0, 1]
    assert duplicate_groups([], []).tolist() == []
    chain = duplicate_groups(["a", "a", "b", "b", "c"], ["1", "2", "2", "3", "3"])
    assert set(chain.tolist()) == {0}


def test_layout_of_code_does_not_hide_a_duplicate(functions, tokenizer) -> None:
    twin = replace(
        functions[0], code=functions[0].code.replace("    ", "\t"), documentation="Quite another text."
    )
    groups = prepare_pairs([functions[0], twin], tokenizer, code_length=64, text_length=16).groups
    assert groups[0] == groups[1]


def test_a_batch_holds_one_language_drawn_by_the_power_rule(functions, tokenizer) -> None:
    mixed = [replace(f, language="ruby" if i < 40 else "python") for i, f in enumerate(functions)]
    pairs = prepare_pairs(mixed, tokenizer, code_length=64, text_length=16)
    batches = PairBatches(pairs, tokenizer, 8)
    drawn = Counter()
    for step in range(600):
        languages = set(pairs.languages[batches.sampler.batch(step)].tolist())
        assert len(languages) == 1
        drawn.update(languages)
    share = 40**0.7 / (40**0.7 + 200**0.7)
    assert abs(drawn["ruby"] - 600 * share) < 3 * (600 * share * (1 - share)) ** 0.5


def test_batch_is_a_function_of_step_and_random_state(pairs, tokenizer) -> None:
    batches = PairBatches(pairs, tokenizer, 16, hide_name=0.5)
    for step in (0, 3):
        torch.manual_seed(9)
        first = batches(step)
        torch.manual_seed(9)
        second = PairBatches(pairs, tokenizer, 16, hide_name=0.5)(step)
        assert first.keys() == second.keys()
        assert all(torch.equal(first[key], second[key]) for key in first)


def test_shards_make_up_the_batch(pairs, tokenizer) -> None:
    batches = PairBatches(pairs, tokenizer, 16, augment=False)
    parts = [batches.shard(rank, 2)(3)["groups"] for rank in range(2)]
    assert torch.equal(torch.cat(parts), batches(3)["groups"])


def test_batch_larger_than_the_corpus_is_refused(pairs, tokenizer) -> None:
    with pytest.raises(ConfigError, match="batch_size"):
        PairBatches(pairs, tokenizer, 1000)
