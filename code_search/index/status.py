"""What an index holds, what it left out and why, and what changed since it was made."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

from code_search.index.files import SIGNATURES, SKIPPED, Options, scan
from code_search.index.location import find_index
from code_search.index.store import Store


def index_status(
    path: str | os.PathLike[str] = ".", *, index_dir: str | os.PathLike[str] | None = None
) -> dict[str, Any]:
    """Plain data about the index that covers ``path``.

    Keys: ``root``, ``index`` (its folder), ``mib`` on disk, ``files``, ``functions``, ``languages`` (with the
    functions of each), ``vectors`` and the ``model`` behind them, ``pending`` files, ``partial`` (files with
    syntax errors), ``skipped`` (files by reason), ``changed``, ``new`` and ``gone`` since it was made (None
    where the repository is not there), and ``options``.

    Raises:
        DataError: there is no index, or it is damaged.
    """
    folder = Path(index_dir).expanduser() if index_dir is not None else find_index(path)[0]
    snapshot = Store(folder).read()
    described = snapshot.description
    by_language = Counter(described.languages[number] for number in snapshot.rows[:, 3])
    skipped: dict[str, list[str]] = {}
    for record in snapshot.files:
        if record.status == SKIPPED:
            skipped.setdefault(record.reason, []).append(record.path)
    size = sum(file.stat().st_size for file in snapshot.folder.iterdir()) if snapshot.folder else 0
    return {
        "root": described.root,
        "index": str(folder),
        "mib": round(size / 2**20, 2),
        "files": sum(record.status != SKIPPED for record in snapshot.files),
        "functions": len(snapshot),
        "languages": dict(by_language.most_common()),
        "vectors": snapshot.vector_count,
        "model": vars(described.model) if described.model else None,
        "pending": described.pending,
        "partial": [record.path for record in snapshot.files if record.status == "partial"],
        "skipped": dict(sorted(skipped.items(), key=lambda item: -len(item[1]))),
        "options": described.options,
        **_since(
            snapshot.root, described.options, folder, {r.path: r.blob for r in snapshot.files if r.blob}
        ),
    }


def _since(
    root: str, options: dict[str, Any], folder: Path, known: dict[str, str]
) -> dict[str, list[str] | None]:
    if not root or not Path(root).is_dir():
        return {"changed": None, "new": None, "gone": None}
    found = scan(Path(root), Options(**options), folder / SIGNATURES, known)
    here = {seen.path: seen.blob for seen in found.files}
    return {
        "changed": sorted(path for path, blob in here.items() if path in known and blob != known[path]),
        "new": sorted(path for path in here if path not in known),
        "gone": sorted(path for path in known if path not in here),
    }
