"""One door to all sources: the items of the demo, PTB-XL, a challenge folder or an own manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from core.data.checks import Quarantine
from core.data.parallel import Failure, parallel_map
from core.errors import DataError
from medical.ecg.data.conform import Form, conform
from medical.ecg.data.items import Items
from medical.ecg.data.problems import BadRecord
from medical.ecg.data.recording import read_recording


def read_items(
    source: str,
    root: str,
    *,
    manifest: str | None = None,
    rate: Any = 100,
    labels: Any = "all",
    min_likelihood: float = 0.0,
    unknown_codes: Any = "error",
    folds: Mapping[str, Sequence[int]] | None = None,
    branches: str | None = None,
    seed: int = 0,
) -> Items:
    """The items of a source; ``demo`` is read as the PTB-XL folder that it is. Signals are not read."""
    if source in ("demo", "ptbxl"):
        from medical.ecg.data.ptbxl import FOLDS, read_ptbxl

        return read_ptbxl(
            root, rate=rate, labels=labels, min_likelihood=min_likelihood, unknown_codes=unknown_codes,
            folds=folds or FOLDS, branches=branches,
        )  # fmt: skip
    if source == "cinc":
        from medical.ecg.data.cinc import read_cinc

        return read_cinc(root, seed=seed)
    from medical.ecg.data.own import read_own

    return read_own(str(manifest), root=root, seed=seed)


def check_items(
    items: Items,
    form: Form,
    quarantine: Quarantine,
    *,
    verify_checksum: bool = False,
    scheduler: str = "serial",
) -> list[dict[str, Any]]:
    """Read every recording once: the quality columns of those that can be used, the others into quarantine.

    Returns:
        one row an accepted item, in order: ``id`` and the columns of `Conformed.quality`, ``notes`` (kinds).
    """
    paths = items.table["path"].tolist()
    tasks = [(path, form, verify_checksum) for path in paths]
    rows = []
    for item, found in zip(
        items.table.itertuples(), parallel_map(_check, tasks, scheduler=scheduler), strict=True
    ):
        if isinstance(found, tuple):
            quarantine.add(item.path, found[0], found[1], row=item.row)
            continue
        for kind, reason in found.pop("reasons"):
            quarantine.warn(item.path, kind, reason, row=item.row)
        rows.append({"id": item.id, **found})
    return rows


def load_signals(
    paths: Sequence[str], form: Form, *, scheduler: str = "serial", out: np.ndarray | None = None
) -> np.ndarray:
    """Conformed signals of many recordings, (N, 12, T) float32 in mV; into ``out`` (a memory map) where given.

    Raises:
        DataError: naming the first recording that cannot be used; validation finds these beforehand.
    """
    if out is None:
        out = np.empty((len(paths), 12, form.samples), dtype=np.float32)
    block = 1024  # results of the workers are held a block at a time
    for start in range(0, len(paths), block):
        part = [(path, form) for path in paths[start : start + block]]
        for offset, signal in enumerate(parallel_map(_load, part, scheduler=scheduler, errors="return")):
            if isinstance(signal, Failure):
                raise DataError(signal.message, remedy="run the validate stage again")
            out[start + offset] = signal
    return out


def _check(task: tuple[str, Form, bool]) -> Any:
    """Quality columns of one recording, or (kind, reason)."""
    path, form, verify = task
    try:
        done = conform(read_recording(path, verify_checksum=verify), form)
    except BadRecord as error:
        return error.kind, str(error)
    kinds = " ".join(dict.fromkeys(note.kind for note in done.notes))
    return {**done.quality, "notes": kinds, "reasons": [(note.kind, note.reason) for note in done.notes]}


def _load(task: tuple[str, Form]) -> np.ndarray:
    path, form = task
    return conform(read_recording(path), form).signal
