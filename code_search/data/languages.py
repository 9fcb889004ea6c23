"""The languages: file extensions, grammars and queries, loaded when first used."""

from __future__ import annotations

import importlib
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from code_search.data.queries import UNITS
from core.errors import DataError

if TYPE_CHECKING:
    from tree_sitter import Language as Grammar
    from tree_sitter import Node, Parser, Query


@dataclass(frozen=True)
class Language:
    """What has to be known about a language to find its functions."""

    name: str
    extensions: tuple[str, ...]
    package: str
    loader: str = "language"
    constructors: tuple[str, ...] = ()
    wraps: tuple[tuple[str, str], ...] = (("", ""),)
    """Texts to put before and after a function that stands alone; the first with which it parses is used."""


_PLAIN = ("", "")
_STATEMENT = ("", ";")
_METHOD = ("class _ {\n", "\n}")
_MEMBER = ("({\n", "\n})")

LANGUAGES: dict[str, Language] = {
    language.name: language
    for language in (
        Language("python", (".py", ".pyi", ".pyw"), "tree_sitter_python", constructors=("__init__",)),
        Language(
            "javascript",
            (".js", ".jsx", ".mjs", ".cjs"),
            "tree_sitter_javascript",
            constructors=("constructor",),
            wraps=(_PLAIN, _METHOD, _MEMBER),
        ),
        Language("java", (".java",), "tree_sitter_java", wraps=(_PLAIN, _METHOD)),
        Language("go", (".go",), "tree_sitter_go", wraps=(("", "\n"),)),
        Language(
            "php",
            (".php", ".phtml"),
            "tree_sitter_php",
            "language_php",
            ("__construct", "__destruct"),
            (("<?php\n", ""), ("<?php\n", ";"), ("<?php\nclass _ {\n", "\n}")),
        ),
        Language("ruby", (".rb", ".rake"), "tree_sitter_ruby", constructors=("initialize",)),
        Language(
            "typescript",
            (".ts", ".mts", ".cts"),
            "tree_sitter_typescript",
            "language_typescript",
            ("constructor",),
            (_PLAIN, _METHOD, _MEMBER),
        ),
        Language(
            "tsx",
            (".tsx",),
            "tree_sitter_typescript",
            "language_tsx",
            ("constructor",),
            (_PLAIN, _METHOD, _MEMBER),
        ),
        Language("c", (".c",), "tree_sitter_c", wraps=(_PLAIN, _STATEMENT)),
        Language(
            "cpp",
            (".cc", ".cpp", ".cxx", ".h", ".hh", ".hpp", ".hxx", ".cu", ".cuh"),
            "tree_sitter_cpp",
            wraps=(_PLAIN, _STATEMENT),
        ),
        Language(
            "rust",
            (".rs",),
            "tree_sitter_rust",
        ),
    )
}
_PARSERS = threading.local()
_BY_EXTENSION = {
    extension: language.name for language in LANGUAGES.values() for extension in language.extensions
}


def language_of(path: str) -> str | None:
    """The language of a file by its extension, or None.

    >>> language_of("src/Main.java"), language_of("README.md")
    ('java', None)
    """
    return _BY_EXTENSION.get(PurePosixPath(path).suffix.lower())


def get_language(name: str) -> Language:
    """The language called ``name``. Raises DataError naming the known ones."""
    try:
        return LANGUAGES[name]
    except KeyError:
        raise DataError("unknown language", seen=name, expected=f"one of {', '.join(LANGUAGES)}") from None


@cache
def grammar(name: str) -> Grammar:
    """The tree-sitter grammar of a language, loaded on first use.

    Raises:
        DataError: the language is unknown or its grammar package is not installed.
    """
    from tree_sitter import Language as Grammar

    language = get_language(name)
    try:
        module = importlib.import_module(language.package)
    except ImportError:
        wheel = language.package.replace("_", "-")
        raise DataError(f"the grammar of {name} is not installed", remedy=f"pip install {wheel}") from None
    return Grammar(getattr(module, language.loader)())


def parser(name: str) -> Parser:
    """A parser for a language, kept for each thread: two threads must not share one."""
    from tree_sitter import Parser

    kept = _PARSERS.__dict__
    if name not in kept:
        kept[name] = Parser(grammar(name))
    return kept[name]


def parse_alone(code: str, language: str) -> tuple[Node, bytes, int, int]:
    """Parse a function that was cut out of its file, in the wrapping that makes it parse, if any does.

    Returns:
        (root node, bytes that were parsed, first byte of the code in them, end of the code in them);
        ``root.has_error`` tells whether it parsed.
    """
    first: tuple[Node, bytes, int, int] | None = None
    body = code.encode("utf-8", "replace")
    for before, after in get_language(language).wraps:
        data = before.encode() + body + after.encode()
        root = parser(language).parse(data).root_node
        found = (root, data, len(before), len(before) + len(body))
        if not root.has_error:
            return found
        first = first or found
    assert first is not None  # every language has a wrapping
    return first


@cache
def marks_query(name: str) -> Query:
    """The compiled query that marks a language's units and, as ``@comment``, its comments: one walk for both."""
    from tree_sitter import Query

    language = grammar(name)
    kinds = [
        kind for kind in ("comment", "line_comment", "block_comment", "html_comment") if _has(language, kind)
    ]
    return Query(language, "\n".join([UNITS[name], *(f"({kind}) @comment" for kind in kinds)]))


def _has(language: Grammar, kind: str) -> bool:
    return language.id_for_node_kind(kind, True) is not None
