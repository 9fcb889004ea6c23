"""Captioned sounds: AudioCaps, Clotho, and an own folder with ``captions.csv``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from audio_language.audio_file import SUFFIXES
from audio_language.data.clip import SPLITS, Clip, meaning
from audio_language.data.tables import read_table
from core.data.checks import Quarantine
from core.data.manifest import FRACTIONS, confine
from core.data.splits import group_split
from core.errors import DataError

AUDIOCAPS = {"train": "train", "val": "valid", "test": "test"}
CLOTHO = {"development": "train", "validation": "valid", "evaluation": "test"}
CAPTIONS = "captions.csv"


def read_audiocaps(root: str | os.PathLike[str], quarantine: Quarantine) -> list[Clip]:
    """AudioCaps (Kim et al., NAACL 2019): ``{train,val,test}.csv`` and the downloaded sounds.

    Columns ``audiocap_id, youtube_id, start_time, caption``; one caption a row, five rows a clip in val and
    test. The sounds lie in ``SPLIT/``, ``audio/SPLIT/`` or ``audio/``, named by the YouTube id (with or
    without a leading Y and ``_START``) or by the AudioCaps id. A video is a group.
    """
    base, rows = Path(root), []
    for name, split in AUDIOCAPS.items():
        table = base / f"{name}.csv"
        if not table.is_file():
            continue
        sounds = _sounds(folder for folder in (base / name, base / "audio" / name, base / "audio"))
        for number, row in read_table(table, ["audiocap_id", "youtube_id", "start_time", "caption"]):
            video, start = row["youtube_id"], row["start_time"]
            names = (f"{video}_{start}", f"Y{video}_{start}", video, f"Y{video}", row["audiocap_id"])
            found = next((sounds[one] for one in names if one in sounds), None)
            where = f"{name}.csv: {video}"
            if found is None:
                quarantine.add(where, "missing", f"no sound named {video} in {name}", row=number)
                continue
            rows.append((number, where, found, f"{video}_{start}", video, split, row["caption"]))
    _refuse_none(rows, base, "train.csv, val.csv or test.csv with their sounds")
    return _grouped(rows, quarantine)


def read_clotho(root: str | os.PathLike[str], quarantine: Quarantine) -> list[Clip]:
    """Clotho (Drossos et al., ICASSP 2020): ``clotho_captions_SPLIT.csv`` beside ``SPLIT/*.wav``.

    SPLIT is development, validation or evaluation; columns ``file_name, caption_1`` to ``caption_5``.
    """
    base, rows = Path(root), []
    for name, split in CLOTHO.items():
        table = base / f"clotho_captions_{name}.csv"
        if not table.is_file():
            continue
        for number, row in read_table(table, ["file_name", "caption_1"]):
            with quarantine.item(row["file_name"], row=number):
                path = confine(base / name, row["file_name"], where=f"{table} row {number}")
                captions = [value for key, value in row.items() if key.startswith("caption_") and value]
                rows += [
                    (
                        number,
                        row["file_name"],
                        path,
                        f"{name}/{row['file_name']}",
                        row["file_name"],
                        split,
                        caption,
                    )
                    for caption in captions or [""]
                ]
    _refuse_none(rows, base, "clotho_captions_development.csv and the like")
    return _grouped(rows, quarantine)


def read_captions(
    root: str | os.PathLike[str],
    quarantine: Quarantine,
    *,
    fractions: Mapping[str, float] = FRACTIONS,
    seed: int = 0,
) -> list[Clip]:
    """An own folder of sounds with ``captions.csv``: ``file,caption[,label][,group][,split]``.

    A file may have several rows, one a caption. Files that no row names are listed as ``uncaptioned``. A row
    without group is its own; where no row names a split, groups are split by a hash.

    Raises:
        DataError: no table, no usable row, a split of another name, or splits in only some rows.
    """
    base = Path(root)
    table = base / CAPTIONS
    rows, labels, groups, splits, named = [], {}, {}, {}, set()
    for number, row in read_table(table, ["file", "caption"]):
        with quarantine.item(row["file"], row=number):
            path = confine(base, row["file"], where=f"{table} row {number}, file")
            named.add(path)
            key = path.relative_to(base.resolve()).as_posix()
            labels[key] = row.get("label", "")
            groups[key] = row.get("group", "") or key
            splits[key] = row.get("split", "")
            if splits[key] and splits[key] not in SPLITS:
                raise DataError("split", seen=splits[key], expected=f"one of {', '.join(SPLITS)}")
            rows.append((number, row["file"], path, key, groups[key], splits[key], row["caption"]))
    for path in sorted(base.rglob("*")):
        if path.suffix.lower() in SUFFIXES and path.resolve() not in named:
            quarantine.add(path.relative_to(base), "uncaptioned", f"no row of {CAPTIONS} names it")
    _refuse_none(rows, base, f"rows of {CAPTIONS}")
    given = {bool(split) for split in splits.values()}
    if given == {True, False}:
        lacking = next(key for key, split in splits.items() if not split)
        raise DataError(f"{table}: split of {lacking}", seen="", expected="a split in all rows, or in none")
    if given == {False}:
        keys = list(dict.fromkeys(row[3] for row in rows))
        splits = dict(zip(keys, group_split([groups[key] for key in keys], fractions, seed)))
    rows = [(*row[:5], splits[row[3]], row[6]) for row in rows]
    return _grouped(rows, quarantine, labels)


def _grouped(
    rows: Iterable[tuple[int, str, Path, str, str, str, str]],
    quarantine: Quarantine,
    labels: Mapping[str, str] | None = None,
) -> list[Clip]:
    """One clip a file; captions that are blank, or given twice for a file, are listed and left out."""
    found: dict[str, Clip] = {}
    for number, file, path, key, group, split, caption in rows:
        if not meaning(caption):
            quarantine.add(file, "blank_caption", "its caption holds no word", row=number)
            continue
        clip = found.setdefault(key, Clip(key, str(path), group, split, (labels or {}).get(key, "")))
        if meaning(caption) in map(meaning, clip.captions):
            quarantine.add(file, "duplicate_row", "the file has this caption already", row=number)
            continue
        clip.captions.append(caption)
    return list(found.values())


def _sounds(folders: Iterable[Path]) -> dict[str, Path]:
    """Name without suffix -> file."""
    found: dict[str, Path] = {}
    for folder in folders:
        if folder.is_dir():
            for path in sorted(folder.iterdir()):
                if path.suffix.lower() in SUFFIXES:
                    found.setdefault(path.stem, path)
    return found


def _refuse_none(rows: list[tuple[int, str, Path, str, str, str, str]], base: Path, expected: str) -> None:
    if not rows:
        raise DataError(f"no captioned sound in {base}", expected=expected, remedy="check data.root")
