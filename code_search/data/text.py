"""Bytes of a source file to UTF-8 bytes: byte-order marks, coding lines, Latin-1 as the last resort."""

from __future__ import annotations

import contextlib
import re

_CODING = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")
_MARKS = (
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)


def to_utf8(source: bytes) -> tuple[bytes, str]:
    """Return (the text as UTF-8 without a byte-order mark, the encoding that was read).

    UTF-8 first; then what a byte-order mark or a coding line (first two lines) says; then Latin-1, which
    reads everything. Line numbers stay as they are.

    >>> to_utf8("# café".encode("latin-1"))
    (b'# caf\\xc3\\xa9', 'latin-1')
    """
    for mark, encoding in _MARKS:
        if source.startswith(mark):
            return source.decode(encoding, errors="replace").encode(), encoding
    if source.startswith(b"\xef\xbb\xbf"):
        source = source[3:]
    if source.isascii():
        return source, "utf-8"
    try:
        source.decode("utf-8")
    except UnicodeDecodeError:
        encoding = _declared(source)
        return source.decode(encoding, errors="replace").encode(), encoding
    return source, "utf-8"


def is_binary(source: bytes) -> bool:
    """True for bytes that are no text: a NUL in the first 8,192 bytes and no UTF-16/32 byte-order mark.

    >>> is_binary(b"\\x7fELF\\x00"), is_binary("\\ufefftext".encode("utf-16"))
    (True, False)
    """
    head = source[:8192]
    return b"\x00" in head and not any(head.startswith(mark) for mark, _ in _MARKS)


def _declared(source: bytes) -> str:
    """The text encoding that a coding line names and Python knows, or Latin-1."""
    for line in source.split(b"\n", 2)[:2]:
        match = _CODING.match(line)
        if match:
            name = match.group(1).decode("ascii", "replace")
            with contextlib.suppress(LookupError, UnicodeError):
                if isinstance(source.decode(name, errors="replace"), str):
                    return name
    return "latin-1"
