"""The four soft augmentations: rates, what they may touch, and that they act in every language."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from code_search.augment import CYCLE, Vocabulary, augment_code, dynamic_masking, hide_names
from code_search.data.functions import Function
from code_search.data.languages import LANGUAGES
from code_search.data.tokens import tokens_with_types
from code_search.learn.batches import PairBatches
from code_search.learn.pairs import prepare_pairs
from code_search.tokenize import CodeTokenizer, train_bpe
from core.errors import ConfigError

MASK, TYPES = 3, torch.tensor([100, 101, 102, 103])
VOCABULARY = Vocabulary(mask=MASK, ordinary=torch.arange(10, 60), type_tokens=TYPES)
CODES = {
    "python": "def add(first, second):\n    total = first + second * 2\n    return total",
    "javascript": "function add(first, second) {\n  const total = first + second * 2;\n  return total;\n}",
    "java": "public int add(int first, int second) {\n  int total = first + second * 2;\n  return total;\n}",
    "go": "func add(first int, second int) int {\n\ttotal := first + second*2\n\treturn total\n}",
    "php": "function add($first, $second) {\n  $total = $first + $second * 2;\n  return $total;\n}",
    "ruby": "def add(first, second)\n  total = first + second * 2\n  total\nend",
    "typescript": "function add(first: number, second: number): number {\n  return first + second * 2;\n}",
    "tsx": "function add(first: number) {\n  return <b>{first * 2}</b>;\n}",
    "c": "int add(int first, int second) {\n  int total = first + second * 2;\n  return total;\n}",
    "cpp": "int add(const int& first, int second) {\n  auto total = first + second * 2;\n  return total;\n}",
    "rust": "fn add(first: i32, second: i32) -> i32 {\n    let total = first + second * 2;\n    total\n}",
}


def many(rows: int = 400, length: int = 500) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(10, 60, (rows, length), generator=generator)
    types = torch.randint(-1, 4, (rows, length), generator=generator)
    free = torch.rand(rows, length, generator=generator) < 0.9
    return ids, types, free


def within_three_sigma(count: int, of: int, rate: float) -> None:
    assert abs(count - of * rate) <= 3 * (of * rate * (1 - rate)) ** 0.5


@pytest.mark.parametrize("rate", [0.1, 0.3])
def test_masking_rates(rate: float) -> None:
    ids, _, free = many()
    found = dynamic_masking(ids, free, VOCABULARY, rate, generator=torch.Generator().manual_seed(1))
    n = int(free.sum())
    within_three_sigma(int((found == MASK).sum()), n, rate * 0.8)
    random = (found != ids) & (found != MASK)  # one in fifty random tokens is the token itself
    within_three_sigma(int(random.sum()), n, rate * 0.1 * 49 / 50)
    assert torch.equal(found[~free], ids[~free])


@pytest.mark.parametrize("rate", [0.1, 0.3])
def test_replacement_rate_and_types(rate: float) -> None:
    ids, types, free = many()
    found = augment_code(
        "replacement", ids, types, free, VOCABULARY, rate, generator=torch.Generator().manual_seed(2)
    )
    changed = found != ids
    typed = free & (types >= 0)
    within_three_sigma(int(changed.sum()), int(typed.sum()), rate * 0.8)
    assert not (changed & ~typed).any()
    assert torch.equal(found[changed], TYPES[types[changed]])


@pytest.mark.parametrize("operation", ["type_replacement", "type_masking"])
def test_one_type_a_row(operation) -> None:
    ids, types, free = many(rows=4000, length=60)
    found = augment_code(
        operation, ids, types, free, VOCABULARY, 0.1, generator=torch.Generator().manual_seed(3)
    )
    changed = found != ids
    kinds = torch.stack([(changed & (types == kind)).any(1) for kind in range(4)], dim=1)
    assert int(kinds.sum(1).max()) == 1
    assert not (changed & (~free | (types < 0))).any()
    drawn = [int(kinds[:, kind].sum()) for kind in range(4)]
    assert max(drawn) < 1.3 * min(drawn)
    of_type = torch.stack([(free & (types == kind)).sum(1).float() for kind in range(4)], dim=1)
    expected = float((of_type.sum(1) / (of_type > 0).sum(1)).sum()) * 0.08
    assert abs(int(changed.sum()) - expected) < 3 * expected**0.5 * 1.1
    target = MASK if operation == "type_masking" else TYPES[types[changed]]
    assert (found[changed] == target).all()


def test_input_is_not_changed_and_seed_decides() -> None:
    ids, types, free = many(20, 30)
    before = ids.clone()
    for operation in CYCLE:
        first, second = (
            augment_code(operation, ids, types, free, VOCABULARY, generator=torch.Generator().manual_seed(5))
            for _ in range(2)
        )
        assert torch.equal(first, second)
    assert torch.equal(ids, before)


def test_row_without_types_is_left_alone() -> None:
    ids, _, free = many(3, 20)
    for operation in CYCLE[1:]:
        assert torch.equal(augment_code(operation, ids, torch.full_like(ids, -1), free, VOCABULARY, 1.0), ids)


def test_wrong_arguments_are_named() -> None:
    ids, types, free = many(2, 4)
    with pytest.raises(ConfigError, match="augmentation"):
        augment_code("mask", ids, types, free, VOCABULARY)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="from 0 to 1"):
        augment_code("masking", ids, types, free, VOCABULARY, 1.5)


def test_hidden_name_keeps_the_rest() -> None:
    ids = torch.tensor([[5, 6, 7, 8]] * 2)
    own = torch.tensor([[0, 1, 2, 0]] * 2)
    found, mask = hide_names(ids, torch.ones(2, 4).bool(), own, hidden=99, rate=1.0)
    assert found.tolist() == [[5, 99, 7, 8]] * 2
    assert mask.tolist() == [[True, True, False, True]] * 2
    assert torch.equal(hide_names(ids, torch.ones(2, 4).bool(), own, hidden=99, rate=0.0)[0], ids)


@pytest.fixture(scope="module")
def tokenizer() -> CodeTokenizer:
    types = {kind for language, code in CODES.items() for _, kind in tokens_with_types(code, language)}
    return CodeTokenizer.own(train_bpe([*CODES.values()] * 2, sorted(types), size=400, min_frequency=1))


def batches_of(language: str, tokenizer: CodeTokenizer, **options) -> PairBatches:
    functions = [
        Function(
            language, f"a{i}", 1, 4, "add", "add", CODES[language], f"Add two numbers, variant {i}.", "", "g"
        )
        for i in range(64)
    ]
    pairs = prepare_pairs(functions, tokenizer, code_length=96, text_length=24)
    return PairBatches(pairs, tokenizer, 64, **options)


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_every_operation_acts_in_every_language(language: str, tokenizer: CodeTokenizer) -> None:
    batches = batches_of(language, tokenizer)
    for step, operation in enumerate(CYCLE):
        torch.manual_seed(step)
        batch = batches(step)
        changed = (batch["code"] != batch["code_key"]) & batch["code_mask"]
        assert changed.any(), operation
        assert not changed[:, 0].any()  # the prefix
        assert torch.equal(batch["code"][~batch["code_mask"]], batch["code_key"][~batch["code_mask"]])
        assert bool((batch["text"] != batch["text_key"]).any()) == (operation == "masking")
        became = set(batch["code_key"][changed].tolist())
        types, mask = set(tokenizer.markers.types.values()), tokenizer.markers.mask
        if operation in ("replacement", "type_replacement"):
            assert became <= types
        elif operation == "type_masking":
            assert became == {mask}
        else:
            assert mask in became
            assert not became & types


def test_queries_are_never_augmented(tokenizer: CodeTokenizer) -> None:
    plain, soft = batches_of("python", tokenizer, augment=False), batches_of("python", tokenizer)
    for step in range(4):
        torch.manual_seed(0)
        first, second = plain(step), soft(step)
        assert torch.equal(first["code"], second["code"])
        assert torch.equal(first["text"], second["text"])
        assert torch.equal(first["code"], first["code_key"])


def test_own_name_is_hidden_in_query_and_key(tokenizer: CodeTokenizer) -> None:
    batch = batches_of("python", tokenizer, hide_name=1.0, augment=False)(0)
    name = tokenizer.code_ids(["add"], 8)[0][1]
    assert not (batch["code"][batch["code_mask"]] == name).any()
    assert not (batch["code_key"][batch["code_key_mask"]] == name).any()
    assert np.isin(tokenizer.code_ids(["f"], 8)[0][1], batch["code"].numpy())
