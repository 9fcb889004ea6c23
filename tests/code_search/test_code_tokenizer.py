"""Tokenizer: identifiers split, type tokens split no word, special tokens that no text can forge."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from code_search.data.tokens import tokens_with_types
from code_search.tokenize import CodeTokenizer, train_bpe
from core.errors import CheckpointError, DataError

CODE = """def readFile(path, max_size=10):
    with open(path) as stream:
        context = classify(stream.read(max_size))
    return context["name"]"""
TYPES = ["class", "context", "identifier", "integer", "keyword", "name", "operator", "separators", "string"]


@pytest.fixture(scope="module")
def tokenizer() -> CodeTokenizer:
    texts = [CODE, "Read a file and classify its context by class name."] * 4
    return CodeTokenizer.own(train_bpe(texts, TYPES, size=400, min_frequency=1))


def words(tokenizer: CodeTokenizer, text: str) -> list[str]:
    return [tokenizer.backend.id_to_token(i) for i in tokenizer.code_ids([text], 64)[0]]


def test_spellings_of_one_identifier_are_equal(tokenizer: CodeTokenizer) -> None:
    assert (
        words(tokenizer, "readFile")
        == words(tokenizer, "read_file")
        == words(tokenizer, "READ file")
        == ["<code>", "read", "file"]
    )


def test_type_names_split_no_word(tokenizer: CodeTokenizer) -> None:
    # in the published vocabulary `text`, `class` and `name` were special tokens, and split words in two
    assert words(tokenizer, "context classify name") == ["<code>", "context", "classify", "name"]
    for name in TYPES:
        assert tokenizer.markers.types[name] not in tokenizer.code_ids([name], 64)[0]


@settings(max_examples=60, deadline=None)
@given(
    text=st.text(max_size=40),
    marker=st.sampled_from(["<mask>", "<pad>", "<ty:identifier>", "<code>", "<text>"]),
)
def test_no_text_contains_a_protected_or_type_token(tokenizer: CodeTokenizer, text: str, marker: str) -> None:
    body = tokenizer.code_ids([text + marker + text], 200)[0][1:]
    forbidden = {*tokenizer.markers.protected, tokenizer.markers.mask, *tokenizer.markers.types.values()}
    assert not forbidden & set(body)


def test_leaves_give_the_same_ids_as_the_text(tokenizer: CodeTokenizer) -> None:
    typed = tokenizer.encode_leaves([tokens_with_types(CODE, "python")], 200)[0]
    assert typed.ids.tolist() == tokenizer.code_ids([CODE], 200)[0]


def test_pieces_inherit_the_type_of_their_leaf(tokenizer: CodeTokenizer) -> None:
    names = tokenizer.markers.type_names
    typed = tokenizer.encode_leaves(
        [[("def", "keyword"), ("readFile", "identifier"), ("'max size'", "string")]], 64
    )[0]
    found = [names[code] if code >= 0 else "" for code in typed.types]
    assert found[:4] == ["", "keyword", "identifier", "identifier"]
    assert set(found[4:]) == {"string"}
    assert typed.leaves.tolist()[:4] == [-1, 0, 1, 1]


def test_length_limit_holds_and_padding_is_masked(tokenizer: CodeTokenizer) -> None:
    tokens = tokenizer.encode_code([CODE, "x", ""], 9)
    assert tokens.ids.shape == (3, 9)
    assert tokens.mask.sum(1).tolist() == [9, 2, 1]
    assert (tokens.ids[~tokens.mask] == tokenizer.markers.pad).all()
    assert len(tokenizer.encode_leaves([tokens_with_types(CODE, "python")], 9)[0].ids) == 9


def test_saved_and_loaded_is_the_same(tokenizer: CodeTokenizer, tmp_path) -> None:
    again = CodeTokenizer.load(tmp_path, tokenizer.save(tmp_path))
    assert again.code_ids([CODE, "<mask> x"], 64) == tokenizer.code_ids([CODE, "<mask> x"], 64)
    assert again.markers == tokenizer.markers
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json"):
        CodeTokenizer.load(tmp_path, {"pad": 0})


def test_random_replacements_are_ordinary_tokens(tokenizer: CodeTokenizer) -> None:
    special = {*tokenizer.markers.protected, tokenizer.markers.mask, *tokenizer.markers.types.values()}
    assert not special & set(tokenizer.ordinary.tolist())
    assert len(tokenizer.ordinary) == tokenizer.size - len(TYPES) - 5


def test_empty_corpus_is_refused() -> None:
    with pytest.raises(DataError, match="no text"):
        train_bpe([], ["identifier"])


@pytest.mark.parametrize("style", ["bert", "roberta", "unixcoder"])
def test_vocabulary_of_a_local_folder(tmp_path, style: str) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    special = (
        ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        if style == "bert"
        else ["<pad>", "<unk>", "<s>", "</s>", "<mask>"]
    )
    extra = ["<encoder-only>"] if style == "unixcoder" else []
    vocabulary = {
        token: i for i, token in enumerate([*special, *extra, "def", "f", "string", "line", "comment"])
    }
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token=special[1]))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.save(str(tmp_path / "tokenizer.json"))
    tokenizer, sources = CodeTokenizer.pretrained(tmp_path, ["string", "line_comment"])
    ids = tokenizer.code_ids(["def f"], 16)[0]
    prefix = 3 if style == "unixcoder" else 1
    assert ids[:prefix] == ([2, 5, 3] if style == "unixcoder" else [2])
    assert ids[-1] == 3
    assert len(ids) == prefix + 3
    assert tokenizer.size == len(vocabulary) + 2
    assert sources == [[vocabulary["line"], vocabulary["comment"]], [vocabulary["string"]]]
    assert np.isin(list(tokenizer.markers.types.values()), [len(vocabulary), len(vocabulary) + 1]).all()


def test_folder_without_vocabulary_is_named(tmp_path) -> None:
    with pytest.raises(DataError, match=r"tokenizer\.json is missing"):
        CodeTokenizer.pretrained(tmp_path, [])
