"""Making an index and keeping it up: read what changed, publish, compute the missing vectors, publish.

A snapshot is published every few seconds of work, so a search finds what was read so far, and a process
that is killed loses those seconds only. The next call goes on from there.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from code_search.index.compose import Part, compose, empty_snapshot
from code_search.index.embed import NO_MODEL, embed
from code_search.index.encoder import Encoder, registered_model
from code_search.index.files import SIGNATURES, Options, Scan, SeenFile, read_files, remember, rules, scan
from code_search.index.location import default_location, indexable_root, prepare_location
from code_search.index.progress import Pace, Progress
from code_search.index.snapshot import Description, FileRecord, ModelRecord, Snapshot, row_spans
from code_search.index.store import Store
from core.errors import DataError
from core.tracking.find import REGISTRY, model_folder


@dataclass(frozen=True)
class Report:
    """What an update did. Seconds are of the wall clock; ``notes`` says what the user should know."""

    folder: Path
    root: Path
    files: int
    functions: int
    read: int
    skipped: dict[str, int]
    embedded: int
    vectors: int
    seconds_read: float
    seconds_embed: float
    notes: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether anything was read or embedded."""
        return bool(self.read or self.embedded)


def build_index(
    path: str | os.PathLike[str],
    *,
    index_dir: str | os.PathLike[str] | None = None,
    model: str | os.PathLike[str] | None = None,
    encoder: Encoder | None = None,
    options: Options | None = None,
    workers: int | None = None,
    say: Callable[[str], None] | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Report:
    """Bring the index of a folder up to date, or make it; returns when it is complete.

    Args:
        path: the folder.
        index_dir: where the index goes; by default `default_location`.
        model: folder of an encoder, ``models:/NAME@ALIAS``, or ``none`` for words only. By default the
            model that the index has; for a new index the registered champion where there is one.
        encoder: an encoder at hand, instead of ``model``.
        options: which files; by default those the index was made with.
        workers: processes that read files; by default one a processor.
        say: takes one-line messages.  progress: takes a `Progress` now and then.

    Raises:
        DataError: no such folder, an index folder that cannot be written, a model that is not there.
    """
    root = indexable_root(path)
    folder = Path(index_dir).expanduser().absolute() if index_dir is not None else default_location(root)
    wanted = os.fspath(model) if model is not None else None
    if wanted is not None and wanted != NO_MODEL and not wanted.startswith(REGISTRY):
        wanted = str(model_folder(wanted))
    prepare_location(folder)
    store = Store(folder)
    say = say or (lambda message: None)
    progress = progress or (lambda where: None)
    with store.lock(say):
        old, notes = _previous(store, root)
        if options is None:
            options = Options(**old.description.options) if old is not None else Options()
        if wanted is None and encoder is None and old is None:
            wanted = registered_model()
        start = time.perf_counter()
        base, donors = old, [old] if old is not None else []
        if base is None or not _same_rules(base, options):
            base = empty_snapshot(Description(str(root), {}, {}, []))
        kept = _model_of(old, wanted)
        snapshot, read = _read_changes(store, base, donors, options, kept, workers, say, progress)
        seconds_read = time.perf_counter() - start
        if read:
            say(f"{len(snapshot):,} functions of {len(snapshot.files):,} files can be searched now")
        start = time.perf_counter()
        snapshot, embedded, more = embed(
            store, snapshot, wanted, encoder, optional=model is None, progress=progress
        )
    return Report(
        folder=folder,
        root=root,
        files=sum(record.status != "skipped" for record in snapshot.files),
        functions=len(snapshot),
        read=read,
        skipped=dict(
            Counter(record.reason for record in snapshot.files if record.status == "skipped").most_common()
        ),
        embedded=embedded,
        vectors=snapshot.vector_count,
        seconds_read=seconds_read,
        seconds_embed=time.perf_counter() - start,
        notes=(*notes, *more),
    )


def _previous(store: Store, root: Path) -> tuple[Snapshot | None, list[str]]:
    """The snapshot to go on from, None where there is none or it is damaged, and what to tell the user."""
    if not store.has_content():
        return None, []
    try:
        old = store.read()
    except DataError as error:
        return None, [f"{str(error).partition('. Remedy')[0]}; it was made again"]
    if old.root != str(root):
        raise DataError(
            f"index folder {store.folder}",
            seen=f"the index of {old.root or 'another machine'}",
            expected=f"one for {root}",
            remedy="pass another --index-dir",
        )
    return old, []


def _read_changes(
    store: Store,
    old: Snapshot,
    donors: list[Snapshot],
    options: Options,
    model: ModelRecord | None,
    workers: int | None,
    say: Callable[[str], None],
    progress: Callable[[Progress], None],
) -> tuple[Snapshot, int]:
    """Read what is new, drop what is gone, publish; returns the snapshot and the number of files read."""
    root, cache = Path(old.root), store.folder / SIGNATURES
    description = replace(
        old.description, versions={"rules": rules()}, options=vars(options), model=model, pending=0
    )
    found = scan(root, options, cache, {record.path: record.blob for record in old.files})
    state = _State(old, donors, found, description)
    todo = state.unread()
    pace, done = Pace(), 0
    for chunk in read_files(root, todo, options, workers):
        for record, units in chunk:
            state.fresh[record.path] = Part(record, units)
        done += len(chunk)
        progress(Progress("files", done, len(todo)))
        if pace.due and done < len(todo):
            state.advance(pace.publish(store, state.composed(pending=len(todo) - done)))
            say(f"{len(state.base):,} functions can be searched while {len(todo) - done:,} files are read")
    new = old
    changed = old.folder is None or state.records() != old.files
    if changed or description != replace(old.description, languages=description.languages):
        new = store.publish(state.composed(pending=0))
    if changed or found.hashed:
        remember(cache, found, {record.path: record.blob for record in new.files})
    return new, done


def _same_rules(old: Snapshot, options: Options) -> bool:
    """Whether an unchanged file would be read as before: by the same code, minified ones out or in."""
    return old.description.versions == {"rules": rules()} and bool(options.include) == bool(
        old.description.options.get("include")
    )


def _model_of(old: Snapshot | None, wanted: str | None) -> ModelRecord | None:
    """The model while files are read: that of the vectors, else the one that will be used (no digest yet)."""
    if wanted == NO_MODEL:
        return None
    if old is not None and old.description.model is not None:
        return old.description.model
    return None if wanted is None else ModelRecord(reference=wanted, digest="", dim=0)


class _State:
    """Which rows of the next snapshot come from where."""

    def __init__(self, base: Snapshot, donors: list[Snapshot], found: Scan, description: Description) -> None:
        self.donors, self.found, self.description = donors, found, description
        self.advance(base)

    def advance(self, base: Snapshot) -> None:
        """Go on from a snapshot that was published."""
        self.base, self.fresh = base, dict[str, Part]()

    def unread(self) -> list[SeenFile]:
        """Files whose content is not in the base."""
        known = {record.path: record.blob for record in self.base.files if record.blob}
        return [seen for seen in self.found.files if not seen.blob or known.get(seen.path) != seen.blob]

    def records(self) -> list[FileRecord]:
        """The file records that the next snapshot will have."""
        return sorted((part.record for part in self._parts()), key=lambda record: record.path)

    def composed(self, pending: int) -> Snapshot:
        """The snapshot so far; a file that changed and is still to be read keeps its old rows."""
        return compose(replace(self.description, pending=pending), self._parts(), self.base, self.donors)

    def _parts(self) -> list[Part]:
        spans = row_spans(self.base)
        records = {record.path: record for record in self.base.files}
        parts = [Part(record) for record in self.found.skipped]
        for seen in self.found.files:
            if seen.path in self.fresh:
                parts.append(self.fresh[seen.path])
            elif seen.path in records:
                first, count = spans.get(seen.path, (0, 0))
                parts.append(Part(records[seen.path], (), first, count))
        return parts
