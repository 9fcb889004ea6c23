"""Many files to documented pairs in one pass, by several processes, in an order that they do not change."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from code_search.data.clean import pair_problem
from code_search.data.extract import extract_functions
from code_search.data.functions import Function, as_row
from code_search.data.languages import language_of
from code_search.data.repository import read_bytes
from code_search.data.skip import skip_by_content
from core.data.parallel import parallel_map

MAX_FILE_KB = 1000
_CHUNK_FILES = 48
_FIRST_WAVE = 32  # chunks read, at most, before the rate of functions a file is known
_READERS = 8  # threads: a cold disk answers many requests at once sooner than one after another
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
    groups: Iterable[FileGroup],
    *,
    scheduler: str = "processes",
    workers: int | None = None,
    max_functions: int | None = None,
) -> Pairs:
    """Read every file once and keep the functions that are pairs (`pair_problem`).

    The result does not depend on ``scheduler`` and ``workers`` (those of `core.data.parallel.parallel_map`).
    With ``max_functions`` the files are read in order until there are so many, and the rest stays unread.
    """
    pairs = Pairs()
    chunks = list(_chunks(groups))
    if workers == 1 or len(chunks) == 1:
        scheduler = "serial"
    wave = len(chunks)
    if max_functions is not None:
        wave = min(_FIRST_WAVE, -(-max_functions // _CHUNK_FILES))  # a file gives a function or more
    while chunks and (max_functions is None or len(pairs.functions) < max_functions):
        now, chunks = chunks[:wave], chunks[wave:]
        for functions, files, dropped in parallel_map(
            _read_chunk, now, scheduler=scheduler, workers=workers, chunk=1
        ):
            pairs.functions += [Function(*row) for row in functions]
            pairs.files += [FileStatus(*row) for row in files]
            pairs.dropped.update(dropped)
        if max_functions is not None:  # what the rate so far says: every wave starts processes anew
            rate = max(len(pairs.functions), 1) / len(pairs.files)
            missing = (max_functions - len(pairs.functions)) / rate / _CHUNK_FILES
            wave = max(min(_FIRST_WAVE, wave), round(missing))
    del pairs.functions[max_functions if max_functions is not None else len(pairs.functions) :]
    return pairs


def _chunks(groups: Iterable[FileGroup]) -> Iterator[_Chunk]:
    files = [(group.root, path, group.group) for group in groups for path in group.paths]
    for first in range(0, len(files), _CHUNK_FILES):
        yield files[first : first + _CHUNK_FILES]


def _read_chunk(
    chunk: _Chunk,
) -> tuple[list[tuple[Any, ...]], list[tuple[str, str, str, str]], Counter[str]]:
    """In a worker: plain tuples come back, which cost less to send than objects."""
    functions: list[tuple[Any, ...]] = []
    files: list[tuple[str, str, str, str]] = []
    dropped: Counter[str] = Counter()
    with ThreadPoolExecutor(_READERS) as pool:
        sources = list(pool.map(_source, chunk))
    for (_, path, group), source in zip(chunk, sources):
        found, status, reason = _functions(source, path, group)
        files.append((path, group, status, reason))
        for function in found:
            problem = pair_problem(function)
            if problem:
                dropped[problem] += 1
            else:
                functions.append(as_row(function))
    return functions, files, dropped


def _source(file: tuple[str, str, str]) -> bytes | str:
    """The bytes of a file, or why it is skipped."""
    root, path, _ = file
    if language_of(path) is None:
        return "no language for this extension"
    return read_bytes(root, path, MAX_FILE_KB)


def _functions(source: bytes | str, path: str, group: str) -> tuple[list[Function], str, str]:
    language = language_of(path)
    if isinstance(source, str) or language is None:
        return [], "skipped", source if isinstance(source, str) else "language"
    reason = skip_by_content(source)
    if reason:
        return [], "ok" if reason == "empty" else "skipped", "" if reason == "empty" else reason
    if language == "python" and not _DOCSTRING.search(source):
        return [], "ok", ""
    result = extract_functions(source, language, path, group, documented_only=True)
    return result.functions, result.status, result.reason
