"""Source bytes to functions: found with tree-sitter, documentation and comments cut out by byte ranges."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from code_search.data.cuts import SourceText
from code_search.data.functions import Function
from code_search.data.languages import marks_query, parse_alone, parser
from code_search.data.text import to_utf8
from code_search.data.units import find_units


@dataclass(frozen=True, slots=True)
class FileResult:
    """What one file gave.

    Attributes:
        path: as passed in.
        functions: in the order of their start; an enclosing function comes before the nested one.
        status: ``ok``; ``partial`` when the file has syntax errors and what parses was kept; ``skipped``.
        reason: in words, "" when all is well.
        blob: git's blob id of the bytes, where the file was read from disk.
    """

    path: str
    functions: list[Function] = field(default_factory=list)
    status: str = "ok"
    reason: str = ""
    blob: str = ""


def extract_functions(
    source: bytes, language: str, path: str, group: str = "", *, documented_only: bool = False
) -> FileResult:
    """Find the functions, methods and classes without methods of one file.

    Args:
        source: the bytes of the file, in any encoding that `to_utf8` reads.
        language: a name of `code_search.data.languages.LANGUAGES`.
        path: relative POSIX path, copied into the functions.
        group: copied into the functions.
        documented_only: leave out what has no documentation (faster, for a training corpus).

    Raises:
        DataError: the language is unknown or its grammar is not installed.

    >>> code = b"def add(a, b):\\n    'Sum of two numbers.'\\n    return a + b  # quick\\n"
    >>> f = extract_functions(code, "python", "m.py").functions[0]
    >>> f.id, f.documentation, f.code
    ('m.py:1-3', 'Sum of two numbers.', 'def add(a, b):\\n    return a + b')
    """
    from tree_sitter import QueryCursor

    data, encoding = to_utf8(source)
    root = parser(language).parse(data).root_node
    matches = QueryCursor(marks_query(language)).matches(root)
    units, docstrings = find_units(matches, data)
    status, reason = ("partial", "syntax errors: what parses was kept") if root.has_error else ("ok", "")
    if encoding != "utf-8":
        reason = "; ".join(filter(None, [reason, f"not UTF-8: read as {encoding}"]))
    if not units or (documented_only and language == "python" and not docstrings):
        return FileResult(path, [], status, reason)
    text = SourceText(data, _comments(matches, data), docstrings)
    functions = []
    for unit in units:
        if unit.kind == "scope" or (unit.kind == "class" and unit.holds_function):
            continue
        above = text.comment_above(unit.start)
        if language == "python":
            documentation = text.docstring(unit.node_start)
        else:
            documentation = text.doc_comment(above)
        if documented_only and not documentation:
            continue
        functions.append(
            Function(
                language,
                path,
                unit.row + 1,
                unit.last_row + 1,
                unit.name,
                unit.qualified,
                text.code(unit.start, unit.end),
                documentation,
                text.raw(above[0] if above else unit.start, unit.end),
                group,
                unit.kind,
            )
        )
    return FileResult(path, functions, status, reason)


def strip_comments(code: str, language: str) -> str | None:
    """``code`` (one or more functions) without docstrings and comments, or None where it does not parse.

    >>> strip_comments("def f():\\n    'doc'\\n    return 1  # one", "python")
    'def f():\\n    return 1'
    """
    from tree_sitter import QueryCursor

    root, data, start, end = parse_alone(code, language)
    if root.has_error:
        return None
    matches = QueryCursor(marks_query(language)).matches(root)
    _, docstrings = find_units(matches, data)
    return SourceText(data, _comments(matches, data), docstrings).code(start, end)


def _comments(matches: list[tuple[int, dict[str, Any]]], data: bytes) -> list[tuple[int, int]]:
    """Byte ranges of the comments, without the line end that some grammars count in."""
    nodes = [node for _, marks in matches for node in marks.get("comment", ())]
    ranges = sorted((node.start_byte, node.end_byte) for node in nodes)
    return [(start, end - 1 if data[end - 1] == 10 else end) for start, end in ranges]
