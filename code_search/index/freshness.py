"""What became of a result since the index was made: its file may be gone, or changed here or elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from code_search.data.repository import blob_id, read_bytes
from code_search.data.text import to_utf8
from code_search.index.files import Signature, signature_of

_LARGEST_KB = 100_000


@dataclass(frozen=True)
class Place:
    """Lines of a function now (1-based, both included), and how sure they are: see ``Result.state``."""

    start: int
    end: int
    state: str


class Freshness:
    """Compares results with the files as they are now; each file is looked at once for each object.

    A file is compared by content, so a touched or checked-out file with the same bytes is still current. Where size,
    inode and times are those that were noted with a content, the file is not read.

    Args:
        root: the repository; None where there is none to compare with.
        noted: content hash by path and signature (`code_search.index.files.recall`).
    """

    def __init__(self, root: Path | None, noted: Mapping[str, Mapping[Signature, str]] | None = None) -> None:
        self.root, self.noted = root, noted or {}
        self._seen: dict[str, tuple[str, str] | None] = {}

    def place(self, path: str, blob: str, start: int, end: int, source: str) -> Place | None:
        """Where the function is now; None when its file is gone.

        Args:
            path: relative to the root.
            blob: content hash of the file when it was indexed.
            start, end: its lines then.
            source: its text then; it may begin above ``start`` with the comment that documents it.
        """
        if self.root is None:
            return Place(start, end, "unchecked")
        if path not in self._seen:
            self._seen[path] = self._read(path, blob)
        now = self._seen[path]
        if now is None:
            return None
        if now[0] == blob:
            return Place(start, end, "current")
        text = now[1]
        at = text.find(source)
        if not source.strip() or at < 0 or text.find(source, at + 1) >= 0:
            return Place(start, end, "changed")
        shift = text.count("\n", 0, at + len(source)) + 1 - end
        return Place(start + shift, end + shift, "moved" if shift else "current")

    def _read(self, path: str, blob: str) -> tuple[str, str] | None:
        assert self.root is not None
        signature = signature_of(self.root / path)
        if signature is not None and self.noted.get(path, {}).get(signature) == blob:
            return blob, ""
        content = read_bytes(self.root, path, _LARGEST_KB)
        if isinstance(content, str):
            return ("", "") if content.startswith("over ") else None
        found = blob_id(content)
        return found, "" if found == blob else to_utf8(content)[0].decode("utf-8", errors="replace")
