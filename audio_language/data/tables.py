"""CSV tables of the public data sets: header checked, rows numbered as in the file."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from core.errors import DataError


def read_table(path: str | os.PathLike[str], columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """(row number, {column: text}) of a CSV with a header; the header is row 1; blank rows are passed over.

    Raises:
        DataError: the file is missing, is not UTF-8, or lacks a column.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{file} is missing", remedy="check data.root and data.source") from None
    except (UnicodeDecodeError, OSError) as error:
        raise DataError(f"{file} cannot be read", seen=str(error), remedy="save it as CSV UTF-8") from None
    rows = csv.reader(text.splitlines(keepends=True))
    header = [name.strip() for name in next(rows, [])]
    missing = [name for name in columns if name not in header]
    if missing:
        raise DataError(
            f"{file}: column(s) {', '.join(missing)} missing", seen=header, expected=", ".join(columns)
        )
    for row in rows:
        if any(cell.strip() for cell in row):
            cells = [*row, *[""] * (len(header) - len(row))]
            yield rows.line_num, {name: cell.strip() for name, cell in zip(header, cells)}
