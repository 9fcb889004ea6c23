"""Many files to documented pairs in one pass, by several processes, in an order that they do not change."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from code_search.data.clean import pair_problem
from code_search.data.extract import extract_functions
from code_search.data.functions import Function, as_row
from code_search.data.languages import language_of
from code_search.data.repository import read_bytes
from code_search.data.text import is_binary

MAX_FILE_KB = 1000
_CHUNK_FILES = 48
_Chunk = list[tuple[str, str, str]]  # root, path, group
_DOCSTRING = re.compile(rb":[ \t]*(?:#[^\n]*)?\r?\n\s*[rRuU]?[\"']")  # a quick look that saves parsing


@dataclass(frozen=True, slots=True)
class FileStatus:
    """What became of a file: ``ok``, ``partial`` (syntax errors) or ``skipped``, with the reason in words."""

    path: str
    group: str
    status: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class FileGroup:
    """Files (relative POSIX paths) under one root that belong to one distribution or repository."""

    group: str
    root: str
    paths: list[str]


@dataclass(slots=True)
class Pairs:
    """Functions that passed the pair filter, each file's status, and how many functions each rule dropped."""

    functions: list[Function] = field(default_factory=list)
    files: list[FileStatus] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)


def read_pairs(
    groups: Iterable[FileGroup], *, workers: int | None = None, max_functions: int | None = None
) -> Pairs:
    """Read every file once and keep the functions that are pairs (`pair_problem`).

    The result is the same for every number of ``workers`` (default: the processors this process may use).
    With ``max_functions`` reading stops after the chunk of files that reaches it and the rest is not read.
    """
    pairs = Pairs()
    for functions, files, dropped in _ordered_map(list(_chunks(groups)), workers):
        pairs.functions += [Function(*row) for row in functions]
        pairs.files += [FileStatus(*row) for row in files]
        pairs.dropped.update(dropped)
        if max_functions is not None and len(pairs.functions) >= max_functions:
            del pairs.functions[max_functions:]
            break
    return pairs


def _chunks(groups: Iterable[FileGroup]) -> Iterator[_Chunk]:
    chunk: _Chunk = []
    for group in groups:
        for path in group.paths:
            chunk.append((group.root, path, group.group))
            if len(chunk) == _CHUNK_FILES:
                yield chunk
                chunk = []
    if chunk:
        yield chunk


def _ordered_map(chunks: list[_Chunk], workers: int | None) -> Iterator[tuple[Any, Any, Any]]:
    workers = min(workers or len(os.sched_getaffinity(0)), len(chunks))
    if workers <= 1:
        yield from map(_read_chunk, chunks)
        return
    pool = ProcessPoolExecutor(workers)
    try:
        yield from pool.map(_read_chunk, chunks)
    finally:
        pool.shutdown(cancel_futures=True)


def _read_chunk(
    chunk: _Chunk,
) -> tuple[list[tuple[Any, ...]], list[tuple[str, str, str, str]], Counter[str]]:
    """In a worker: plain tuples come back, which cost less to send than objects."""
    functions: list[tuple[Any, ...]] = []
    files: list[tuple[str, str, str, str]] = []
    dropped: Counter[str] = Counter()
    for root, path, group in chunk:
        found, status, reason = _read_file(root, path, group)
        files.append((path, group, status, reason))
        for function in found:
            problem = pair_problem(function)
            if problem:
                dropped[problem] += 1
            else:
                functions.append(as_row(function))
    return functions, files, dropped


def _read_file(root: str, path: str, group: str) -> tuple[list[Function], str, str]:
    language = language_of(path)
    if language is None:
        return [], "skipped", "no language for this extension"
    source = read_bytes(root, path, MAX_FILE_KB)
    if isinstance(source, str):
        return [], "skipped", source
    if is_binary(source):
        return [], "skipped", "binary"
    if language == "python" and not _DOCSTRING.search(source):
        return [], "ok", ""
    result = extract_functions(source, language, path, group, documented_only=True)
    return result.functions, result.status, result.reason
