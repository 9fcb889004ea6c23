"""PTB-XL's layout: ``ptbxl_database.csv``, ``scp_statements.csv`` and WFDB records at 100 and 500 Hz.

Wagner et al. 2020, "PTB-XL, a large publicly available electrocardiography dataset". Folds keep patients
together; 1 to 8 are for training, 9 for validation and 10 for test where nothing else is said.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from core.data.manifest import confine
from core.data.splits import check_splits
from core.errors import ConfigError, DataError
from medical.ecg.data.branches import read_branches
from medical.ecg.data.items import Items
from medical.ecg.data.scp import DROPPING, LabelSet, parse_codes, read_statements

if TYPE_CHECKING:
    import pandas as pd

FOLDS: dict[str, tuple[int, ...]] = {"train": tuple(range(1, 9)), "valid": (9,), "test": (10,)}
COLUMNS = ("ecg_id", "patient_id", "scp_codes", "strat_fold")
OLDEST = 90


def read_ptbxl(
    root: str | os.PathLike[str],
    *,
    rate: Literal[100, 500] = 100,
    labels: LabelSet = "all",
    min_likelihood: float = 0.0,
    unknown_codes: Literal["error", "ignore"] = "error",
    folds: Mapping[str, Sequence[int]] = FOLDS,
    branches: str | os.PathLike[str] | None = None,
) -> Items:
    """The records of a PTB-XL folder, as a table; signals are not read.

    Args:
        root: folder with the two CSV files.
        rate: 100 (``filename_lr``) or 500 (``filename_hr``).
        labels: the label set.
        min_likelihood: of purely diagnostic codes, 0 to 100; the published code takes every code (0).
        unknown_codes: codes that ``scp_statements.csv`` lacks: refuse, or count and leave out.
        folds: split -> values of ``strat_fold``; records of other folds are left out.
        branches: branch map for the ``branch_...`` label sets.

    Returns:
        `Items`; further columns of the table: ``age`` (NaN where hidden: 300 stands for 90 and above),
        ``sex`` (0 male, 1 female), ``report`` (text, mostly German), ``fold``, ``codes`` (all SCP codes).

    Raises:
        DataError: missing files or columns, a doubled ecg_id, unreadable scp_codes, unknown codes, a
            patient in two splits, a path that leaves the root; with the row in the file.
    """
    import pandas as pd

    base = Path(root)
    statements = read_statements(base / "scp_statements.csv")
    names = statements.names(labels, read_branches(branches) if labels.startswith("branch_") else None)
    if rate not in (100, 500):
        raise ConfigError("data.rate", seen=rate, expected="100 or 500")
    place, column = base / "ptbxl_database.csv", "filename_lr" if rate == 100 else "filename_hr"
    table = _read(place, column)
    _refuse_doubled(table, place)
    wanted = {int(fold): split for split, chosen in folds.items() for fold in chosen}
    rows: list[dict[str, Any]] = []
    unknown: dict[str, str] = {}
    known = set(statements.codes)
    for number, row in enumerate(table.itertuples(index=False), start=2):
        where = f"{place} row {number}"
        codes = parse_codes(str(row.scp_codes), where=where)
        for code in sorted(set(codes) - known):
            unknown.setdefault(code, where)
        split = wanted.get(_whole(row.strat_fold, f"strat_fold in {where}"))
        found = statements.labels_of(codes, labels, names, min_likelihood)
        if split is None or (labels in DROPPING and not found):
            continue
        age = pd.to_numeric(getattr(row, "age", None), errors="coerce")
        rows.append(
            {
                "id": str(row.ecg_id),
                "patient": str(_whole(row.patient_id, f"patient_id in {where}")),
                "split": split,
                "path": str(confine(base, str(getattr(row, column)), where=f"{where}, column {column}")),
                "labels": found,
                "row": number,
                "age": float(age) if 0 <= age < 300 else float("nan"),
                "sex": getattr(row, "sex", ""),
                "report": getattr(row, "report", ""),
                "fold": int(float(row.strat_fold)),
                "codes": tuple(codes),
            }
        )
    if unknown and unknown_codes == "error":
        first = next(iter(unknown.items()))
        raise DataError(
            f"{len(unknown)} code(s) that scp_statements.csv lacks, the first in {first[1]}",
            seen=sorted(unknown)[:10],
            expected="codes of the table",
            remedy="correct them, or set data.unknown_codes: ignore",
        )
    if not rows:
        raise DataError(f"{place}: no record in the folds {dict(folds)}", remedy="set data.folds")
    frame = pd.DataFrame(rows)
    check_splits(frame["patient"].tolist(), frame["split"].tolist())
    facts = {"label_set": labels, "unknown_codes": sorted(unknown), "rate": rate}
    return Items(frame, names, facts)


def _read(place: Path, column: str) -> pd.DataFrame:
    import pandas as pd

    try:
        table = pd.read_csv(place, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise DataError(f"{place} is missing", remedy="set data.root to the folder of PTB-XL") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(f"{place} is not a CSV table", seen=str(error)) from None
    missing = [name for name in (*COLUMNS, column) if name not in table]
    if missing:
        raise DataError(
            f"{place}: column(s) {', '.join(missing)} missing",
            seen=list(table.columns)[:12],
            expected="PTB-XL's",
        )
    return table


def _refuse_doubled(table: pd.DataFrame, place: Path) -> None:
    doubled = table["ecg_id"].duplicated(keep=False)
    if doubled.any():
        shown = [f"{table['ecg_id'][row]} (row {row + 2})" for row in table.index[doubled][:6]]
        raise DataError(f"{place}: ecg_id given twice", seen=", ".join(shown), remedy="keep one row of each")


def _whole(cell: object, where: str) -> int:
    try:
        return int(float(str(cell)))
    except ValueError:
        raise DataError(where, seen=cell, expected="a number") from None
