"""The index that travels with a registered model."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from code_search.index import Options, build_index, export_snapshot

NOT_LIBRARY = ["site-packages/", "dist-packages/", "test/", "tests/", "idle_test/", "lib2to3/tests/"]
"""Left out of the standard library's index (.gitignore syntax)."""


def carried_index(
    model: str | os.PathLike[str],
    scratch: Path,
    *,
    root: str | os.PathLike[str] | None = None,
    exclude: Sequence[str] = (),
) -> Path:
    """Index a repository with a trained encoder and return the folder of the snapshot, inside ``scratch``.

    Args:
        model: folder of the encoder.
        scratch: an empty folder.
        root: repository to index; None for the standard library of this Python, without its tests.
        exclude: patterns left out, besides.

    Raises:
        DataError: there is no such folder, or no encoder in ``model``.
    """
    standard = root is None
    place = sysconfig.get_path("stdlib") if root is None else root
    options = Options(exclude=[*(NOT_LIBRARY if standard else ()), *exclude])
    build_index(place, index_dir=scratch / "index", model=model, options=options)
    return export_snapshot(scratch / "index", scratch / "snapshot")
