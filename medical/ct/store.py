"""Hashing a data set: parallel, cached by content, resumable; the unit of work is a series."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.data.checks import Finding, findings_csv
from core.data.digest import digest_of
from core.data.parallel import parallel_map
from core.files import atomic_write, read_json, sha256_file
from medical.ct.data.pixels import series_images
from medical.ct.data.series import Problem
from medical.ct.hashing import dhash, from_hex, to_hex
from medical.ct.similarity import entropy

if TYPE_CHECKING:
    import pandas as pd

CACHE = Path(".kindred/ct_hashes")
VERSION = 1
"""Raised when the same pixels would hash otherwise."""


@dataclass(frozen=True)
class Hashed:
    """The outcome of `hash_slices`.

    Attributes:
        table: the slices that have a hash, in the order given, with columns hash (hexadecimal) and
            entropy_bits added.
        problems: the slices that have none.
        digest: of the content of all files and of the settings.
        computed: series that were hashed now; the others came from the cache.
    """

    table: pd.DataFrame = field(repr=False)
    problems: list[Problem] = field(repr=False)
    digest: str
    computed: int


def hash_slices(
    root: str | os.PathLike[str],
    table: pd.DataFrame,
    *,
    window: str,
    hash_size: int = 8,
    cache: str | os.PathLike[str] = CACHE,
    scheduler: str = "serial",
    workers: int | None = None,
    progress: str | None = None,
) -> Hashed:
    """Hash every slice of a table; what the cache holds is not read again.

    A finished series is written to the cache at once, so a run that was killed goes on with the rest, and a
    data set that grew hashes what is new. Entries are named by the content of the files and by the settings;
    a file whose size and time did not change is taken to have the content it had.

    Args:
        root: of the data set; workers on other machines must see it, and the cache, under the same path.
        table: rows of `medical.ct.data.series.slice_table`.
        window: see `medical.ct.window.to_bytes`.
        hash_size: 8 or 16.
        cache: folder; another one starts afresh.
        scheduler, workers, progress: of `core.data.parallel.parallel_map`.

    The result does not depend on the scheduler or the number of workers.
    """
    settings = {
        "window": window,
        "hash_size": hash_size,
        "version": VERSION,
        "pillow": _pillow(),
    }
    parts = [rows for _, rows in table.reset_index(drop=True).groupby("series", sort=False)]
    names = ["series", "path", "frame", "kind", "oriented", "channel"]
    items = [rows[names].to_dict("records") for rows in parts]
    work = partial(_hash_series, str(Path(root).resolve()), str(Path(cache).resolve()), settings)
    results = parallel_map(work, items, scheduler=scheduler, workers=workers, progress=progress)
    codes, bits = np.full(len(table), "", dtype=object), np.zeros(len(table))
    problems = []
    for rows, result in zip(parts, results, strict=True):
        places = rows.index.to_numpy()
        codes[places], bits[places] = result["hash"], result["entropy"]
        problems += [Problem(*one) for one in result["problems"]]
    named = table.reset_index(drop=True).assign(hash=codes, entropy_bits=bits)
    return Hashed(
        named[named["hash"] != ""].reset_index(drop=True),
        problems,
        digest_of([result["key"] for result in results]),
        sum(result["computed"] for result in results),
    )


def codes_of(table: pd.DataFrame) -> np.ndarray:
    """The packed hashes (n, bytes) uint8 of a table that `hash_slices` made."""
    return from_hex(table["hash"])


def rejected_csv(validation: Path, problems: list[Problem]) -> str:
    """What was left out, by headers or by pixels, as CSV: path, kind, reason."""
    found = [
        Finding(one["file"], None, one["level"], one["kind"], one["reason"])
        for one in read_json(validation)["findings"]
        if one["level"] == "quarantined"
    ]
    found += [Finding(one.place, None, "quarantined", one.kind, one.reason) for one in problems]
    return findings_csv(found)


def _hash_series(
    root: str, cache: str, settings: Mapping[str, Any], rows: list[dict[str, Any]]
) -> dict[str, Any]:
    """Hashes of one series from the cache, or from its files."""
    key = _content_key(Path(root), Path(cache), settings, rows)
    entry = Path(cache) / key[:2] / f"{key}.json"
    try:
        return {**json.loads(entry.read_text()), "key": key, "computed": False}
    except (OSError, ValueError):
        pass
    found: dict[str, Any] = {"hash": [], "entropy": [], "problems": []}
    for image in series_images(Path(root), rows, str(settings["window"])):
        if isinstance(image, Problem):
            found["problems"].append([image.place, image.kind, image.reason])
            found["hash"].append("")
            found["entropy"].append(0.0)
        else:
            found["hash"].append(to_hex(dhash(image, int(settings["hash_size"]))))
            found["entropy"].append(round(float(entropy(image[None])[0]), 4))
    # What is wrong with a file today may be mended tomorrow without a trace in size and time
    if not any(kind in ("missing", "unreadable") for _, kind, _ in found["problems"]):
        atomic_write(entry, json.dumps(found))
    return {**found, "key": key, "computed": True}


def _content_key(
    root: Path, cache: Path, settings: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> str:
    """Digest of the settings, the frames and the files' content; the latter remembered by size and time."""
    paths = list(dict.fromkeys(str(row["path"]) for row in rows))
    frames = [[row["path"], row["frame"], row["kind"], bool(row["oriented"]), row["channel"]] for row in rows]
    seen = digest_of([(str(root / path), *_stamp(root / path)) for path in paths])
    memo = cache / "seen" / seen[:2] / seen
    try:
        content = memo.read_text()
    except OSError:
        content = digest_of([_content(root / path) for path in paths])
        atomic_write(memo, content)
    return digest_of(dict(settings), frames, content)


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


def _content(path: Path) -> str:
    try:
        return sha256_file(path)
    except OSError:
        return ""


def _pillow() -> str:
    from PIL import __version__

    return __version__
