"""The text of a unit with documentation and comments cut out, and the documentation that belongs to it."""

from __future__ import annotations

import re
from bisect import bisect_left

from code_search.data.documentation import from_comment, from_docstring
from code_search.data.units import Docstring

_ATTRIBUTE = re.compile(rb"[ \t]*(?:#!?\[|@\w)")
_BLOCK = (b"/*", b"=begin")


class SourceText:
    """The UTF-8 bytes of a file with the byte ranges of its comments and docstrings.

    Args:
        data: the file.
        comments: byte ranges in ascending order.
        docstrings: by the start of the node that owns them.
    """

    def __init__(
        self, data: bytes, comments: list[tuple[int, int]], docstrings: dict[int, Docstring]
    ) -> None:
        self.data = data
        self.docstrings = docstrings
        self.comments = comments
        self.comment_ends = [end for _, end in comments]
        cuts = [(start, end, b"") for start, end in comments]
        cuts += [(doc.start, doc.end, b"pass" if doc.alone else b"") for doc in docstrings.values()]
        self.cuts = sorted(cuts) if docstrings else cuts

    def docstring(self, owner: int) -> str:
        """The cleaned docstring of the node that starts at byte ``owner``, or ""."""
        doc = self.docstrings.get(owner)
        return from_docstring(self._decode(doc.start, doc.end)) if doc else ""

    def doc_comment(self, above: tuple[int, int] | None) -> str:
        """The cleaned comment in the byte range ``above``, or ""."""
        return from_comment(self._decode(*above)) if above else ""

    def comment_above(self, start: int) -> tuple[int, int] | None:
        """The byte range of the comment that ends on the line before the unit at ``start``.

        Line comments on consecutive lines count as one; lines with attributes (Rust, TypeScript) may stand
        between.
        None where the unit does not begin its line.
        """
        line = self.data.rfind(b"\n", 0, start) + 1
        if self.data[line:start].strip():
            return None
        found: tuple[int, int] | None = None
        while line:
            previous = self.data.rfind(b"\n", 0, line - 1) + 1
            end = previous + len(self.data[previous:line].rstrip())
            comment = self._comment_ending_at(end)
            if comment is None:
                if found is None and _ATTRIBUTE.match(self.data, previous, end):
                    line = previous
                    continue
                return found
            block = self.data.startswith(_BLOCK, comment[0])
            if found and block:
                return found
            found = (comment[0], found[1] if found else comment[1])
            if block:
                return found
            line = self.data.rfind(b"\n", 0, comment[0]) + 1
        return found

    def _comment_ending_at(self, end: int) -> tuple[int, int] | None:
        """The comment that ends there and has its line (its first line, if a block) to itself."""
        at = bisect_left(self.comment_ends, end)
        if at == len(self.comments) or self.comment_ends[at] != end:
            return None
        start = self.comments[at][0]
        line = self.data.rfind(b"\n", 0, start) + 1
        return None if self.data[line:start].strip() else self.comments[at]

    def raw(self, start: int, end: int) -> str:
        """The text as it stands, with the indentation before ``start``."""
        line = self.data.rfind(b"\n", 0, start) + 1
        return self._decode(start if self.data[line:start].strip() else line, end)

    def code(self, start: int, end: int) -> str:
        """The text without comments and docstrings; the first line's indentation is taken away everywhere."""
        parts: list[bytes] = []
        at = start
        for index in range(bisect_left(self.cuts, (start, 0, b"")), len(self.cuts)):
            cut_start, cut_end, stand_in = self.cuts[index]
            if cut_start >= end:
                break
            if cut_start < at:
                continue
            cut_start, cut_end, stand_in = self._whole_lines(cut_start, min(cut_end, end), stand_in, at, end)
            parts += (self.data[at:cut_start], stand_in)
            at = cut_end
        parts.append(self.data[at:end])
        text = b"".join(parts).decode("utf-8", "replace").replace("\r\n", "\n").rstrip()
        line = self.data.rfind(b"\n", 0, start) + 1
        indentation = self.data[line:start]
        if indentation and not indentation.strip():
            text = text.replace("\n" + indentation.decode(), "\n")
        return text

    def _whole_lines(
        self, start: int, end: int, stand_in: bytes, low: int, high: int
    ) -> tuple[int, int, bytes]:
        """Widen a cut to the lines that it leaves empty, or to the blanks before it."""
        if stand_in:
            return start, end, stand_in
        data = self.data
        line = max(data.rfind(b"\n", 0, start) + 1, low)
        newline = data.find(b"\n", end, high)
        stop = high if newline < 0 else newline
        before, after = data[line:start], data[end:stop]
        if after.lstrip().startswith(b";") and not before.strip():  # Python: a docstring, then `; statement`
            return start, stop - len(after.lstrip(b" \t;")), b""
        if after.strip():
            return start, end, b" " if b"\n" not in data[start:end] else b"\n"
        if before.strip() or newline < 0:
            return start - (len(before) - len(before.rstrip())), end, b""
        return line, newline + 1, b""

    def _decode(self, start: int, end: int) -> str:
        return self.data[start:end].decode("utf-8", "replace")
