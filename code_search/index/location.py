"""Where an index lives: one folder for each root, in the user's cache, found again from anywhere below."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from core.errors import DataError
from core.files import atomic_write

CURRENT = "kindred-index.json"
"""The file whose replacement publishes a new snapshot; no repository has a file of this name by chance."""
MANIFEST = "kindred-snapshot.json"
"""The file that makes a folder a snapshot."""


def indexable_root(path: str | os.PathLike[str]) -> Path:
    """The absolute folder that ``path`` names, links resolved.

    Raises:
        DataError: it is missing, or is not a folder.
    """
    root = Path(path).expanduser()
    if not root.exists():
        raise DataError(f"{root}", seen="nothing there", expected="a folder to index")
    if not root.is_dir():
        raise DataError(f"{root}", seen="a file", expected="a folder to index", remedy=f"index {root.parent}")
    return root.resolve()


def default_location(root: Path) -> Path:
    """The index folder of ``root``: ``$XDG_CACHE_HOME/kindred/index/NAME-HASH``, else below ``~/.cache``.

    Where there is no home it is ``ROOT/.kindred/index``, so that an index is never lost in a folder nobody
    looks at. The hash keeps two roots of one name apart.
    """
    cache = os.environ.get("XDG_CACHE_HOME") or (os.environ.get("HOME") and f"{os.environ['HOME']}/.cache")
    if not cache or not Path(cache).is_absolute():
        return root / ".kindred" / "index"
    digest = hashlib.sha256(os.fsencode(root)).hexdigest()[:16]
    name = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in root.name) or "root"
    return Path(cache) / "kindred" / "index" / f"{name}-{digest}"


def prepare_location(folder: Path) -> None:
    """Create an index folder that can be written; one inside a repository hides itself from git.

    Raises:
        DataError: it cannot be created or written (a read-only disk, a full one).
    """
    try:
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)  # it holds source text
        if folder.parent.name == ".kindred" and not (folder.parent / ".gitignore").exists():
            atomic_write(folder.parent / ".gitignore", "*\n")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied")
    except OSError as error:
        raise DataError(
            f"index folder {folder}",
            seen=error.strerror,
            expected="a folder that can be written",
            remedy="pass --index-dir with one",
        ) from None


def is_index(folder: Path) -> bool:
    """Whether ``folder`` holds an index or is one snapshot of an index."""
    return (folder / CURRENT).is_file() or (folder / MANIFEST).is_file()


def find_index(path: str | os.PathLike[str]) -> tuple[Path, Path]:
    """The index that covers ``path``, and the folder it was made of: ``path`` or the nearest one above it.

    Raises:
        DataError: no folder from ``path`` upwards was indexed; names the command that does it.
    """
    start = Path(path).expanduser().resolve()
    for root in (start, *start.parents):
        for folder in (default_location(root), root / ".kindred" / "index"):
            if is_index(folder):
                return folder, root
    folder = start if start.is_dir() else start.parent
    raise DataError(f"no index covers {start}", remedy=f"kindred index {folder}")
