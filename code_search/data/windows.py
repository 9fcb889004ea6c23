"""Windows of lines: what stands in for functions where a file has none, so that nothing is unfindable."""

from __future__ import annotations

from pathlib import PurePosixPath

from code_search.data.functions import Function
from code_search.data.text import to_utf8

LINES, OVERLAP = 40, 10


def line_windows(source: bytes, language: str, path: str, group: str = "") -> list[Function]:
    """Cut a text into windows of 40 lines, each sharing 10 with the one before; blank windows are left out.

    >>> [w.id for w in line_windows(b"x\\n" * 75, "text", "notes.txt")]
    ['notes.txt:1-40', 'notes.txt:31-70', 'notes.txt:61-75']
    """
    lines = to_utf8(source)[0].decode("utf-8", "replace").replace("\r\n", "\n").rstrip("\n").split("\n")
    name = PurePosixPath(path).name
    windows = []
    for first in range(0, max(len(lines) - OVERLAP, 1), LINES - OVERLAP):
        text = "\n".join(lines[first : first + LINES])
        if text.strip():
            last = min(first + LINES, len(lines))
            windows.append(
                Function(language, path, first + 1, last, name, path, text, "", text, group, "lines")
            )
    return windows
