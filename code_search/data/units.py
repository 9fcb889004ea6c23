"""Query matches to units: what is a function or a class, where it starts and ends, how it is called."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

_LAST_WORD = re.compile(r"[^\W\d]\w*[?!=]?$")
_PREFIX = re.compile(
    rb"[ \t]*((?:(?:export|default|declare|const|let|var|public|private|static|async|pub|pub\(\w+\))[ \t]+)*)"
)


@dataclass(slots=True)
class Unit:
    """A function, a class or another scope; bytes and 0-based rows; ``node_start`` leaves decorators out."""

    kind: str
    start: int
    end: int
    row: int
    last_row: int
    name: str
    qualified: str
    node_start: int
    holds_function: bool = False


@dataclass(frozen=True, slots=True)
class Docstring:
    """Byte range of a docstring; ``alone`` when the body holds nothing else."""

    start: int
    end: int
    owner: int
    alone: bool


def find_units(
    matches: list[tuple[int, dict[str, Any]]], data: bytes
) -> tuple[list[Unit], dict[int, Docstring]]:
    """The units in the order of their start, and the docstrings by the start of the node that owns them.

    Args:
        matches: of `code_search.data.languages.marks_query`; its comments are passed over.
        data: what was parsed.
    """
    units: dict[int, Unit] = {}
    docstrings: dict[int, Docstring] = {}
    wrappers: dict[int, int] = {}
    for _, marks in matches:
        if "comment" in marks:
            continue
        if "doc" in marks:
            doc, owner = marks["doc"][0], marks["owner"][0]
            start, end = doc.start_byte, doc.end_byte
            docstrings[owner.start_byte] = Docstring(start, end, owner.start_byte, end == owner.end_byte)
        elif "outer" in marks:
            wrappers[marks["inner"][0].start_byte] = marks["outer"][0].start_byte
        else:
            unit = _unit(marks, data)
            units.setdefault(unit.start, unit)
    ordered = sorted(units.values(), key=lambda unit: unit.start)
    _nest(ordered)
    for unit in ordered:
        _widen(unit, wrappers.get(unit.start, unit.start), data)
    return ordered, docstrings


def _unit(marks: dict[str, Any], data: bytes) -> Unit:
    kind = "function" if "function" in marks else "class" if "class" in marks else "scope"
    node, name = marks[kind][0], marks["name"][0]
    written = "".join(data[name.start_byte : name.end_byte].decode("utf-8", "replace").split())
    owner = ""
    if "receiver" in marks:
        receiver = marks["receiver"][0]
        owner = _receiver(data[receiver.start_byte : receiver.end_byte].decode("utf-8", "replace"))
    word = _LAST_WORD.search(written.strip("'\"`"))
    start = node.start_byte
    return Unit(
        kind=kind,
        start=start,
        end=node.end_byte,
        row=node.start_point[0],
        last_row=node.end_point[0],
        name=word.group() if word and not written.startswith(("~", "operator")) else written,
        qualified=owner + written,
        node_start=start,
    )


def _receiver(text: str) -> str:
    """``(s *Stack[T])`` of a Go method becomes ``Stack.``."""
    words = re.findall(r"[^\W\d]\w*", re.sub(r"\[.*\]", "", text))
    return f"{words[-1]}." if words else ""


def _nest(units: list[Unit]) -> None:
    """Put the enclosing names before each qualified name, and mark the classes that hold functions."""
    enclosing: list[Unit] = []
    for unit in units:
        while enclosing and enclosing[-1].end <= unit.start:
            enclosing.pop()
        if enclosing:
            unit.qualified = f"{enclosing[-1].qualified}.{unit.qualified}"
            if unit.kind == "function":
                for scope in enclosing:
                    scope.holds_function = True
        enclosing.append(unit)


def _widen(unit: Unit, start: int, data: bytes) -> None:
    """Let a unit begin at its decorators or template, and at words such as ``export const`` on its line."""
    if start == unit.start:
        line = data.rfind(b"\n", 0, start) + 1
        match = _PREFIX.fullmatch(data, line, start)
        if match:
            start = match.start(1)
    else:
        unit.row -= data.count(b"\n", start, unit.start)
    unit.start = start
