"""Items as files: the accepted recordings between the validate and the prepare stage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.errors import DataError
from core.files import read_json, write_json
from medical.ecg.data.items import Items

_KEPT = ("id", "patient", "split", "path", "labels", "row")


def save_items(items: Items, quality: Sequence[dict[str, Any]], folder: Path, *, root: Path) -> None:
    """Write ``items.csv`` (paths relative to ``root``), ``items.json`` and ``quality.csv``."""
    import pandas as pd

    base = root.resolve()
    table = items.table[list(_KEPT)].copy()
    table["path"] = [Path(path).resolve().relative_to(base).as_posix() for path in table["path"]]
    table["labels"] = [";".join(names) for names in table["labels"]]
    table.to_csv(folder / "items.csv", index=False)
    pd.DataFrame(quality).to_csv(folder / "quality.csv", index=False)
    write_json(folder / "items.json", {"root": str(root), "labels": items.labels, "facts": items.facts})


def load_items(folder: Path) -> Items:
    """Read what `save_items` wrote.

    Raises:
        DataError: the root is gone.
    """
    import pandas as pd

    facts = read_json(folder / "items.json")
    root = Path(facts["root"])
    if not root.is_dir():
        raise DataError(f"{root} is gone", remedy="run the validate stage again with the right data.root")
    table = pd.read_csv(folder / "items.csv", dtype=str, keep_default_na=False)
    table["path"] = [str(root / path) for path in table["path"]]
    table["labels"] = [tuple(filter(None, names.split(";"))) for names in table["labels"]]
    table["row"] = table["row"].astype(int)
    return Items(table, facts["labels"], facts["facts"])
