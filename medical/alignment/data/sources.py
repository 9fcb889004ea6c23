"""One door to all sources, and the validation of what they list: every file is read once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from core.data.checks import Quarantine, duplicates
from core.data.digest import digest_of
from core.data.manifest import FRACTIONS
from core.data.parallel import parallel_map
from core.errors import DataError
from medical.alignment.data.film import SMALLEST, read_film
from medical.alignment.data.items import Items
from medical.alignment.data.link import Rule
from medical.alignment.data.report import repeated
from medical.ecg.data.conform import Form, conform
from medical.ecg.data.problems import BadRecord
from medical.ecg.data.recording import read_recording

SOURCES = ("demo", "mimic", "symile_mimic", "chexpert", "actualmed", "indiana", "manifest")
KINDS = ("xray", "ecg")


@dataclass(frozen=True)
class Checks:
    """What files must be: depth of image files (None: their dtype's), smallest side in pixels, form of the ECGs."""

    bits: int | None = None
    smallest: int = SMALLEST
    form: Form = field(default_factory=Form)


def read_items(
    source: str,
    root: str,
    *,
    manifest: str | None = None,
    findings: Sequence[str] = (),
    rule: Rule | None = None,
    keep_unlinked: bool = True,
    empty_reports: str = "drop",
    official_split: bool = False,
    fractions: Mapping[str, float] = FRACTIONS,
    seed: int = 0,
) -> Items:
    """The items of a source; ``demo`` is read as the MIMIC folders that it is. No film or signal is read.

    Args:
        source: one of `SOURCES`. root: its folder. manifest: of own data.
        findings, rule, keep_unlinked, empty_reports, official_split: of the readers that know them.
        fractions, seed: of the split by patient.
    """
    from medical.alignment.data import films, mimic, own

    drawn: dict[str, Any] = {"fractions": fractions, "seed": seed}
    rule = rule or Rule()
    if source in ("demo", "mimic"):
        return mimic.read_mimic(
            root, findings=findings, rule=rule, keep_unlinked=keep_unlinked, empty_reports=empty_reports,
            official_split=official_split, **drawn,
        )  # fmt: skip
    if source == "symile_mimic":
        return mimic.read_symile_mimic(root, findings=findings, empty_reports=empty_reports, **drawn)
    if source == "chexpert":
        return films.read_chexpert(root, findings=findings, empty_reports=empty_reports, **drawn)
    if source == "actualmed":
        return films.read_actualmed(root, **drawn)
    if source == "indiana":
        return films.read_indiana(root, **drawn)
    if source == "manifest":
        return own.read_own(str(manifest), root=root, rule=rule, findings=findings, **drawn)
    raise DataError("data.source", seen=source, expected=f"one of {', '.join(SOURCES)}")


def check_items(
    items: Items, quarantine: Quarantine, checks: Checks, *, scheduler: str = "serial"
) -> tuple[Items, dict[str, Any]]:
    """Read every film and every recording once; leave out what cannot be used.

    A bad film or recording is taken off its item, which stays with what else it has; an item with nothing left is
    listed too. Of films with equal content in different patients, and of texts that many studies share, the counts
    are noted.

    Returns:
        The items that are left, and facts for the validation report.
    """
    table = items.table.copy()
    digests: dict[str, str] = {}
    read = 0
    for kind in KINDS:
        paths = sorted(set(table[kind]) - {""})
        rows = {path: int(row) for path, row in zip(table[kind], table["row"], strict=True)}
        found = parallel_map(partial(_check, kind=kind, checks=checks), paths, scheduler=scheduler)
        read += len(paths)
        bad = set()
        for path, (problem, notes, digest) in zip(paths, found, strict=True):
            if problem is not None:
                quarantine.add(path, problem[0], problem[1], row=rows[path])
                bad.add(path)
            for note, reason in notes:
                quarantine.warn(path, note, reason, row=rows[path])
            digests[path] = digest
        table[kind] = ["" if path in bad else path for path in table[kind]]
        for path, first in duplicates((path, digests[path]) for path in paths if path not in bad):
            quarantine.warn(path, "duplicate", f"the same content as {first}", row=rows[path])
    present = _present(table)
    for one in table[~present.any(axis=1)].itertuples():
        quarantine.add(one.id, "empty", "no film, ECG or report that can be used", row=int(one.row))
    kept = present.any(axis=1)
    left = Items(table[kept].reset_index(drop=True), items.labels, items.targets[kept], items.facts)
    texts = repeated(
        [f"{a} {b}".strip() for a, b in zip(left.table["xray_report"], left.table["ecg_report"])]
    )
    facts = {
        **items.facts,
        "items": {split: int((left.table["split"] == split).sum()) for split in ("train", "valid", "test")},
        "patients": int(left.table["subject"].nunique()),
        "patterns": pattern_counts(present[kept]),
        "shared_reports": {"texts": len(texts), "studies": sum(texts.values())},
        "labels": {
            name: {
                "present": int((column == 1).sum()), "absent": int((column == 0).sum()),
                "uncertain": int((column == -1).sum()), "unknown": int(np.isnan(column).sum()),
            }
            for name, column in zip(left.labels, left.targets.T, strict=True)
        },
        "files_read": read,
        "data_digest": digest_of(
            left.table.drop(columns=["xray", "ecg"]), [[digests.get(p, "") for p in left.table[k]] for k in KINDS],
            left.targets,
        ),
    }  # fmt: skip
    return left, facts


def pattern_counts(present: np.ndarray) -> dict[str, int]:
    """How many items have which modalities: ``{"xray+ecg+text": n, ...}`` for all eight patterns.

    >>> pattern_counts(np.array([[True, False, True]]))["xray+text"]
    1
    """
    names = ("xray", "ecg", "text")
    counts = {}
    for code in range(7, -1, -1):
        pattern = np.array([bool(code & 4), bool(code & 2), bool(code & 1)])
        label = "+".join(name for name, on in zip(names, pattern) if on) or "none"
        counts[label] = int((present == pattern).all(axis=1).sum())
    return counts


def _present(table: Any) -> np.ndarray:
    text = (table["xray_report"] != "") | (table["ecg_report"] != "")
    return np.stack([table["xray"] != "", table["ecg"] != "", text], axis=1)


def _check(path: str, *, kind: str, checks: Checks) -> Any:
    """((kind, reason) or None, notes, digest of the content)."""
    try:
        if kind == "xray":
            film = read_film(path, bits=checks.bits, smallest=checks.smallest)
            return None, [(note.kind, note.reason) for note in film.notes], digest_of(film.pixels)
        done = conform(read_recording(path), checks.form)
        return None, [(note.kind, note.reason) for note in done.notes], digest_of(done.signal)
    except BadRecord as error:
        return (error.kind, str(error)), [], ""
