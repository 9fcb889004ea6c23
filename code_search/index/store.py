"""The folder of an index: snapshots side by side, one file that says which is current, one lock for writers.

A reader takes whatever is current when it opens and keeps it: publishing is the replacement of one small
file, and the files of an older snapshot stay readable for as long as somebody has them open.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from code_search.index.location import CURRENT, MANIFEST
from code_search.index.snapshot import Snapshot, read_snapshot, write_snapshot
from core.errors import DataError
from core.files import read_json, sha256_file, write_json
from core.locks import waiting_lock

_ATTEMPTS = 5


class Store:
    """An index folder. Writing is for whoever holds `lock`; reading needs no lock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def lock(self, say: Callable[[str], None] | None = None) -> AbstractContextManager[None]:
        """Hold off other writers; waits for the one at work, and says so."""
        return waiting_lock(self.folder / "writer.lock", what=f"the index in {self.folder}", say=say)

    def read(self) -> Snapshot:
        """The current snapshot, checked against its SHA-256.

        Raises:
            DataError: nothing was published yet, or what was is damaged; names the command that mends it.
        """
        if (self.folder / MANIFEST).is_file():
            return read_snapshot(self.folder)
        for _ in range(_ATTEMPTS):
            name, digest = self._current()
            try:
                return read_snapshot(self.folder / name, digest)
            except (FileNotFoundError, DataError):
                # A snapshot that was replaced twice meanwhile is gone, and that is no damage.
                if self._current()[0] == name:
                    break
        try:
            return read_snapshot(self.folder / name, digest)
        except FileNotFoundError:
            raise DataError(
                f"the index in {self.folder} is damaged",
                seen=f"{name} is missing",
                remedy="run `kindred index` on the repository again",
            ) from None

    def has_content(self) -> bool:
        """Whether anything was ever published here."""
        return (self.folder / CURRENT).exists()

    def options(self) -> dict[str, Any] | None:
        """The options that the current snapshot was made with, None where there is none that can be read."""
        try:
            return self.read().description.options if self.has_content() else None
        except DataError:
            return None

    def publish(self, snapshot: Snapshot) -> Snapshot:
        """Make ``snapshot`` current and return it as read back; the one before is kept, older ones go."""
        previous, number = None, 0
        if (self.folder / CURRENT).is_file():
            try:
                previous = self._current()[0]
            except DataError:
                previous = None
        for path in self.folder.glob("snapshot-*"):
            suffix = path.name.removeprefix("snapshot-")
            number = max(number, int(suffix)) if suffix.isdigit() else number
        name = f"snapshot-{number + 1:06d}"
        folder = write_snapshot(snapshot, self.folder / name)
        write_json(
            self.folder / CURRENT, {"snapshot": name, "manifest_sha256": sha256_file(folder / MANIFEST)}
        )
        self._remove_all_but({name, previous})
        return read_snapshot(folder, verify=False)

    def _current(self) -> tuple[str, str]:
        path = self.folder / CURRENT
        if not path.is_file():
            raise DataError(
                f"no index in {self.folder}", remedy="run `kindred index` on the repository first"
            )
        try:
            content = read_json(path)
            name, digest = content["snapshot"], content["manifest_sha256"]
            if not isinstance(digest, str) or Path(name).name != name:
                raise ValueError(name)
        except (ValueError, KeyError, TypeError):
            raise DataError(
                f"the index in {self.folder} is damaged",
                seen=f"{CURRENT} does not name a snapshot",
                remedy="run `kindred index` on the repository again",
            ) from None
        return name, digest

    def _remove_all_but(self, kept: set[str | None]) -> None:
        """Drop older snapshots, and what a killed writer left half written."""
        for path in self.folder.iterdir():
            if path.is_dir() and path.name.lstrip(".").startswith("snapshot-") and path.name not in kept:
                shutil.rmtree(path, ignore_errors=True)


def export_snapshot(source: Path, destination: Path) -> Path:
    """Copy the current snapshot of an index to ``destination``, a folder that any machine can open.

    The copy answers from what it holds: it does not know where the repository was, so it does not look
    there for changes.

    Raises:
        DataError: there is no index in ``source``, or it is damaged.
    """
    snapshot = Store(source).read()
    model = snapshot.description.model
    described = replace(snapshot.description, root="", model=model and replace(model, reference=""))
    return write_snapshot(replace(snapshot, description=described), destination)
