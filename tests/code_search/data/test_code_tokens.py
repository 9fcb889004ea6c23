"""Every language gives typed tokens that spell out the code."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from code_search.data.extract import extract_functions
from code_search.data.languages import LANGUAGES
from code_search.data.tokens import tokens_with_types

sys.path.insert(0, str(Path(__file__).parent))
from languages_golden import GOLDEN


@pytest.mark.parametrize("language", LANGUAGES)
def test_tokens_spell_the_code_and_have_types(language):
    types = set()
    for function in extract_functions(GOLDEN[language][1].encode(), language, "f").functions:
        tokens = tokens_with_types(function.code, language)
        assert "".join(text for text, _ in tokens).replace(" ", "") == "".join(function.code.split())
        assert all(text and kind for text, kind in tokens)
        types |= {kind for _, kind in tokens}
    assert {"separators", "keyword", "name" if language == "php" else "identifier"} <= types
    assert len(types) >= 4


def test_types_of_python():
    tokens = tokens_with_types("def f(a, *b):  # note\n    return a.x is not 'q r' + 1", "python")
    assert tokens == [
        ("def", "keyword"),
        ("f", "identifier"),
        ("(", "separators"),
        ("a", "identifier"),
        (",", "separators"),
        ("*", "operator"),
        ("b", "identifier"),
        (")", "separators"),
        (":", "separators"),
        ("return", "keyword"),
        ("a", "identifier"),
        (".", "separators"),
        ("x", "identifier"),
        ("is", "keyword"),
        ("not", "keyword"),
        ("'q r'", "string"),
        ("+", "operator"),
        ("1", "integer"),
    ]


def test_php_wrapping_does_not_show():
    tokens = tokens_with_types("public function f($a) { return $a; }", "php")
    assert [text for text, _ in tokens][:4] == ["public", "function", "f", "("]
    assert tokens[-1] == ("}", "separators")


def test_string_is_one_leaf_and_a_type_name_is_no_string():
    assert ("`a ${b}`", "string") in tokens_with_types("const f = () => `a ${b}`;", "javascript")
    assert ("string", "keyword") in tokens_with_types("const f = (a: string) => a;", "typescript")


@pytest.mark.parametrize("code", ["", "   ", "def (", "\x00", "é = ü", "{{{"])
def test_what_does_not_parse_still_gives_its_leaves(code):
    assert all(text for text, _ in tokens_with_types(code, "python"))


def test_language_without_a_grammar():
    assert tokens_with_types("move a to b .", "cobol")[-2:] == [("b", "identifier"), (".", "separators")]
