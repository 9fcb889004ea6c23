"""Recognise pickles by their content, since an extension proves nothing."""

from __future__ import annotations

import bz2
import lzma
import os
import pickletools
import re
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from core.errors import CheckpointError

_HEAD = 65536
_RUNS_CODE = {"GLOBAL", "STACK_GLOBAL", "INST", "OBJ", "REDUCE", "NEWOBJ", "NEWOBJ_EX", "BUILD"}
_IMPORT = re.compile(r"^[\w.]+ [\w.<>]+$")
_UNPACK: tuple[tuple[bytes, Callable[[bytes], bytes]], ...] = (
    (b"\x1f\x8b", lambda head: zlib.decompressobj(31).decompress(head, _HEAD)),
    (b"\x78", lambda head: zlib.decompressobj().decompress(head, _HEAD)),
    (b"BZh", lambda head: bz2.BZ2Decompressor().decompress(head, _HEAD)),
    (b"\xfd7zXZ", lambda head: lzma.LZMADecompressor().decompress(head, _HEAD)),
)


def pickle_inside(stream: BinaryIO) -> str:
    """Name the pickle that a seekable binary stream holds; '' when none is found.

    Found are pickles of protocol 0 to 5, bare or compressed (joblib), both forms of ``torch.save``, and numpy
    arrays of Python objects, also inside ``.npz``.

    >>> import io, pickle
    >>> pickle_inside(io.BytesIO(pickle.dumps([1])))
    'a pickle'
    >>> pickle_inside(io.BytesIO(b'{"a": 1}'))
    ''
    """
    stream.seek(0)
    head = stream.read(_HEAD)
    if head.startswith(b"PK"):
        return _inside_zip(stream)
    kind = _in_head(head)
    if kind:
        return kind
    for magic, unpack in _UNPACK:
        if head.startswith(magic):
            try:
                inner = unpack(head)
            except (zlib.error, OSError, lzma.LZMAError, EOFError, ValueError):
                continue
            return f"{_in_head(inner)} in a compressed file" if _in_head(inner) else ""
    return ""


def refuse_pickle(path: str | os.PathLike[str]) -> None:
    """Raise CheckpointError when the file's content is a pickle, whatever it is called."""
    with open(path, "rb") as stream:
        refuse_pickle_stream(Path(path).name, stream)


def refuse_pickle_stream(name: str, stream: BinaryIO) -> None:
    """Like :func:`refuse_pickle`, for bytes that are already open."""
    kind = pickle_inside(stream)
    if kind:
        raise CheckpointError(
            f"{name} holds {kind}; loading it could run code, so it is refused",
            expected="safetensors, JSON or plain arrays",
            remedy="convert it once, in a sandbox, with safetensors.torch.save_file",
        )


def _in_head(head: bytes) -> str:
    if len(head) > 1 and head[0] == 0x80 and 1 <= head[1] <= 5:
        return "a pickle"
    if head.startswith(b"\x93NUMPY"):
        return "a numpy array of pickled objects" if b"|O" in head[:256] or b"'O'" in head[:256] else ""
    return "a pickle" if _reads_as_text_pickle(head) else ""


def _reads_as_text_pickle(head: bytes) -> bool:
    """Protocol 0 has no magic number: does the text parse as opcodes, one of which builds an object?"""
    builds = False
    try:
        for opcode, argument, _ in pickletools.genops(head):
            if opcode.name in ("GLOBAL", "INST") and not _IMPORT.match(str(argument)):
                return False
            builds = builds or opcode.name in _RUNS_CODE
    except ValueError as error:
        return builds and len(head) == _HEAD and "exhausted" in str(error)
    except (IndexError, UnicodeError, KeyError):
        return False
    return builds


def _inside_zip(stream: BinaryIO) -> str:
    stream.seek(0)
    try:
        with zipfile.ZipFile(stream) as archive:
            for member in archive.infolist():
                if member.filename.endswith((".pkl", ".pickle")):
                    return "a pickle in a zip archive (torch.save writes these)"
                with archive.open(member) as inner:
                    kind = _in_head(inner.read(4096))
                if kind:
                    return f"{kind} in a zip archive"
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error, EOFError):
        return "a damaged or encrypted zip archive"
    return ""
