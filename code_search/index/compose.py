"""A new snapshot out of an old one and what was read since: rows that still hold are carried over."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from code_search.index.snapshot import Description, FileRecord, Snapshot, TextTable
from code_search.lexical import WordCounts, combine, count_words, named_text

_LONGEST_EMBEDDED = 6000
_KEY_BYTES = 16


@dataclass(frozen=True)
class Unit:
    """One searchable piece of a file: lines 1-based, both included; ``source`` with its documentation."""

    start: int
    end: int
    name: str
    language: str
    source: str


@dataclass(frozen=True)
class Part:
    """One file of the new snapshot: rows ``first`` to ``first + count`` of the old one, or units."""

    record: FileRecord
    units: Sequence[Unit] = field(default_factory=tuple)
    first: int = 0
    count: int = 0


def indexed_text(name: str, source: str) -> str:
    """What tells one function from another: the qualified name, then the whole source."""
    return f"{name}\n{source}"


def counted_text(name: str, source: str) -> str:
    """What is counted: the same, the last part of the name several times more."""
    return named_text(name, indexed_text(name, source))


def embedded_text(snapshot: Snapshot, row: int) -> str:
    """What is embedded: name, first line, the comment above, the rest; cut where no encoder reads on.

    Encoders learn that a function starts with its head, and in Python what documents it follows the head; so
    it does here in every language.
    """
    start, end = int(snapshot.rows[row, 1]), int(snapshot.rows[row, 2])
    lines = snapshot.texts[row][:_LONGEST_EMBEDDED].split("\n")
    above = max(0, start - (end - snapshot.texts[row].count("\n")))
    head, rest = lines[above : above + 1], lines[above + 1 :]
    return "\n".join([snapshot.names[row], *head, *lines[:above], *rest])


def empty_snapshot(description: Description) -> Snapshot:
    """A snapshot without files."""
    return Snapshot(
        description=description,
        files=[],
        rows=np.zeros((0, 4), dtype=np.int32),
        names=TextTable.of([]),
        texts=TextTable.of([]),
        keys=np.zeros((0, _KEY_BYTES), dtype=np.uint8),
        words=count_words([]),
    )


def compose(
    description: Description, parts: Sequence[Part], old: Snapshot, donors: Sequence[Snapshot] = ()
) -> Snapshot:
    """Put the files together, ordered by path, then by lines.

    Args:
        description: of the result; ``languages`` is filled in here.
        parts: the files; a row of ``old`` may be taken by one of them only.
        old: where `Part.first` and `Part.count` point.
        donors: more snapshots to take vectors from: texts that moved keep theirs, where the model is the
        same.
    """
    parts = sorted(parts, key=lambda part: part.record.path)
    spans = [np.arange(part.first, part.first + part.count) for part in parts if part.count]
    taken = np.unique(old.rows[np.concatenate(spans), 3]).tolist() if spans else []
    languages = sorted(
        {unit.language for part in parts for unit in part.units}
        | {old.description.languages[i] for i in taken}
    )
    number = {language: index for index, language in enumerate(languages)}
    renumber = np.array([number.get(language, -1) for language in old.description.languages], dtype=np.int32)
    rows = np.zeros((sum(part.count or len(part.units) for part in parts), 4), dtype=np.int32)
    source = np.full(len(rows), -1, dtype=np.int64)
    names: list[str] = []
    texts: list[str] = []
    stop = 0
    for index, part in enumerate(parts):
        start, stop = stop, stop + (part.count or len(part.units))
        if part.count:
            source[start:stop] = np.arange(part.first, part.first + part.count)
            rows[start:stop] = old.rows[part.first : part.first + part.count]
            rows[start:stop, 3] = renumber[rows[start:stop, 3]]
        elif part.units:
            units = sorted(part.units, key=lambda unit: (unit.start, unit.end, unit.name))
            rows[start:stop] = [(0, unit.start, unit.end, number[unit.language]) for unit in units]
            names += [unit.name for unit in units]
            texts += [unit.source for unit in units]
        rows[start:stop, 0] = index
    described = replace(description, languages=languages)
    composed = Snapshot(
        description=described,
        files=[part.record for part in parts],
        rows=rows,
        names=_merge_texts(old.names, source, names),
        texts=_merge_texts(old.texts, source, texts),
        keys=_merge_keys(old.keys, source, names, texts),
        words=_merge_words(old.words, source, names, texts),
    )
    return _with_known_vectors(composed, (old, *donors))


def _merge_texts(old: TextTable, source: np.ndarray, new: list[str]) -> TextTable:
    fresh = iter(new)
    return TextTable.of(old[int(row)] if row >= 0 else next(fresh) for row in source)


def _merge_keys(old: np.ndarray, source: np.ndarray, names: list[str], texts: list[str]) -> np.ndarray:
    keys = np.zeros((len(source), _KEY_BYTES), dtype=np.uint8)
    keys[source >= 0] = old[source[source >= 0]]
    digests = b"".join(
        hashlib.blake2b(
            indexed_text(name, text).encode("utf-8", errors="surrogatepass"), digest_size=_KEY_BYTES
        ).digest()
        for name, text in zip(names, texts)
    )
    keys[source < 0] = np.frombuffer(digests, dtype=np.uint8).reshape(-1, _KEY_BYTES)
    return keys


def _merge_words(old: WordCounts, source: np.ndarray, names: list[str], texts: list[str]) -> WordCounts:
    places = np.full(old.size, -1, dtype=np.int32)
    kept = np.flatnonzero(source >= 0)
    places[source[kept]] = kept
    fresh = count_words(counted_text(name, text) for name, text in zip(names, texts))
    return combine([(old, places), (fresh, np.flatnonzero(source < 0).astype(np.int32))], len(source))


def _with_known_vectors(new: Snapshot, donors: Sequence[Snapshot]) -> Snapshot:
    """Vectors of equal text are taken over, wherever the text was."""
    model = new.description.model
    if model is None or not model.digest:
        return new
    vectors = np.zeros((len(new), model.dim), dtype=np.float16)
    has_vector = np.zeros(len(new), dtype=bool)
    for donor in donors:
        theirs = donor.description.model
        if has_vector.all() or theirs is None or theirs.digest != model.digest:
            continue
        if donor.vectors is None or donor.has_vector is None:
            continue
        known = {donor.keys[row].tobytes(): int(row) for row in np.flatnonzero(donor.has_vector)}
        for row in np.flatnonzero(~has_vector):
            place = known.get(new.keys[row].tobytes())
            if place is not None:
                vectors[row], has_vector[row] = donor.vectors[place], True
    return new.with_vectors(model, vectors, has_vector)
