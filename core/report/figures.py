"""Images inside the page: a data URI each, from inside the pipeline's own folder only."""

from __future__ import annotations

import base64
from pathlib import Path

from core.errors import DataError

LARGEST = 8 * 2**20
_KINDS = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"<svg", "image/svg+xml"),
    (b"<?xml", "image/svg+xml"),
)


def data_uri(file: str, folder: Path) -> str:
    """The image ``file`` (relative to ``folder``) as a data URI; its kind is judged by content.

    Raises:
        DataError: outside the folder, missing, too large, or not an image.
    """
    path = (folder / file).resolve()
    shown = "/".join(folder.parts[-2:])
    if not path.is_relative_to(folder.resolve()):
        raise DataError(f"figure {file!r}", expected=f"a path inside {shown}")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"figure {file!r} in {shown}", seen=error.strerror, expected="a readable image"
        ) from None
    if len(content) > LARGEST:
        raise DataError(f"figure {file!r}", seen=f"{len(content) / 2**20:.1f} MiB", expected="at most 8 MiB")
    kind = next((kind for magic, kind in _KINDS if content.lstrip()[:16].startswith(magic)), None)
    if kind is None:
        raise DataError(f"figure {file!r} in {shown}", expected="a PNG, JPEG, GIF or SVG image")
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
