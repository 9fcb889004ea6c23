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
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.errors import DataError, KindredError
from core.files import sha256_file

TABLES = (".csv", ".jsonl", ".ndjson")
_TEXT = (".txt", ".hea")
_FILE = "_file"


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
        """SHA-256 of the table, or of names, sizes and times of the folder's files and the options."""
        if not self.source.is_dir():
            return sha256_file(self.source)
        facts = [
            (name, info.st_size, info.st_mtime_ns) for name in self.files() for info in (self._stat(name),)
        ]
        return hashlib.sha256(json.dumps([facts, self.column, dict(self.values)]).encode()).hexdigest()

    def files(self) -> list[str]:
        """Names of the folder's files, relative to it, in order; hidden ones are passed over."""
        out = {path.absolute() for path in self.leave_out}
        names = (
            path.relative_to(self.source).as_posix()
            for path in self.source.rglob(self.pattern)
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
            target = name.removesuffix(_FILE)
            if name in self.columns or target == name or target not in self.columns:
                continue
            del content[name]
            if value in (None, ""):
                continue
            files += (str(value),)
            try:
                content[target], read = _content(folder, str(value), self.columns[target])
            except (KindredError, OSError) as error:
                return Row(number, f"{name}: {error}", line, files)
            size += read
        return Row(number, content, line, files, size)

    def _stat(self, name: str) -> os.stat_result:
        return (self.source / name).lstat()


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

    >>> typed("3", "long"), typed("[1, 2]", "array"), typed("", "double")
    (3, [1, 2], None)
    """
    if kind != "string" and cell == "":
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
            for number, row in enumerate(csv.DictReader(stream)):
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
