"""The rows of a batch: lines of a CSV or JSONL file, or the files of a folder; each is read when its turn comes.

A column named ``FIELD_file`` holds the path of a file, relative to the table, whose content is sent as FIELD; of a
folder, each file is the FIELD of a row of its own. What is sent follows from the field and the file's name: numbers
of a ``.npy`` or ``.json`` where FIELD is an array, the text of a ``.txt`` or ``.hea``, any other file as base64.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from core.errors import ConfigError, DataError
from core.files import sha256_file

TABLES = (".csv", ".jsonl", ".ndjson")
_TEXT = (".txt", ".hea")
_FILE = "_file"
CELL_LIMIT = 2**30
"""Characters of a CSV cell."""


@dataclass(frozen=True)
class Row:
    """One row to ask about.

    Attributes:
        number: from 0.
        content: field -> value, or the sentence that says why the row cannot be read.
        given: what the input says about it, without the content of files.
        files: names of the files that belong to it.
        size: their bytes.
    """

    number: int
    content: dict[str, Any] | str
    given: dict[str, Any] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    size: int = 0


@dataclass(frozen=True)
class Inputs:
    """All rows of a table or folder.

    Args:
        source: the table or the folder.
        columns: field -> MLflow type name of what the model takes.
        column: for a folder, the field that its files go to.
        values: for a folder, further fields, the same in each row, as text.
        pattern: for a folder, which files, as in a shell.
        leave_out: files that are no input, wherever they lie.
    """

    source: Path
    columns: Mapping[str, str]
    column: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    pattern: str = "*"
    leave_out: Collection[Path] = ()

    def __post_init__(self) -> None:
        if not self.source.is_dir():
            if self.column or self.values or self.pattern != "*":
                raise DataError(
                    f"{self.source} is a table",
                    expected="--column, --set and --pattern with a folder only",
                    remedy="name the columns in the table's header",
                )
            return
        fields = ", ".join(self.columns) or "none: the model takes unnamed tensors"
        if not self.column:
            raise DataError(
                f"{self.source} is a folder", expected=f"--column, the field for its files: one of {fields}"
            )
        for name in (self.column, *self.values):
            if name not in self.columns:
                raise DataError("field for a folder", seen=name, expected=f"one of {fields}")
        if not self.files():
            raise DataError(f"{self.source} holds no file {self.pattern}", remedy="check the folder")

    def identity(self) -> str:
        """SHA-256 of the table or the options of the folder, and of names, sizes and times of the files to send."""
        if self.source.is_dir():
            facts = [_facts(self.source, name) for name in self.files()]
            return hashlib.sha256(json.dumps([facts, self.column, dict(self.values)]).encode()).hexdigest()
        content = sha256_file(self.source)
        facts = [_facts(self.source.parent, name) for name in self._named()]
        return hashlib.sha256(json.dumps([content, facts]).encode()).hexdigest() if facts else content

    def files(self) -> list[str]:
        """Names of the folder's files, relative to it, in order; hidden ones are passed over.

        Raises:
            ConfigError: a pattern that is none.
        """
        out = {path.absolute() for path in self.leave_out}
        try:
            found = list(self.source.rglob(self.pattern))
        except (ValueError, NotImplementedError) as error:
            raise ConfigError(
                f"--pattern {self.pattern!r}: {error}",
                expected=f"a pattern of names below {self.source}, such as '*.wav'",
                remedy="leave out the folder; those below it are searched in any case",
            ) from None
        names = (
            path.relative_to(self.source).as_posix()
            for path in found
            if not path.is_dir() and path.absolute() not in out
        )
        return sorted(name for name in names if not any(part.startswith(".") for part in name.split("/")))

    def count(self) -> int:
        """Number of rows."""
        if self.source.is_dir():
            return len(self.files())
        return sum(1 for _ in _lines(self.source, {}))

    def rows(self, without: Collection[int] = ()) -> Iterator[Row]:
        """Every row whose number is not in ``without``."""
        if self.source.is_dir():
            constants = {name: typed(text, self.columns[name]) for name, text in self.values.items()}
            lines: Iterator[tuple[int, dict[str, Any] | str]] = (
                (number, {self.column + _FILE: name, **constants}) for number, name in enumerate(self.files())
            )
            folder = self.source
        else:
            lines, folder = _lines(self.source, self.columns), self.source.parent
        for number, line in lines:
            if number not in without:
                yield Row(number, line) if isinstance(line, str) else self._filled(number, line, folder)

    def _filled(self, number: int, line: dict[str, Any], folder: Path) -> Row:
        """The row with the content of its files in place of their names."""
        content, size = dict(line), 0
        files: tuple[str, ...] = ()
        for name, value in line.items():
            target = self._target(name)
            if not target:
                continue
            del content[name]
            if value in (None, ""):
                continue
            files += (str(value),)
            try:
                content[target], read = _content(folder, str(value), self.columns[target])
            except (ValueError, OSError) as error:  # those of Kindred, and a name that is none
                return Row(number, f"{name}: {error}", line, files)
            size += read
        return Row(number, content, line, files, size)

    def _target(self, name: str) -> str:
        """The field that the file named in a column goes to; "" where the column names none."""
        target = name.removesuffix(_FILE)
        return target if name != target and name not in self.columns and target in self.columns else ""

    def _named(self) -> list[str]:
        """The files that the table names, in order."""
        lines = (line for _, line in _lines(self.source, self.columns) if isinstance(line, dict))
        cells = (value for line in lines for name, value in line.items() if self._target(name))
        return sorted({str(value) for value in cells if value not in (None, "")})


def check_source(source: Path) -> None:
    """Raise DataError unless ``source`` is a folder or a readable .csv, .jsonl or .ndjson file in UTF-8."""
    if source.is_dir():
        return
    if source.suffix.lower() not in TABLES:
        raise DataError(
            f"input {source}", seen=source.suffix, expected="a .csv, .jsonl or .ndjson file, or a folder"
        )
    try:
        with source.open(encoding="utf-8") as stream:
            for _ in stream:
                pass
    except UnicodeDecodeError as error:
        raise DataError(f"{source} is not UTF-8", seen=str(error), remedy="convert it with iconv") from None
    except OSError as error:
        raise DataError(f"{source} cannot be read", seen=error.strerror) from None


def typed(cell: str, kind: str) -> Any:
    """A CSV cell in the type of its column; what does not convert is left for the model to refuse.

    An empty cell is an absent value, of texts too.

    >>> typed("3", "long"), typed("[1, 2]", "array"), typed("", "string")
    (3, [1, 2], None)
    """
    if cell == "":
        return None
    try:
        if kind in ("long", "integer"):
            return int(cell)
        if kind in ("double", "float"):
            return float(cell)
        if kind == "array" and cell.startswith("["):
            return json.loads(cell)
    except ValueError:
        return cell
    if kind == "boolean" and cell.lower() in ("true", "false"):
        return cell.lower() == "true"
    return cell


def _lines(source: Path, columns: Mapping[str, str]) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Rows of a table as they stand; one that cannot be read is yielded as the sentence that says why."""
    with source.open(encoding="utf-8-sig", newline="") as stream:
        if source.suffix.lower() == ".csv":
            for number, row in enumerate(_cells(source, stream)):
                if None in row or None in row.values():
                    yield number, "the row has more or fewer cells than the header"
                else:
                    cells = {name: typed(cell, columns.get(name, "string")) for name, cell in row.items()}
                    yield number, cells
            return
        for number, line in enumerate(one for one in stream if one.strip()):
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                yield number, f"not JSON: {error}"
                continue
            yield number, row if isinstance(row, dict) else "not a JSON object"


