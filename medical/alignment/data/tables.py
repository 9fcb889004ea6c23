"""Reading the CSV tables of public data sets: plain or gzipped, as text, with their columns checked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core.data.manifest import confine
from core.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


def read_table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """All cells as stripped text ("" where empty).

    Raises:
        DataError: missing, not a table, or without one of the columns.
    """
    import pandas as pd

    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise DataError(f"{path} is missing", remedy="set data.root to the folder of the data set") from None
    except (ValueError, OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not a CSV table", seen=str(error)) from None
    missing = [name for name in columns if name not in table]
    if missing:
        raise DataError(
            f"{path}: column(s) {', '.join(missing)} missing",
            seen=list(table.columns)[:15],
            expected=", ".join(columns),
        )
    for name in table:
        table[name] = table[name].str.strip()
    return table


def find_table(root: Path, name: str) -> Path:
    """The file ``name`` or ``name.gz`` in ``root`` or up to two folders below it.

    Raises:
        DataError: it is not there.
    """
    for pattern in ("", "*/", "*/*/"):
        for full in (name, f"{name}.gz"):
            found = sorted(root.glob(f"{pattern}{full}"))
            if found:
                return found[0]
    raise DataError(
        f"{root}: no {name}",
        expected=f"{name} or {name}.gz in this folder or up to two folders below",
        remedy="set data.root to the folder that holds the data set",
    )


def label_values(table: pd.DataFrame, labels: Sequence[str], where: str) -> np.ndarray:
    """(N, C) float32 of label columns: 1, 0, -1 (uncertain), NaN where empty.

    Raises:
        DataError: a label without a column, or another value.
    """
    import pandas as pd

    absent = [name for name in labels if name not in table]
    if absent:
        raise DataError(
            f"{where}: no column for the finding(s) {', '.join(absent)}",
            seen=list(table.columns)[:20],
            remedy="correct data.findings",
        )
    values = np.full((len(table), len(labels)), np.nan, dtype=np.float32)
    for column, name in enumerate(labels):
        numbers = pd.to_numeric(table[name].replace("", np.nan), errors="coerce")
        wrong = (table[name] != "") & ~numbers.isin([-1, 0, 1])
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise DataError(
                f"{where} row {row + 2}: {name}", seen=table[name].iloc[row], expected="1, 0, -1 or empty"
            )
        values[:, column] = numbers
    return values


def times(dates: pd.Series, clocks: pd.Series | None = None) -> pd.Series:
    """Datetimes of text columns of public data sets; NaT where empty or not a time.

    MIMIC-IV-ECG's are ISO 8601 in one column, MIMIC-CXR's YYYYMMDD and HHMMSS.fff in two.
    """
    import pandas as pd

    if clocks is None:
        return pd.to_datetime(dates, errors="coerce", format="ISO8601")
    clock = clocks.str.split(".").str[0].str.zfill(6)
    return pd.to_datetime(dates + " " + clock, format="%Y%m%d %H%M%S", errors="coerce")


def inside(root: Path, paths: Iterator[str] | Sequence[str], where: str) -> list[str]:
    """Absolute paths below ``root``; "" stays "".

    Raises:
        DataError: a path that leaves the root.
    """
    base = root.resolve()
    found = []
    for row, path in enumerate(paths, start=2):
        if not path:
            found.append("")
        elif path.startswith("/") or ".." in path:
            found.append(str(confine(base, path, where=f"{where} row {row}")))
        else:
            found.append(str(base / path))
    return found
