"""A repository or plain folder to functions: each file is read once, and what is left out has a reason."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from code_search.data.extract import FileResult, extract_functions
from code_search.data.functions import Function
from code_search.data.languages import language_of
from code_search.data.listing import Skipped, is_inside, list_files
from code_search.data.skip import skip_by_content
from code_search.data.text import to_utf8
from code_search.data.windows import line_windows

MAX_TEXT_BYTES = 100_000  # of a file in no known language: word lists and dumps would drown the code


def read_repository(
    root: str | os.PathLike[str],
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    max_file_kb: int = 1000,
    group: str | None = None,
) -> tuple[Iterator[Function], list[Skipped]]:
    """Read every function under ``root``; the arguments are those of `list_files`.

    Returns:
        (functions, skipped): the list of skipped files is complete once the iterator is spent.

    Raises:
        DataError: the root is missing or no folder.
    """
    files, skipped = list_files(root, include=include, exclude=exclude, max_file_kb=max_file_kb)
    name = Path(root).resolve().name if group is None else group

    def functions() -> Iterator[Function]:
        for file in files:
            result = read_file(root, file.path, group=name, max_file_kb=max_file_kb, force=bool(include))
            if result.status == "skipped":
                skipped.append(Skipped(file.path, result.reason))
            yield from result.functions

    return functions(), skipped


def read_file(
    root: str | os.PathLike[str], path: str, *, group: str = "", max_file_kb: int = 1000, force: bool = False
) -> FileResult:
    """Read one file of a repository: its functions, or windows of lines where it has none.

    Never raises for what the file holds or for a file that vanished: then the status is ``skipped`` and the
    reason says why.

    Args:
        root: the repository.
        path: relative POSIX path.
        group: copied into the functions.
        max_file_kb: a file that grew over it is skipped.
        force: take minified and generated files as well.
    """
    source = read_bytes(root, path, max_file_kb)
    if isinstance(source, str):
        return FileResult(path, [], "skipped", source)
    blob = blob_id(source)
    reason = skip_by_content(source)
    if reason and not (force and reason in ("minified", "generated")):
        return FileResult(path, [], "skipped", reason, blob)
    language = language_of(path)
    if language is None and len(source) > MAX_TEXT_BYTES and not force:
        return FileResult(path, [], "skipped", "large text, not code", blob)
    if language is None:
        suffix = PurePosixPath(path).suffix.lower().lstrip(".") or "text"
        encoding = to_utf8(source)[1]
        note = "" if encoding == "utf-8" else f"not UTF-8: read as {encoding}"
        return FileResult(path, line_windows(source, suffix, path, group), "ok", note, blob)
    result = extract_functions(source, language, path, group)
    functions = result.functions or line_windows(source, language, path, group)
    return replace(result, functions=functions, blob=blob)


def read_bytes(root: str | os.PathLike[str], path: str, max_file_kb: int = 1000) -> bytes | str:
    """The bytes of a regular file inside ``root``, or the reason (a str) why they are not to be had.

    The path must stay inside the root after links are resolved; a link itself is not opened.
    """
    base = os.path.realpath(root)
    full = f"{base}/{path}"
    folder = os.path.realpath(full.rpartition("/")[0])
    if path.startswith("/") or PurePosixPath(path).name in ("", "..") or not is_inside(folder, base):
        return "outside the root"
    try:
        handle = os.open(full, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return "deleted while reading"
    except OSError as error:
        return "symbolic link" if Path(full).is_symlink() else f"cannot be read: {error.strerror}"
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)  # before fdopen, which refuses a folder with an error
        return "not a regular file"
    with os.fdopen(handle, "rb") as stream:
        try:
            source = stream.read(max_file_kb * 1000 + 1)
        except OSError as error:
            return f"cannot be read: {error.strerror}"
    return source if len(source) <= max_file_kb * 1000 else f"over {max_file_kb} kB"


def blob_id(source: bytes) -> str:
    """The id that git gives these bytes.

    >>> blob_id(b"hello\\n")
    'ce013625030ba8dba906f756967f9e9ca394464a'
    """
    return hashlib.sha1(b"blob %d\0" % len(source) + source, usedforsecurity=False).hexdigest()
