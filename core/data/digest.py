"""Digests: one short name for the content of a data set, of an evaluation set, of a run's settings."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import DataError
from core.files import sha256_file


def digest_files(paths: Iterable[str | os.PathLike[str]], root: str | os.PathLike[str]) -> str:
    """SHA-256 over the names (relative to ``root``, posix) and contents of files, in the order of the names.

    The same files give the same digest wherever the root lies and in whatever order they are listed.

    Raises:
        DataError: a file that is missing or not below ``root``.

    >>> digest_files([], ".")[:8]
    'e3b0c442'
    """
    base = Path(root).resolve()
    total = hashlib.sha256()
    named: dict[str, Path] = {}
    for path in paths:
        full = Path(path).resolve()
        if base not in full.parents:
            raise DataError("digest: file outside the root", seen=str(full), expected=f"a file below {base}")
        named[full.relative_to(base).as_posix()] = full
    for name in sorted(named):
        try:
            content = sha256_file(named[name])
        except OSError as error:
            raise DataError(f"digest: {named[name]} cannot be read: {error.strerror}") from None
        total.update(f"{name}\0{content}\n".encode())
    return total.hexdigest()


def digest_of(*values: Any) -> str:
    """SHA-256 of plain values, arrays, tables and nested dicts, lists and tuples of these.

    Two values have the same digest where they are equal: numbers by value and kind, arrays by dtype,
    shape and content, mappings whatever their order.

    Raises:
        TypeError: a value of another kind (an object whose text would hold an address, say).

    >>> digest_of({"b": 1, "a": [2.0, None]}) == digest_of({"a": [2.0, None], "b": 1}) != digest_of({})
    True
    """
    total = hashlib.sha256()
    for value in values:
        _feed(total, value)
    return total.hexdigest()


def evaluation_digest(items: Iterable[Any], labels: Any, *, protocol: Mapping[str, Any] | None = None) -> str:
    """Name of an evaluation set: what is scored (texts, ids or content digests), the truth, and how.

    Two models may be compared by their metrics only where this is equal.

    >>> a = evaluation_digest(["q1", "q2"], [0, 1], protocol={"candidates": 1000})
    >>> a == evaluation_digest(["q1", "q2"], [0, 1], protocol={"candidates": 1000})
    True
    """
    return digest_of(list(items), np.asarray(labels), dict(protocol or {}))


def _feed(total: Any, value: Any) -> None:
    if hasattr(value, "model_dump"):  # a settings section
        value = value.model_dump(mode="json")
    if hasattr(value, "detach"):  # a tensor
        value = value.detach().cpu().numpy()
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Mapping):
        total.update(b"{")
        for key in sorted(value, key=str):
            total.update(f"{json.dumps(str(key))}:".encode())
            _feed(total, value[key])
        total.update(b"}")
    elif isinstance(value, (list, tuple)):
        total.update(b"[")
        for item in value:
            _feed(total, item)
            total.update(b",")
        total.update(b"]")
    elif isinstance(value, np.ndarray) and value.dtype != object:
        total.update(f"array{value.dtype.str}{value.shape}".encode())
        total.update(np.ascontiguousarray(value).tobytes())
    elif isinstance(value, np.ndarray):
        _feed(total, value.tolist())
    elif isinstance(value, bytes):
        total.update(f"bytes{len(value)}:".encode() + value)
    elif isinstance(value, os.PathLike):
        total.update(f"path{json.dumps(Path(value).as_posix())}".encode())
    elif value is None or isinstance(value, (bool, int, float, str)):
        total.update(f"{type(value).__name__}{json.dumps(value)}".encode())
    elif hasattr(value, "columns") and hasattr(value, "to_numpy"):  # a table
        _feed(total, {str(name): list(value[name]) for name in value.columns})
        _feed(total, list(map(str, value.columns)))
    else:
        raise TypeError(f"no digest is defined for {type(value).__name__}")
