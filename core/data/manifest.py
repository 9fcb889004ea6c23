"""The manifest of own data: a CSV of items, read strictly, with every path kept inside one root folder.

    id,path,group,split,label
    a1,images/a1.png,patient-7,train,0

``group`` (patient, scene, repository) may be left out, or empty in all rows: each item is then its own group.
``split`` likewise: splits are then made by group (`group_split`). Paths are relative to the root.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.data.splits import check_splits, group_split
from core.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

SPLITS = ("train", "valid", "test")
FRACTIONS = {"train": 0.7, "valid": 0.15, "test": 0.15}
_DOCS = "a CSV whose first line names the columns (kindred new PIPELINE FOLDER writes one)"


def read_manifest(
    path: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str],
    paths: Sequence[str] = ("path",),
    optional_paths: Sequence[str] = (),
    columns: Mapping[str, Any] | None = None,
    aliases: Mapping[str, str] | None = None,
    splits: Collection[str] = SPLITS,
    fractions: Mapping[str, float] = FRACTIONS,
    seed: int = 0,
) -> pd.DataFrame:
    """Read and check a manifest; files are confined, not opened (reading each is the business of validation).

    Args:
        path: the CSV (UTF-8; commas, semicolons or tabs).
        root: the folder that holds all files.
        paths: names of the columns that hold a file for every item.
        optional_paths: path columns that may be missing or empty (a modality that an item lacks); "" then.
        columns: further columns (labels, numbers, text): name -> a pandera Column, or a type (str, int,
            float, bool: required, not empty).
        aliases: other names that a column of the file may have -> its name here ("patient_id": "group").
        splits: names that the split column may hold.
        fractions, seed: for `group_split`, where no split is given.

    Returns:
        A table whose index is the row in the file (the header is row 1): ``id``, ``group``, ``split``
            (str), path
        columns as absolute str, the asked columns in their types, any further columns as str.

    Raises:
        DataError: missing or unreadable file, empty table, missing or doubled columns, doubled or empty
            ids, a value of the wrong type, a path that leaves the root, a group in two splits. The
            message names file, rows and remedy; up to five offenders are listed.
    """
    table = _read_csv(Path(path))
    table = table.rename(
        columns={old: new for old, new in (aliases or {}).items() if old in table and new not in table}
    )
    _require(table, ["id", *paths, *(columns or {})], path)
    for name in optional_paths:
        if name not in table:
            table[name] = ""
    if "group" not in table or (table["group"] == "").all():
        table["group"] = table["id"]
    _validate(table, path, paths, columns or {})
    for name in [*paths, *optional_paths]:
        table[name] = [
            str(confine(root, value, where=f"{path} row {row}, column {name}")) if value else ""
            for row, value in table[name].items()
        ]
    if "split" not in table or (table["split"] == "").all():
        table["split"] = group_split(table["group"].tolist(), fractions, seed)
    wrong = table[~table["split"].isin(list(splits))]
    if len(wrong):
        raise DataError(
            f"{path}: split of {_rows(wrong)}",
            seen=sorted(set(wrong["split"]))[:5],
            expected=f"one of {', '.join(splits)}",
            remedy="name a split in every row, or leave the whole column empty",
        )
    check_splits(table["group"].tolist(), table["split"].tolist())
    return table


def confine(root: str | os.PathLike[str], path: str | os.PathLike[str], *, where: str = "path") -> Path:
    """The absolute file that ``path`` means inside ``root``, after following every symbolic link.

    Raises:
        DataError: when the file lies outside ``root`` (by "..", an absolute path or a link), or is no path.

    >>> confine("/data", "a/../b.png").as_posix()
    '/data/b.png'
    """
    base = Path(root).resolve()
    try:
        full = (base / path).resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a link loop, a NUL byte
        raise DataError(f"{where} is not a usable path", seen=str(path), expected=str(error)) from None
    if full != base and base not in full.parents:
        raise DataError(
            f"{where} leaves the data root",
            seen=str(path),
            expected=f"a file inside {base}",
            remedy="copy the file into the root, or set data.root to a folder that holds all files",
        )
    return full


def check_classes(values: Sequence[Any], *, name: str = "label", minimum: int = 2) -> list[Any]:
    """The sorted distinct labels. Raises DataError where there are fewer than ``minimum``.

    >>> check_classes([1, 0, 1])
    [0, 1]
    """
    found = sorted(set(values))
    if len(found) < minimum:
        raise DataError(
            f"column {name}",
            seen=found,
            expected=f"at least {minimum} different values",
            remedy="add items of another class: with one class there is nothing to tell apart",
        )
    return found


def _read_csv(path: Path) -> pd.DataFrame:
    """All cells as stripped text; the index is the row in the file."""
    import pandas as pd

    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            separator = max(",;\t", key=stream.readline().count)
            stream.seek(0)
            rows = [
                [cell.strip() for cell in row] for row in csv.reader(stream, delimiter=separator, strict=True)
            ]
    except (FileNotFoundError, IsADirectoryError):
        raise DataError(f"manifest {path} is missing", expected=_DOCS, remedy="set data.manifest") from None
    except UnicodeDecodeError:
        raise DataError(f"manifest {path} is not UTF-8", remedy="save it as CSV UTF-8") from None
    except csv.Error as error:
        raise DataError(f"manifest {path} is not a table", seen=str(error), expected=_DOCS) from None
    header, *body = rows or [[]]
    doubled = sorted({name for name in header if header.count(name) > 1})
    if doubled:
        raise DataError(f"manifest {path}: columns given twice", seen=doubled, remedy="rename or drop one")
    filled = {number: row for number, row in enumerate(body, start=2) if any(row)}
    if not filled:
        raise DataError(f"manifest {path} has no rows", expected=_DOCS, remedy="add one row for each item")
    ragged = {number: len(row) for number, row in filled.items() if len(row) != len(header)}
    if ragged:
        number, count = next(iter(ragged.items()))
        raise DataError(
            f"manifest {path} row {number}" + (f" (and {len(ragged) - 1} more)" if len(ragged) > 1 else ""),
            seen=f"{count} cells",
            expected=f"{len(header)}, as in the header",
            remedy="quote cells that hold a separator",
        )
    index = pd.Index(list(filled), name="row")
    return pd.DataFrame(list(filled.values()), columns=header, index=index, dtype=str)


def _require(table: pd.DataFrame, names: Sequence[str], path: Any) -> None:
    missing = [name for name in names if name not in table]
    if missing:
        raise DataError(
            f"manifest {path}: column(s) {', '.join(missing)} missing",
            seen=list(table.columns),
            expected=", ".join(names),
            remedy="add the column(s), or rename yours",
        )


def _validate(table: pd.DataFrame, path: Any, paths: Sequence[str], columns: Mapping[str, Any]) -> None:
    """Types and emptiness by pandera, all offenders at once; converts the table's columns in place."""
    import pandera.pandas as pa

    filled = pa.Check(lambda column: column != "", error="a value (it is empty)")
    schema: dict[str, Any] = {name: pa.Column(str, filled) for name in ["group", *paths]}
    schema["id"] = pa.Column(str, filled, unique=True)
    for name, kind in columns.items():
        schema[name] = kind if isinstance(kind, pa.Column) else _column(kind, filled)
    try:
        checked = pa.DataFrameSchema(schema, coerce=True).validate(table, lazy=True)
    except pa.errors.SchemaErrors as error:
        cases = error.failure_cases.drop_duplicates(subset=["column", "index", "failure_case"])
        shown = [
            f"row {case.index_:.0f}, column {case.column}: {case.failure_case!r} is not {_words(case.check)}"
            if case.index_ == case.index_ and case.index_ is not None
            else f"column {case.column}: {_words(case.check)}"
            for case in cases.rename(columns={"index": "index_"}).head(5).itertuples()
        ]
        raise DataError(
            f"manifest {path}: {len(cases)} wrong value(s): {'; '.join(shown)}",
            remedy="correct these rows, or take them out",
        ) from None
    for name, kind in columns.items():
        table[name] = checked[name].str.lower().isin(["1", "true"]) if kind is bool else checked[name]


def _column(kind: type, filled: Any) -> Any:
    import pandera.pandas as pa

    if kind is str:
        return pa.Column(str, filled)
    if kind is bool:
        return pa.Column(str, pa.Check.isin(["0", "1", "true", "false", "True", "False", "TRUE", "FALSE"]))
    if kind is float:
        return pa.Column(float, pa.Check(lambda column: column.abs() < float("inf"), error="a finite number"))
    return pa.Column(kind)


def _words(check: Any) -> str:
    text = str(check)
    return {
        "field_uniqueness": "unique (given in several rows)",
        "not_nullable": "a number",
        "coerce_dtype('int64')": "a whole number",
        "coerce_dtype('float64')": "a number",
    }.get(text, text.replace("isin", "one of "))


def _rows(table: pd.DataFrame) -> str:
    rows = [str(row) for row in table.index[:5]]
    return f"row {', '.join(rows)}" + (f" and {len(table) - 5} more" if len(table) > 5 else "")
