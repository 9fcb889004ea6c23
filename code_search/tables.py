"""The corpus on disk: one table a split."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from code_search.data.functions import Function, from_table, to_table
from core.errors import DataError


def save_splits(splits: Mapping[str, Sequence[Function]], folder: Path) -> None:
    """Write ``<split>.parquet`` into an existing folder; raw source texts, which nothing reads, stay behind.

    >>> import tempfile
    >>> f = Function("python", "a.py", 1, 2, "area", "area", "def area(r)", "Area of a circle.", "raw", "a")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_splits({"test": [f]}, Path(folder))
    ...     load_split(folder, "test")[0].documentation
    'Area of a circle.'
    """
    for split, functions in splits.items():
        table = to_table([replace(function, source="") for function in functions])
        table.to_parquet(folder / f"{split}.parquet", index=False)


def load_split(folder: str | os.PathLike[str], split: str) -> list[Function]:
    """The functions of one split that `save_splits` wrote.

    Raises:
        DataError: it is not there.
    """
    import pandas as pd

    file = Path(folder) / f"{split}.parquet"
    if not file.is_file():
        raise DataError(f"{file} is missing", remedy="run the stage that writes it (dvc repro)")
    return from_table(pd.read_parquet(file))
