"""The languages: file extensions, grammars loaded when first used, and the queries that find functions.

A query marks with ``@function``, ``@class`` and ``@scope`` the nodes that are units or enclose units, with ``@name`` their
name, with ``@doc`` a docstring inside the body of its ``@owner``, and with ``@outer`` a wrapper that belongs to its ``@inner`` (a decorated
definition, a template).
"""

from __future__ import annotations

import importlib
import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from core.errors import DataError

if TYPE_CHECKING:
    from tree_sitter import Language as Grammar
    from tree_sitter import Parser, Query


@dataclass(frozen=True)
class Language:
    """What has to be known about a language to find its functions; see the module for the query's marks."""

    name: str
    extensions: tuple[str, ...]
    package: str
    units: str
    loader: str = "language"
    constructors: tuple[str, ...] = ()
    wrap: tuple[str, str] = ("", "")
    """Text put before and after a function on its own so that it parses."""


_PYTHON = """
(function_definition name: (identifier) @name) @function
(class_definition name: (identifier) @name) @class
(decorated_definition definition: (_) @inner) @outer
(function_definition body: (block . (expression_statement . (string) @doc))) @owner
(class_definition body: (block . (expression_statement . (string) @doc))) @owner
"""

_CALLABLE = "[(arrow_function) (function_expression) (generator_function)]"
_JAVASCRIPT = f"""
(function_declaration name: (_) @name) @function
(generator_function_declaration name: (_) @name) @function
(method_definition name: (_) @name) @function
(variable_declarator name: (identifier) @name value: {_CALLABLE}) @function
(assignment_expression left: (_) @name right: {_CALLABLE}) @function
(pair key: (_) @name value: {_CALLABLE}) @function
(class_declaration name: (_) @name) @class
(variable_declarator name: (identifier) @name value: (class)) @class
(export_statement "default" @name value: {_CALLABLE}) @function
"""
_JAVASCRIPT_FIELD = f"(field_definition property: (_) @name value: {_CALLABLE}) @function"
_TYPESCRIPT = f"""
(public_field_definition name: (_) @name value: {_CALLABLE}) @function
(abstract_class_declaration name: (_) @name) @class
(interface_declaration name: (_) @name) @class
(enum_declaration name: (_) @name) @class
(type_alias_declaration name: (_) @name) @class
(internal_module name: (_) @name) @scope
"""

_JAVA = """
(method_declaration name: (_) @name) @function
(constructor_declaration name: (_) @name) @function
(compact_constructor_declaration name: (_) @name) @function
(class_declaration name: (_) @name) @class
(interface_declaration name: (_) @name) @class
(enum_declaration name: (_) @name) @class
(record_declaration name: (_) @name) @class
(annotation_type_declaration name: (_) @name) @class
"""

_GO = """
(function_declaration name: (_) @name) @function
(method_declaration receiver: (_) @receiver name: (_) @name) @function
(type_declaration (type_spec name: (_) @name)) @class
"""

_PHP = """
(function_definition name: (_) @name) @function
(method_declaration name: (_) @name) @function
(assignment_expression left: (_) @name right: [(anonymous_function) (arrow_function)]) @function
(class_declaration name: (_) @name) @class
(interface_declaration name: (_) @name) @class
(trait_declaration name: (_) @name) @class
(enum_declaration name: (_) @name) @class
"""

_RUBY = """
(method name: (_) @name) @function
(singleton_method name: (_) @name) @function
(class name: (_) @name) @class
(module name: (_) @name) @class
"""

_RUST = """
(function_item name: (_) @name) @function
(macro_definition name: (_) @name) @function
(struct_item name: (_) @name) @class
(enum_item name: (_) @name) @class
(union_item name: (_) @name) @class
(trait_item name: (_) @name) @class
(impl_item type: (_) @name) @scope
(mod_item name: (_) @name) @scope
"""

_C = """
(function_definition declarator: (function_declarator declarator: (_) @name)) @function
(function_definition declarator: (pointer_declarator (function_declarator declarator: (_) @name))) @function
(function_definition declarator:
  (pointer_declarator (pointer_declarator (function_declarator declarator: (_) @name)))) @function
(struct_specifier name: (_) @name body: (_)) @class
(union_specifier name: (_) @name body: (_)) @class
(enum_specifier name: (_) @name body: (_)) @class
"""

_CPP = """
(function_definition declarator: (reference_declarator (function_declarator declarator: (_) @name))) @function
(class_specifier name: (_) @name body: (_)) @class
(namespace_definition name: (_) @name) @scope
(template_declaration [(function_definition) (class_specifier) (struct_specifier)] @inner) @outer
"""

_METHOD = ("class _ {\n", "\n}")

LANGUAGES: dict[str, Language] = {
    language.name: language
    for language in (
        Language("python", (".py", ".pyi", ".pyw"), "tree_sitter_python", _PYTHON, constructors=("__init__",)),
        Language(
            "javascript",
            (".js", ".jsx", ".mjs", ".cjs"),
            "tree_sitter_javascript",
            _JAVASCRIPT + _JAVASCRIPT_FIELD,
            constructors=("constructor",),
            wrap=_METHOD,
        ),
        Language("java", (".java",), "tree_sitter_java", _JAVA, wrap=_METHOD),
        Language("go", (".go",), "tree_sitter_go", _GO),
        Language(
            "php",
            (".php", ".phtml"),
            "tree_sitter_php",
            _PHP,
            "language_php",
            ("__construct", "__destruct"),
            ("<?php\n", ""),
        ),
        Language("ruby", (".rb", ".rake"), "tree_sitter_ruby", _RUBY, constructors=("initialize",)),
        Language(
            "typescript",
            (".ts", ".mts", ".cts"),
            "tree_sitter_typescript",
            _JAVASCRIPT + _TYPESCRIPT,
            "language_typescript",
            ("constructor",),
            _METHOD,
        ),
        Language(
            "tsx",
            (".tsx",),
            "tree_sitter_typescript",
            _JAVASCRIPT + _TYPESCRIPT,
            "language_tsx",
            ("constructor",),
            _METHOD,
        ),
        Language("c", (".c",), "tree_sitter_c", _C),
        Language(
            "cpp",
            (".cc", ".cpp", ".cxx", ".h", ".hh", ".hpp", ".hxx", ".cu", ".cuh"),
            "tree_sitter_cpp",
            _C + _CPP,
        ),
        Language("rust", (".rs",), "tree_sitter_rust", _RUST),
    )
}
_PARSERS = threading.local()
_BY_EXTENSION = {extension: language.name for language in LANGUAGES.values() for extension in language.extensions}


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


@lru_cache(maxsize=None)
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


@lru_cache(maxsize=None)
def units_query(name: str) -> Query:
    """The compiled query that marks a language's units."""
    from tree_sitter import Query

    return Query(grammar(name), get_language(name).units)


@lru_cache(maxsize=None)
def comments_query(name: str) -> Query:
    """The compiled query that marks a language's comments as ``@comment``."""
    from tree_sitter import Query

    language = grammar(name)
    kinds = [kind for kind in ("comment", "line_comment", "block_comment", "html_comment") if _has(language, kind)]
    return Query(language, "\n".join(f"({kind}) @comment" for kind in kinds))


def _has(language: Grammar, kind: str) -> bool:
    return language.id_for_node_kind(kind, True) is not None
