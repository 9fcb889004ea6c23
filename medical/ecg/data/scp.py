"""SCP-ECG statements: the code table of PTB-XL, the label sets made from it, and codes as dictionaries."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from core.errors import ConfigError, DataError

LabelSet = Literal[
    "all",
    "diagnostic",
    "form",
    "rhythm",
    "subdiagnostic",
    "superdiagnostic",
    "branch_rhythm",
    "branch_morphology",
    "branch_global",
]
DROPPING = ("subdiagnostic", "superdiagnostic")
"""Label sets that leave out records without any label of theirs, as the published code does."""


@dataclass(frozen=True)
class Statement:
    """One row of ``scp_statements.csv``."""

    code: str
    description: str
    diagnostic: bool
    form: bool
    rhythm: bool
    superclass: str
    subclass: str


@dataclass(frozen=True)
class Statements:
    """The table, in its order."""

    rows: tuple[Statement, ...] = field(repr=False)

    @property
    def codes(self) -> list[str]:
        """All codes in the order of the file."""
        return [row.code for row in self.rows]

    def names(self, labels: LabelSet, branches: Mapping[str, Sequence[str]] | None = None) -> list[str]:
        """The labels of a set, in order: of the file, or of the branch map for ``branch_...``."""
        if labels not in get_args(LabelSet):
            raise ConfigError("data.labels", seen=labels, expected=f"one of {', '.join(get_args(LabelSet))}")
        if labels.startswith("branch_"):
            known = set(self.codes)
            return [code for code in (branches or {})[labels.removeprefix("branch_")] if code in known]
        found = (self._of(row, labels) for row in self.rows)
        return list(dict.fromkeys(name for name in found if name))

    def labels_of(
        self, codes: Mapping[str, float], labels: LabelSet, names: Iterable[str], min_likelihood: float = 0.0
    ) -> tuple[str, ...]:
        """Labels of one record, in the order of ``names``.

        ``min_likelihood`` (0 to 100) drops codes of a smaller likelihood; codes that say form or rhythm carry
        no likelihood (0) and are never dropped.
        """
        by_code = {row.code: row for row in self.rows}
        found = set()
        for code, likelihood in codes.items():
            row = by_code.get(code)
            if row is None:
                continue
            pure = row.diagnostic and not row.form and not row.rhythm
            if not (pure and likelihood < min_likelihood):
                found.add(self._of(row, labels))
        return tuple(name for name in names if name in found)

    @staticmethod
    def _of(row: Statement, labels: str) -> str:
        """The label that a code stands for in a set; "" for none."""
        if labels == "superdiagnostic":
            return row.superclass if row.diagnostic else ""
        if labels == "subdiagnostic":
            return row.subclass if row.diagnostic else ""
        if labels in ("diagnostic", "form", "rhythm"):
            return row.code if getattr(row, labels) else ""
        return row.code


def read_statements(path: str | os.PathLike[str]) -> Statements:
    """Read ``scp_statements.csv`` (columns: the code, description, diagnostic, form, rhythm, classes).

    Raises:
        DataError: missing file or columns, or a code given twice.
    """
    import pandas as pd

    place = Path(path)
    try:
        table = pd.read_csv(place, index_col=0, keep_default_na=False, dtype=str)
    except FileNotFoundError:
        raise DataError(f"{place} is missing", expected="the code table of PTB-XL") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(f"{place} is not a CSV table", seen=str(error)) from None
    wanted = ["diagnostic", "form", "rhythm", "diagnostic_class", "diagnostic_subclass"]
    missing = [name for name in wanted if name not in table]
    if missing:
        raise DataError(
            f"{place}: column(s) {', '.join(missing)} missing", seen=list(table.columns), expected="PTB-XL's"
        )
    if not table.index.is_unique:
        twice = sorted(set(table.index[table.index.duplicated()]))
        raise DataError(f"{place}: codes given twice", seen=twice)
    rows = tuple(
        Statement(
            code=str(code).strip(),
            description=str(row.get("description", "")),
            diagnostic=_flag(row["diagnostic"]),
            form=_flag(row["form"]),
            rhythm=_flag(row["rhythm"]),
            superclass=str(row["diagnostic_class"]).strip(),
            subclass=str(row["diagnostic_subclass"]).strip(),
        )
        for code, row in table.iterrows()
    )
    return Statements(rows)


def parse_codes(text: str, *, where: str) -> dict[str, float]:
    """The ``scp_codes`` cell of a record: a Python dictionary code -> likelihood in 0..100.

    Raises:
        DataError: naming ``where``, when the text is no such dictionary.

    >>> parse_codes("{'NORM': 100.0, 'SR': 0.0}", where="row 2")
    {'NORM': 100.0, 'SR': 0.0}
    """
    try:
        value = ast.literal_eval(text)
        if not isinstance(value, dict):
            raise ValueError(type(value).__name__)
        return {str(code): float(likelihood) for code, likelihood in value.items()}
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise DataError(
            f"scp_codes in {where}", seen=text, expected="a dictionary such as {'NORM': 100.0}"
        ) from None


def _flag(cell: str) -> bool:
    return cell.strip() not in ("", "0", "0.0")
