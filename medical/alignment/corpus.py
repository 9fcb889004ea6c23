"""The list of items between the stages: from a source, and to and from disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import ConfigError
from core.files import atomic_directory, read_json, write_json
from medical.alignment.data.items import COLUMNS, Items
from medical.alignment.data.link import Rule
from medical.alignment.data.sources import read_items


def list_items(
    source: str,
    *,
    root: str | None,
    manifest: str | None,
    findings: Sequence[str],
    demo_folder: Path,
    demo: Mapping[str, Any],
    rule: Mapping[str, Any],
    keep_unlinked: bool,
    empty_reports: str,
    official_split: bool,
    fractions: Mapping[str, float],
    seed: int,
) -> Items:
    """The items of a source; those of the demo are generated into ``demo_folder`` first.

    Args:
        demo: of `medical.alignment.demo.write_demo`. rule: of `Rule`. The others: of `read_items`.

    Raises:
        ConfigError: no findings for a source whose table does not name them.
    """
    names = list(findings)
    if source == "demo":
        from medical.alignment.demo import write_demo
        from medical.alignment.phantom import FINDINGS

        shutil.rmtree(demo_folder, ignore_errors=True)
        root, names = str(write_demo(demo_folder, **demo)), names or list(FINDINGS)
    elif source in ("mimic", "symile_mimic", "chexpert") and not names:
        raise ConfigError(
            "data.findings", seen=names, expected="CheXpert label columns", remedy="[Edema, ...]"
        )
    return read_items(
        source, str(root), manifest=manifest, findings=names, rule=Rule(**rule), keep_unlinked=keep_unlinked,
        empty_reports=empty_reports, official_split=official_split, fractions=fractions, seed=seed,
    )  # fmt: skip


def save_items(items: Items, folder: str | os.PathLike[str]) -> None:
    """Write ``items.csv``, ``targets.npy`` and ``items.json``."""
    with atomic_directory(folder) as target:
        items.table[list(COLUMNS)].to_csv(target / "items.csv", index=False)
        np.save(target / "targets.npy", items.targets)
        write_json(target / "items.json", {"labels": items.labels, "facts": items.facts})


def load_items(folder: str | os.PathLike[str]) -> Items:
    """Read what `save_items` wrote."""
    import pandas as pd

    home = Path(folder)
    facts = read_json(home / "items.json")
    text = {name: str for name in COLUMNS if name != "row"}
    table = pd.read_csv(home / "items.csv", dtype=text, keep_default_na=False)
    return Items(table, facts["labels"], np.load(home / "targets.npy"), facts["facts"])
