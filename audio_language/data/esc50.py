"""The layout of ESC-50 and ESC-10: ``meta/esc50.csv`` beside ``audio/``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from audio_language.data.clip import Clip
from audio_language.data.tables import read_table
from core.data.checks import Quarantine
from core.data.manifest import confine
from core.errors import ConfigError, DataError

FOLDS = {"train": [1, 2, 3], "valid": [4], "test": [5]}


def read_esc50(
    root: str | os.PathLike[str],
    quarantine: Quarantine,
    *,
    folds: Mapping[str, Sequence[int]] = FOLDS,
    only_esc10: bool = False,
) -> list[Clip]:
    """The clips of a folder in ESC-50's layout (Piczak, "ESC: dataset for environmental sound
    classification", 2015).

    The source recording (``src_file``, or the second part of the file name) is the group. ESC-50 keeps a
    source within one fold; a source that is in two splits is refused.

    Args:
        root: the folder that holds ``audio`` and ``meta``.
        quarantine: gets the rows that cannot be used.
        folds: split -> fold numbers; other folds are left out.
        only_esc10: only the ten classes of ESC-10.

    Raises:
        DataError: no table, or missing columns. ConfigError: a fold in two splits.
    """
    base = Path(root)
    split_of = {fold: split for split, numbers in folds.items() for fold in numbers}
    if len(split_of) != sum(map(len, folds.values())):
        raise ConfigError("folds", seen=dict(folds), expected="each fold in one split")
    table = base / "meta" / "esc50.csv"
    clips = []
    for number, row in read_table(table, ["filename", "fold", "category"]):
        with quarantine.item(row["filename"], row=number):
            if not row["fold"].isdigit():
                raise DataError("fold", seen=row["fold"], expected="a number")
            if not row["category"]:
                raise DataError("category", seen="", expected="the class")
            if int(row["fold"]) not in split_of or (only_esc10 and row.get("esc10", "True") != "True"):
                continue
            path = confine(base / "audio", row["filename"], where=f"{table} row {number}, filename")
            parts = Path(row["filename"]).stem.split("-")
            source = row.get("src_file") or (parts[1] if len(parts) > 1 else row["filename"])
            split = split_of[int(row["fold"])]
            clips.append(Clip(row["filename"], str(path), source, split, label=row["category"]))
    return clips
