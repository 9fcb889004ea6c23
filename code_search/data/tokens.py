"""The tokens of a function with their types: what the type-aware augmentations replace."""

from __future__ import annotations

from code_search.data.languages import LANGUAGES, parse_alone

_SEPARATORS = frozenset("()[]{},;:.")
_STRINGS = frozenset(
    {
        "string",
        "string_literal",
        "raw_string_literal",
        "interpreted_string_literal",
        "template_string",
        "encapsed_string",
        "heredoc",
        "nowdoc",
        "heredoc_body",
        "char_literal",
        "character_literal",
        "rune_literal",
        "regex",
        "system_lib_string",
        "shell_command_expression",
    }
)


def tokens_with_types(code: str, language: str) -> list[tuple[str, str]]:
    """The leaves of the parse tree in order, as (text, type).

    A string counts as one leaf, comments are dropped. The type is ``string``, the name of the tree's node
    (``identifier``, ``integer``), or for signs and words of the grammar: ``keyword`` for words,
    ``separators`` for brackets, comma, semicolon, colon and dot, ``operator`` for other signs. What does not
    parse still gives its leaves. A language without a grammar gives words, typed ``identifier``, and signs.

    >>> tokens_with_types("def f(x): return x + 'a b'", "python")[-4:]
    [('return', 'keyword'), ('x', 'identifier'), ('+', 'operator'), ("'a b'", 'string')]
    """
    if language not in LANGUAGES:
        return [(word, _type_of_sign(word) or "identifier") for word in code.split()]
    root, data, first, last = parse_alone(code, language)
    tokens: list[tuple[str, str]] = []
    cursor = root.walk()
    enter, step, leave = cursor.goto_first_child, cursor.goto_next_sibling, cursor.goto_parent
    while True:
        node = cursor.node
        assert node is not None  # a cursor always stands on a node
        kind = node.type
        is_string = kind in _STRINGS and node.is_named
        if is_string or "comment" in kind or not enter():
            start, end = node.start_byte, node.end_byte
            if start >= first and end <= last and end > start and "comment" not in kind:
                text = data[start:end].decode("utf-8", "replace")
                tokens.append((text, "string" if is_string else _type(kind, text, node.is_named)))
            while not step():
                if not leave():
                    return tokens


def _type(kind: str, text: str, named: bool) -> str:
    if kind == "ERROR":
        return _type_of_sign(text) or "identifier"
    if named:
        return kind
    return _type_of_sign(text) or "keyword"


def _type_of_sign(text: str) -> str:
    """``separators`` or ``operator`` for a sign, "" for a word."""
    if any(character.isalnum() for character in text):
        return ""
    return "separators" if _SEPARATORS.issuperset(text) else "operator"
