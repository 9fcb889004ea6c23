"""Renaming of local variables: the meaning stays, the words go. For the robustness test of a search model."""

from __future__ import annotations

import ast
import random
import symtable
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from code_search.data.languages import grammar, parse_alone

if TYPE_CHECKING:
    from tree_sitter import Node

_LOOKS_AT_NAMES = frozenset(("locals", "vars", "eval", "exec", "globals", "dir"))
_CONVENTIONAL = frozenset(("self", "cls", "this", "$this", "_", "arguments"))

# Where a name becomes a local variable (@name), by language; @kept is the name of a function, which stays.
# Python is asked itself, through its symbol table.
_JAVASCRIPT = """
(variable_declarator name: (identifier) @name)
(arrow_function parameter: (identifier) @name)
(catch_clause parameter: (identifier) @name)
(for_in_statement left: (identifier) @name)
(assignment_pattern left: (identifier) @name)
(rest_pattern (identifier) @name)
(array_pattern (identifier) @name)
(variable_declarator name: (identifier) @kept value: [(arrow_function) (function_expression)])
"""
_C = """
(init_declarator declarator: (identifier) @name)
(init_declarator declarator: (_ (identifier) @name))
(declaration declarator: (identifier) @name)
(declaration declarator: (array_declarator declarator: (identifier) @name))
(parameter_declaration declarator: (identifier) @name)
(parameter_declaration declarator: (_ (identifier) @name))
"""
_DECLARED = {
    "javascript": _JAVASCRIPT + "(formal_parameters (identifier) @name)",
    "typescript": _JAVASCRIPT + "(formal_parameters (_ pattern: (identifier) @name))",
    "tsx": _JAVASCRIPT + "(formal_parameters (_ pattern: (identifier) @name))",
    "java": """
(local_variable_declaration (variable_declarator name: (identifier) @name))
(formal_parameter name: (identifier) @name)
(enhanced_for_statement name: (identifier) @name)
(catch_formal_parameter name: (identifier) @name)
(resource name: (identifier) @name)
(lambda_expression parameters: (identifier) @name)
(inferred_parameters (identifier) @name)
""",
    "go": """
(short_var_declaration left: (expression_list (identifier) @name))
(range_clause left: (expression_list (identifier) @name))
(var_spec name: (identifier) @name)
(parameter_declaration name: (identifier) @name)
(variadic_parameter_declaration name: (identifier) @name)
""",
    "php": """
(simple_parameter name: (variable_name) @name)
(assignment_expression left: (variable_name) @name)
(foreach_statement (variable_name) @name)
(foreach_statement (pair (variable_name) @name))
(catch_clause name: (variable_name) @name)
""",
    "ruby": """
(assignment left: (identifier) @name)
(operator_assignment left: (identifier) @name)
(left_assignment_list (identifier) @name)
(method_parameters (identifier) @name)
(optional_parameter name: (identifier) @name)
(splat_parameter name: (identifier) @name)
(block_parameters (identifier) @name)
(for pattern: (identifier) @name)
""",
    "c": _C,
    "cpp": _C + "(for_range_loop declarator: (identifier) @name)",
    "rust": """
(let_declaration pattern: (identifier) @name)
(parameter pattern: (identifier) @name)
(closure_parameters (identifier) @name)
(for_expression pattern: (identifier) @name)
(tuple_pattern (identifier) @name)
(mut_pattern (identifier) @name)
""",
}

# (parent's type, field): there an identifier is a member, a key or the name of a definition.
_NO_VARIABLE = frozenset(
    [
        ("attribute", "attribute"),
        ("keyword_argument", "name"),
        ("field_access", "field"),
        ("method_invocation", "name"),
        ("method_reference", "name"),
        ("call", "method"),
        ("keyword_parameter", "name"),
    ]
)
# A name that also stands in one of these is left alone: renaming it would rename a key that others see.
_SHARED = frozenset(
    {
        "shorthand_property_identifier",
        "shorthand_property_identifier_pattern",
        "shorthand_field_initializer",
        "shorthand_field_identifier",
        "global_declaration",
        "function_static_declaration",
    }
)
_DEFINES = frozenset(
    {
        "function_definition",
        "function_declaration",
        "generator_function_declaration",
        "method",
        "method_declaration",
        "singleton_method",
        "function_item",
        "class_definition",
        "function_declarator",
        "element_value_pair",
        "keyword_parameter",
    }
)


def local_variables(code: str, language: str) -> list[str]:
    """The names of ``code`` that may be renamed, in the order of their first occurrence.

    Local variables and positional parameters; not attributes, imports, globals, keyword-only parameters,
    ``self``, nor anything in code that looks at its own names (``locals()``, ``eval``). Empty where the code
    does not parse.

    >>> local_variables("def area(radius): square = radius ** 2; return math.pi * square", "python")
    ['radius', 'square']
    """
    return list(_read(code, language).names)


