"""The vectors of an index: only those that are missing are computed, and each text once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from code_search.index.compose import embedded_text
from code_search.index.encoder import Encoder, keep_model, open_encoder
from code_search.index.progress import Pace, Progress
from code_search.index.snapshot import ModelRecord, Snapshot
from code_search.index.store import Store
from core.errors import DataError, KindredError

NO_MODEL = "none"
BATCH = 64
"""Always as many, so that the same functions give the same vectors to the last bit."""


def embed(
    store: Store,
    snapshot: Snapshot,
    wanted: str | None,
    encoder: Encoder | None,
    *,
    optional: bool,
    progress: Callable[[Progress], None],
) -> tuple[Snapshot, int, list[str]]:
    """Give every function its vector, publishing now and then; (snapshot, texts embedded, notes).

    Args:
        wanted: the model to use, None for the one the snapshot has, ``none`` for no model.
        encoder: an encoder at hand instead.
        optional: nobody asked for this model by name, so a model that is not there is a note and no error.

    Raises:
        DataError: the model is not there, or it returns what are no vectors.
    """
    current = snapshot.description.model
    if wanted == NO_MODEL:
        return snapshot, 0, []
    if encoder is None:
        complete = current is not None and current.digest and snapshot.vector_count == len(snapshot)
        reference = wanted or (current.reference if current else None)
        if complete and wanted is None:
            return snapshot, 0, []
        if not reference:
            missing = f"{len(snapshot) - snapshot.vector_count:,} functions have no vector"
            return snapshot, 0, [f"{missing}: pass --model to search by meaning too"]
        try:
            reference = keep_model(reference, store.folder)
            encoder = open_encoder(reference)
        except KindredError as error:
            if not optional or (current is not None and current.digest):
                raise
            if current is not None:
                snapshot = store.publish(
                    replace(snapshot, description=replace(snapshot.description, model=None))
                )
            return snapshot, 0, [f"words only: {error}"]
    else:
        reference = ""
    model = ModelRecord(reference, encoder.digest, encoder.dim)
    notes = []
    if current is not None and current.digest and current.digest != model.digest:
        notes.append("the model is another one than before: all vectors were computed again")
    start = _start(snapshot, model)
    todo = _missing(start)
    if not todo and start.description == snapshot.description:
        return snapshot, 0, notes
    vectors = np.array(start.vectors, dtype=np.float16)
    has_vector = np.array(start.has_vector, dtype=bool)
    pace, done = Pace(), 0
    try:
        for rows, found in _batches(start, list(todo), encoder):
            for row, vector in zip(rows, found):
                vectors[todo[row]], has_vector[todo[row]] = vector, True
            done += len(rows)
            progress(Progress("functions", done, len(todo)))
            if pace.due and done < len(todo):
                pace.publish(store, start.with_vectors(model, vectors, has_vector))
    except BaseException:
        # Ctrl-C, or an encoder that gives up: what it computed is kept.
        if done:
            store.publish(start.with_vectors(model, vectors, has_vector))
        raise
    return store.publish(start.with_vectors(model, vectors, has_vector)), done, notes


def _start(snapshot: Snapshot, model: ModelRecord) -> Snapshot:
    """The snapshot with the vectors that this model made already, which may be none."""
    current = snapshot.description.model
    if current is not None and current.digest == model.digest and snapshot.vectors is not None:
        assert snapshot.has_vector is not None
        return snapshot.with_vectors(model, snapshot.vectors, snapshot.has_vector)
    nothing = np.zeros((len(snapshot), model.dim), dtype=np.float16)
    return snapshot.with_vectors(model, nothing, np.zeros(len(snapshot), dtype=bool))


def _missing(snapshot: Snapshot) -> dict[int, list[int]]:
    """Rows without a vector: one row of each text, and all rows with that text."""
    assert snapshot.has_vector is not None
    first: dict[bytes, int] = {}
    rows: dict[int, list[int]] = {}
    for row in np.flatnonzero(~np.asarray(snapshot.has_vector)):
        leader = first.setdefault(snapshot.keys[row].tobytes(), int(row))
        rows.setdefault(leader, []).append(int(row))
    return rows


def _batches(snapshot: Snapshot, rows: list[int], encoder: Encoder) -> Iterator[tuple[list[int], np.ndarray]]:
    """(rows, their vectors) batch by batch; a batch holds texts of like length, which wastes no padding."""
    lengths = np.diff(snapshot.texts.ends, prepend=0)[rows]
    order = [rows[place] for place in np.argsort(lengths, kind="stable")]
    for start in range(0, len(order), BATCH):
        batch = order[start : start + BATCH]
        found = np.asarray(encoder.encode_functions([embedded_text(snapshot, row) for row in batch]))
        if found.shape != (len(batch), encoder.dim) or not np.isfinite(found).all():
            expected = f"({len(batch)}, {encoder.dim}), all finite"
            raise DataError("vectors of the encoder", seen=found.shape, expected=expected)
        yield batch, found
