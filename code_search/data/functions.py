"""The function: one retrievable unit of source code, and its table form."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from core.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Function:
    """One unit that a search can return: a function or method, a class without methods, or a window of lines.

    Attributes:
        language: lower-case name, e.g. ``python``; a window of a file in no known language has its extension.
        path: POSIX path relative to the repository (or distribution) root.
        start, end: first and last line, 1-based, both included; decorators belong to the function.
        name: the name as written at the definition.
        qualified: the name with its enclosing classes and functions, e.g. ``Stack.push``.
        code: the text without docstrings and comments, its common indentation taken away.
        documentation: first paragraph of the docstring or of the comment above, markup signs taken away,
            line breaks kept; "" where there is none.
        source: the raw text with documentation and comments.
        group: what must not straddle splits: the distribution or the repository.
        kind: ``function``, ``class`` or ``lines``.

    >>> f = Function("python", "a/b.py", 3, 4, "push", "Stack.push", "def push(self): ...", "", "", "a")
    >>> f.id
    'a/b.py:3-4'
    """

    language: str
    path: str
    start: int
    end: int
    name: str
    qualified: str
    code: str
    documentation: str
    source: str
    group: str
    kind: str = "function"

    @property
    def id(self) -> str:
        """``path:start-end``, the place a reader opens."""
        return f"{self.path}:{self.start}-{self.end}"


COLUMNS = tuple(field.name for field in fields(Function))


def as_row(function: Function) -> tuple[Any, ...]:
    """The field values in the order of ``COLUMNS``; cheaper to send between processes than the object."""
    return tuple(getattr(function, column) for column in COLUMNS)


def to_table(functions: Iterable[Function]) -> pd.DataFrame:
    """A table with one row a function: the fields as columns, and ``id`` first.

    >>> to_table([Function("go", "a.go", 1, 2, "F", "F", "func F() {}", "", "", "a")])["id"].tolist()
    ['a.go:1-2']
    """
    import pandas as pd

    rows = list(functions)
    table = pd.DataFrame([as_row(f) for f in rows], columns=list(COLUMNS))
    table.insert(0, "id", [f.id for f in rows])
    return table.astype({"start": "int64", "end": "int64"})


def from_table(table: pd.DataFrame) -> list[Function]:
    """The functions of a table made by `to_table`; further columns are ignored.

    Raises:
        DataError: a column is missing.
    """
    missing = [column for column in COLUMNS if column not in table.columns]
    if missing:
        raise DataError(
            "the table of functions lacks columns",
            seen=missing,
            expected=", ".join(COLUMNS),
            remedy="write it with code_search.data.functions.to_table",
        )
    return [Function(*row) for row in zip(*(table[column].tolist() for column in COLUMNS))]