def rename_variables(code: str, language: str, k: int | None, seed: int = 0) -> tuple[str, dict[str, str]]:
    """Rename up to ``k`` local variables (None: all) to names without a meaning.

    The renaming is a bijection: `rename` with the inverse mapping gives ``code`` back byte for byte. What
    parsed still parses.

    Returns:
        (new code, mapping from old to new names), with fewer than ``k`` names where there are fewer.

    >>> rename_variables("def area(radius): return 3 * radius", "python", 1)
    ('def area(v0): return 3 * v0', {'radius': 'v0'})
    """
    names = local_variables(code, language)
    chosen = names if k is None else random.Random(seed).sample(names, min(k, len(names)))
    sign = "$" if language == "php" else ""
    fresh = (f"{sign}v{number}" for number in range(len(code) + len(chosen)) if f"v{number}" not in code)
    mapping = {name: next(fresh) for name in names if name in set(chosen)}
    return rename(code, language, mapping), mapping


def rename(code: str, language: str, mapping: Mapping[str, str]) -> str:
    """Replace each name of ``mapping`` wherever it stands as a variable."""
    read = _read(code, language)
    edits = sorted((place, mapping[name]) for name in mapping for place in read.places.get(name, []))
    parts, at = [], read.first
    for (start, end), new in edits:
        parts += [read.data[at:start], new.encode()]
        at = end
    return b"".join([*parts, read.data[at : read.last]]).decode("utf-8", "replace")


@dataclass(frozen=True)
class _Read:
    """What was parsed (the code is ``data[first:last]``), where names stand, which of them may be renamed."""

    data: bytes
    first: int
    last: int
    places: Mapping[str, list[tuple[int, int]]]
    names: tuple[str, ...]


@lru_cache(maxsize=1024)
def _read(code: str, language: str) -> _Read:
    """One function, parsed once for all the renamings that are drawn of it."""
    root, data, first, last = parse_alone(code, language)
    places = _places(root, data, first, last, language)
    names: list[str] = []
    if not root.has_error:
        allowed = _python_locals(code) if language == "python" else _declared(root, data, language)
        names = [name for name in places if name in allowed and name not in _CONVENTIONAL]
    return _Read(data, first, last, places, tuple(names))


def _nodes(root: Node) -> Iterator[tuple[Node, str | None, str]]:
    """All nodes in the order of the text, each with its field and its parent's type."""
    cursor = root.walk()
    parents = [""]
    while True:
        node = cursor.node
        assert node is not None
        yield node, cursor.field_name, parents[-1]
        if cursor.goto_first_child():
            parents.append(node.type)
            continue
        while not cursor.goto_next_sibling():
            if not cursor.goto_parent():
                return
            parents.pop()


def _places(
    root: Node, data: bytes, first: int, last: int, language: str
) -> dict[str, list[tuple[int, int]]]:
    """Byte ranges where each name stands as a variable; names shared with the outside are left out."""
    kind = "variable_name" if language == "php" else "identifier"
    places: dict[str, list[tuple[int, int]]] = {}
    shared: set[str] = set()
    for node, field, parent in _nodes(root):
        if node.type in _SHARED:
            text = data[node.start_byte : node.end_byte].decode("utf-8", "replace")
            shared.update(text.replace(",", " ").split())
        if node.type != kind or not first <= node.start_byte < node.end_byte <= last:
            continue
        name = data[node.start_byte : node.end_byte].decode("utf-8", "replace")
        if (parent in _DEFINES and field in ("name", "declarator", "key")) or parent == "literal_element":
            shared.add(name)
        elif (parent, field) not in _NO_VARIABLE:
            places.setdefault(name, []).append((node.start_byte, node.end_byte))
    return {name: found for name, found in places.items() if name not in shared}


def _declared(root: Node, data: bytes, language: str) -> set[str]:
    from tree_sitter import Query, QueryCursor

    query = _DECLARED.get(language)
    if query is None:
        return set()
    marks = QueryCursor(Query(grammar(language), query)).captures(root)
    found, kept = (
        {data[node.start_byte : node.end_byte].decode("utf-8", "replace") for node in marks.get(mark, [])}
        for mark in ("name", "kept")
    )
    return found - kept


def _python_locals(code: str) -> set[str]:
    """Names that are local in every scope where they occur, by Python's own symbol table."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(code)
            scopes = [symtable.symtable(code, "<code>", "exec")]
    except (SyntaxError, ValueError, RecursionError):
        return set()
    local: set[str] = set()
    kept = set(_LOOKS_AT_NAMES)
    for node in ast.walk(tree):
        if isinstance(node, ast.arguments):
            kept.update(argument.arg for argument in node.kwonlyargs)
        elif isinstance(node, ast.keyword) and node.arg:
            kept.add(node.arg)  # may name a parameter of a nested function
        elif isinstance(node, ast.Name) and node.id in _LOOKS_AT_NAMES:
            return set()
    while scopes:
        scope = scopes.pop()
        scopes.extend(scope.get_children())
        for symbol in scope.get_symbols():
            name = symbol.get_name()
            if symbol.is_global() or symbol.is_imported() or symbol.is_namespace():
                kept.add(name)
            elif scope.get_type() == "function":
                local.add(name)
            elif not symbol.is_free():  # an attribute of a class
                kept.add(name)
    return {name for name in local - kept if not name.startswith("__")}