def _cells(source: Path, stream: IO[str]) -> Iterator[dict[str, str]]:
    """The rows of an open CSV file. Raises DataError for what is no CSV."""
    csv.field_size_limit(
        CELL_LIMIT
    )  # one for the process; that of Python, 128 KiB, is less than a signal takes
    reader = csv.DictReader(stream)
    try:
        yield from reader
    except csv.Error as error:
        raise DataError(
            f"{source} after line {reader.line_num}",
            seen=str(error),
            expected=f"CSV with cells of at most {CELL_LIMIT} characters",
            remedy="put large values into files, and name these in a column FIELD_file",
        ) from None


def _facts(folder: Path, name: str) -> tuple[str, int | None, int | None]:
    """(name, size, time of change) of a file below ``folder``; None where there is none that could be sent."""
    from core.data.manifest import confine

    try:
        info = confine(folder, name).stat()
    except (OSError, ValueError):
        return name, None, None
    return name, info.st_size, info.st_mtime_ns


def _content(folder: Path, name: str, kind: str) -> tuple[Any, int]:
    """What a file holds, as the field wants it, and its size. Raises DataError, OSError."""
    from core.data.manifest import confine

    path = confine(folder, name, where=name)
    if not path.is_file():
        raise DataError(f"{name} is not a file", expected=f"a file below {folder}")
    size = path.stat().st_size
    if kind == "array":
        return _numbers(path), size
    if kind != "string":
        raise DataError(f"{name} cannot be sent as a field of type {kind}", expected="a text or an array")
    if path.suffix.lower() in _TEXT:
        try:
            return path.read_text(encoding="utf-8"), size
        except UnicodeDecodeError:
            raise DataError(f"{name} is not UTF-8 text") from None
    return base64.b64encode(path.read_bytes()).decode("ascii"), size


def _numbers(path: Path) -> Any:
    import numpy as np

    try:
        if path.suffix.lower() == ".npy":
            return np.load(path, allow_pickle=False).tolist()
        if path.suffix.lower() == ".json":
            return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, EOFError, RecursionError) as error:
        raise DataError(f"{path.name} cannot be read as numbers", seen=str(error)) from None
    raise DataError(f"{path.name} holds no array", expected="a .npy or .json file")
