"""The files of a repository as an index sees them: which there are, which changed, what each holds."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from code_search import lexical
from code_search.data import repository
from code_search.data.listing import list_files
from code_search.data.repository import blob_id, read_bytes, read_file
from code_search.index.compose import Unit, counted_text
from code_search.index.snapshot import FileRecord
from core.errors import ConfigError
from core.files import atomic_write

SKIPPED = "skipped"
SIGNATURES = "stat.json"
"""Name of the file, in an index folder, that `remember` writes."""
_CHUNK = 32
_ONE_PROCESS = 64
_UNSETTLED_NS = 2_000_000_000

Signature = tuple[int, int, int, int]


@dataclass(frozen=True)
class Options:
    """Which files are indexed: patterns as in .gitignore, and the size over which a file is left out."""

    include: list[str] = field(default_factory=list)
    exclude: list[str] = field(default_factory=list)
    max_file_kb: int = 1000

    def __post_init__(self) -> None:
        if isinstance(self.max_file_kb, bool) or not 1 <= self.max_file_kb <= 100_000:
            raise ConfigError(
                "max-file-kb", seen=self.max_file_kb, expected="a whole number from 1 to 100,000"
            )


@dataclass(frozen=True)
class SeenFile:
    """A file to index; ``blob`` is "" where it was not read, ``signature`` changes when the file does."""

    path: str
    blob: str
    signature: Signature


@dataclass(frozen=True)
class Scan:
    """Files to index, files that are left out with the reason, and how many were read to be hashed."""

    files: list[SeenFile]
    skipped: list[FileRecord]
    hashed: int = 0


@functools.cache
def rules() -> str:
    """A hash of the code that decides what an index holds: content made by other rules is made again."""
    folder = Path(repository.__file__).parent
    total = hashlib.sha256()
    for path in (*sorted(folder.glob("*.py")), Path(lexical.__file__)):
        total.update(path.name.encode() + b"\0" + path.read_bytes())
    total.update(counted_text("name", "source").encode())
    return total.hexdigest()[:16]


def scan(root: Path, options: Options, cache: Path, known: Mapping[str, str]) -> Scan:
    """List the files, and find the content hash of those in ``known`` without reading what did not change.

    A file whose size, inode and times are those in ``cache`` has the content it had then; times of the last
    two seconds are not trusted, because a second change may leave them as they are.

    Args:
        cache: the file that `remember` wrote; where it is missing or damaged, files are read to be hashed.
        known: content hash by path, of the files that an index holds.
    """
    found, left_out = list_files(
        root, include=options.include, exclude=options.exclude, max_file_kb=options.max_file_kb
    )
    remembered = recall(cache)
    own = f"{cache.parent.relative_to(root).as_posix()}/" if cache.is_relative_to(root) else None
    files = []
    hashed = 0
    for source in found:
        if own is not None and source.path.startswith(own):
            continue
        signature = signature_of(root / source.path)
        blob = ""
        if source.path in known and signature is not None:
            blob = remembered.get(source.path, {}).get(signature, "")
            if not blob:
                hashed += 1
                content = read_bytes(root, source.path, options.max_file_kb)
                blob = blob_id(content) if isinstance(content, bytes) else ""
        files.append(SeenFile(source.path, blob, signature or (0, 0, 0, 0)))
    return Scan(files, [FileRecord(one.path, "", "", SKIPPED, one.reason) for one in left_out], hashed)


def remember(cache: Path, found: Scan, blobs: Mapping[str, str]) -> None:
    """Note the content hash of every file under its present size, inode and times, for the next `scan`."""
    settled = time.time_ns() - _UNSETTLED_NS
    table = {
        seen.path: [*seen.signature, blobs[seen.path]]
        for seen in found.files
        if blobs.get(seen.path) and seen.signature[0] < settled and seen.signature[1] < settled
    }
    atomic_write(cache, json.dumps(table))


def recall(cache: Path) -> dict[str, dict[Signature, str]]:
    """What `remember` noted: for each path, the content hash under a signature; {} where there is nothing to read."""
    try:
        table = json.loads(cache.read_bytes())
        return {path: {tuple(entry[:4]): str(entry[4])} for path, entry in table.items()}
    except (OSError, ValueError, TypeError, AttributeError, IndexError, KeyError):
        return {}


def signature_of(path: Path) -> Signature | None:
    """Times of change, size and inode of a file; None where it is gone."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino


def read_files(
    root: Path, files: Sequence[SeenFile], options: Options, workers: int | None
) -> Iterator[list[tuple[FileRecord, list[Unit]]]]:
    """Read files chunk by chunk, in their order, one process a processor (a few files: in this process)."""
    chunks = [[seen.path for seen in files[start : start + _CHUNK]] for start in range(0, len(files), _CHUNK)]
    read = functools.partial(_read_chunk, str(root), options)
    workers = min(workers or len(os.sched_getaffinity(0)), len(chunks))
    if workers <= 1 or len(files) < _ONE_PROCESS:
        yield from map(read, chunks)
        return
    pool = ProcessPoolExecutor(workers, initializer=_end_with_parent, initargs=(os.getpid(),))
    try:
        yield from pool.map(read, chunks)
    finally:
        pool.shutdown(cancel_futures=True)


def _end_with_parent(parent: int) -> None:
    """A worker whose parent was killed would wait for work for ever, and keep the lock that it inherited.

    Ctrl-C reaches the whole group; the parent alone answers it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _read_chunk(root: str, options: Options, paths: list[str]) -> list[tuple[FileRecord, list[Unit]]]:
    found = []
    for path in paths:
        result = read_file(root, path, max_file_kb=options.max_file_kb, force=bool(options.include))
        units = [
            Unit(f.start, f.end, f.name if f.kind == "lines" else f.qualified, f.language, f.source)
            for f in result.functions
        ]
        language = units[0].language if units else ""
        found.append((FileRecord(path, result.blob, language, result.status, result.reason), units))
    return found
