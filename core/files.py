"""Files that are either whole or not there: atomic writes, JSON with one layout, SHA-256."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core.errors import DataError

_TROUBLE = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file is larger than the limit on files",
    errno.EROFS: "the folder is read-only",
    errno.EACCES: "no permission",
}


def disk_trouble(error: OSError) -> str:
    """In words, what the user of this machine can mend (a full disk, a read-only folder); '' for other errors.

    >>> disk_trouble(OSError(errno.ENOSPC, "No space left on device", "out/model.safetensors"))
    'the disk is full: out/model.safetensors'
    """
    words = _TROUBLE.get(error.errno or 0, "")
    return words and f"{words}: {error.filename or error}"


def atomic_write(path: str | os.PathLike[str], content: bytes | str) -> Path:
    """Write ``content`` to ``path`` so that a reader sees the old file or the new one, never a part.

    The bytes go to a temporary file in the same folder, are flushed to disk, and take the name in one rename.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode("utf-8") if isinstance(content, str) else content
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(0o666 & ~_UMASK)
        temporary.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    return target


@contextlib.contextmanager
def atomic_directory(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield an empty temporary folder that takes the name ``path`` (replacing it) when the block ends well.

    On an error nothing of the old folder is touched and the temporary one is removed.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp"))
    try:
        yield temporary
        temporary.chmod(0o777 & ~_UMASK)
        if target.exists():
            _swap(temporary, target)
        else:
            temporary.replace(target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _swap(new: Path, target: Path) -> None:
    """Give ``new`` the name of an existing folder, which comes back if that fails."""
    old = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.", suffix=".old.tmp"))
    target.replace(old / "content")
    try:
        new.replace(target)
    except BaseException:
        (old / "content").replace(target)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def _umask() -> int:
    value = os.umask(0)
    os.umask(value)
    return value


_UMASK = _umask()  # once, at import: it can only be read by setting it, which other threads would see


def _plain(value: Any) -> Any:
    """Numpy scalars, arrays, paths and non-finite floats as what JSON knows (NaN and inf become null)."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return value.as_posix()
    if hasattr(value, "tolist") and not isinstance(value, (str, bytes)):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def write_json(path: str | os.PathLike[str], value: Any) -> Path:
    """Write ``value`` as UTF-8 JSON, keys in insertion order, atomically."""
    return atomic_write(path, json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file. Raises DataError naming the file where it is missing or not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path} is missing", remedy="run the stage that writes it (dvc repro)") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} is not JSON", seen=str(error), remedy="delete it and run dvc repro"
        ) from None


def sha256_file(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's content, as 64 hexadecimal digits."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
