"""A folder of recordings: embedded once, then tagged and searched."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from audio_language.audio_file import REFUSED, SUFFIXES, AudioError, read_audio
from audio_language.embed import SoundModel
from core.data.checks import Finding, Quarantine, disarm
from core.errors import DataError
from core.files import atomic_directory, atomic_write, read_json, write_json

VECTORS, INDEX = "embeddings.npy", "embeddings.csv"
LONG_SECONDS = 60.0  # longer files are read in blocks


@dataclass(frozen=True)
class Collection:
    """Embedded files.

    Attributes:
        root: their folder. files: paths relative to it. rows: (files, dim) unit embeddings.
        digest: SHA-256 of the model's weights.
        seen: size and time of change (ns) of every file that was looked at, also of those left out.
        findings: what the quarantine says of them. fresh: how many of ``rows`` are not those of an earlier run.
    """

    root: Path
    files: list[str]
    rows: np.ndarray
    digest: str = ""
    seen: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    findings: Sequence[Finding] = ()
    fresh: int = 0


def sound_files(folder: str | os.PathLike[str]) -> list[Path]:
    """Every audio file below a folder, also of kinds that have to be converted first. Raises DataError."""
    root = Path(folder).expanduser()
    if root.is_file():
        return [root]
    if not root.is_dir():
        raise DataError(f"folder {root}", seen="nothing there", expected="a folder of recordings")
    found = [p for p in sorted(root.rglob("*")) if p.suffix.lower() in (*SUFFIXES, *REFUSED) and p.is_file()]
    if not found:
        raise DataError(f"folder {root}", seen="no audio file", expected=f"files with {', '.join(SUFFIXES)}")
    return found


def named_files(folder: str | os.PathLike[str]) -> tuple[Path, dict[str, Path]]:
    """The folder, and its audio files by their path relative to it. Raises DataError."""
    files = sound_files(folder)
    root = Path(folder).expanduser()
    root = root.parent if root.is_file() else root
    return root, {path.relative_to(root).as_posix(): path for path in files}


def embed_folder(
    model: SoundModel,
    folder: str | os.PathLike[str],
    quarantine: Quarantine,
    *,
    kept: Collection | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Collection:
    """Embed every file of a folder; those that cannot be used go to the quarantine.

    Args:
        kept: an earlier run: what it says of files that did not change since is used again.

    Raises:
        DataError: no file, or none that can be used.
    """
    root, files = named_files(folder)
    home = root.resolve()
    # taken before reading: what changes meanwhile is read again by the next run
    seen = {name: _stamp(path) for name, path in files.items()}
    known = _unchanged(kept, home, model.digest, seen)
    names, rows, fresh, before = [], [], 0, len(quarantine.findings)
    for number, (name, path) in enumerate(files.items(), start=1):
        row: np.ndarray | None = None
        if name in known:
            row, notes = known[name]
            quarantine.findings.extend(notes)
        else:
            try:
                row = _embed(model, path, name, quarantine)
                fresh += 1
            except AudioError as error:
                quarantine.add(name, error.kind, str(error))
        if row is not None:
            names.append(name)
            rows.append(row)
        if progress:
            progress(number, len(files))
    if not rows:
        first = quarantine.offenders[0]
        raise DataError(f"no file of {root} can be used, the first is {first.file}: {first.reason}")
    findings = tuple(quarantine.findings[before:])
    return Collection(home, names, np.stack(rows), model.digest, seen, findings, fresh)


def _stamp(path: Path) -> tuple[int, int]:
    facts = path.stat()
    return facts.st_size, facts.st_mtime_ns


def _unchanged(
    kept: Collection | None, root: Path, digest: str, seen: Mapping[str, tuple[int, int]]
) -> dict[str, tuple[np.ndarray | None, list[Finding]]]:
    """Embedding (None where it was left out) and findings of each file that is as it was in an earlier run."""
    if kept is None or not digest or kept.digest != digest or kept.root != root:
        return {}
    rows = dict(zip(kept.files, kept.rows, strict=True))
    notes: dict[str, list[Finding]] = {}
    for finding in kept.findings:
        notes.setdefault(finding.file, []).append(finding)
    same = [name for name, stamp in seen.items() if kept.seen.get(name) == stamp]
    return {name: (rows.get(name), notes.get(name, [])) for name in same}


def _embed(model: SoundModel, path: Path, name: str, quarantine: Quarantine) -> np.ndarray:
    import soundfile

    try:
        long = soundfile.info(path).duration > LONG_SECONDS
    except (soundfile.LibsndfileError, RuntimeError, TypeError):
        long = False  # reading it says what is wrong
    if long:
        return model.embed_file(path)
    found = read_audio(path)
    for kind, words in found.notes:
        quarantine.warn(name, kind, words)
    if found.rate < min(16_000, model.rate):
        quarantine.warn(name, "low_rate", f"{found.rate} Hz is raised to {model.rate} Hz and stays dull")
    return model.embed_wave(found.wave, found.rate)


def save_collection(found: Collection, folder: str | os.PathLike[str]) -> None:
    """Write ``embeddings.npy`` (files, dim) float32, ``embeddings.csv`` with the file of each row, and ``seen``."""
    with atomic_directory(folder) as out:
        np.save(out / VECTORS, found.rows.astype(np.float32), allow_pickle=False)
        atomic_write(out / INDEX, _csv([{"row": row, "file": name} for row, name in enumerate(found.files)]))
        facts = {
            "root": str(found.root),
            "model_sha256": found.digest,
            "seen": found.seen,
            "findings": [asdict(finding) for finding in found.findings],
        }
        write_json(out / "embeddings.json", facts)


def load_collection(folder: str | os.PathLike[str]) -> Collection:
    """Read what `save_collection` wrote. Raises DataError."""
    home = Path(folder)
    facts = read_json(home / "embeddings.json")
    with (home / INDEX).open(encoding="utf-8", newline="") as stream:
        files = [row["file"] for row in csv.DictReader(stream)]
    try:
        rows = np.load(home / VECTORS, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"{home / VECTORS} cannot be read",
            seen=str(error),
            remedy="run `kindred tag` on the folder again",
        ) from None
    if len(rows) != len(files):
        raise DataError(f"{home} is damaged", seen=(len(rows), len(files)), expected="a file for each row")
    seen = {name: (size, changed) for name, (size, changed) in facts.get("seen", {}).items()}
    findings = tuple(Finding(**finding) for finding in facts.get("findings", []))
    return Collection(Path(facts["root"]), files, rows, facts["model_sha256"], seen, findings)


def tag_rows(
    model: SoundModel,
    found: Collection,
    *,
    labels: Sequence[str] | None = None,
    prompt: str | None = None,
    top: int = 3,
) -> list[dict[str, Any]]:
    """Rows of ``tags.csv``: file, label, score (probability among the labels), rank from 1."""
    chosen = list(labels or model.labels)
    scores = model.probabilities(model.tag_scores(found.rows, chosen, prompt))
    rows = []
    for name, row in zip(found.files, scores):
        order = np.argsort(-row, kind="stable")[:top]
        for rank, column in enumerate(order, start=1):
            rows.append(
                {"file": name, "label": chosen[column], "score": round(float(row[column]), 4), "rank": rank}
            )
    return rows


def search_rows(
    model: SoundModel, found: Collection, queries: Sequence[str], *, top: int = 10
) -> list[dict[str, Any]]:
    """Rows of ``retrieval.csv``: query, file, score (cosine), rank; best first."""
    similarity = model.embed_texts(queries) @ found.rows.T
    rows = []
    for query, row in zip(queries, similarity):
        for rank, column in enumerate(np.argsort(-row, kind="stable")[:top], start=1):
            rows.append(
                {
                    "query": query,
                    "file": found.files[column],
                    "score": round(float(row[column]), 4),
                    "rank": rank,
                }
            )
    return rows


def write_rows(path: str | os.PathLike[str], rows: Iterable[dict[str, Any]], columns: Sequence[str]) -> Path:
    """A CSV with a header, whole or not at all, also where there are no rows."""
    safe = ({name: disarm(cell) for name, cell in row.items()} for row in rows)
    return atomic_write(path, _csv(safe, columns))


def _csv(rows: Iterable[dict[str, Any]], columns: Sequence[str] | None = None) -> str:
    found = list(rows)
    out = io.StringIO()
    writer = csv.DictWriter(out, columns or list(found[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    return out.getvalue()
