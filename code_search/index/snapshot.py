"""One whole state of an index on disk: plain arrays and JSON under their SHA-256, nothing that runs code.

A snapshot folder holds::

    kindred-snapshot.json    what it was made from, and size and SHA-256 of every other file
    files.json               every file seen: path, content hash, language, status, reason
    vocabulary.json          the V words
    rows.npy        (N, 4)   int32: file, first line, last line, language; ordered by path, then lines
    names.npy, texts.npy     UTF-8 bytes of the N names and sources; *_ends.npy (N,) int64 tells where each
    stops keys.npy        (N, 16)  uint8: hash of the text that is embedded
    indptr.npy, documents.npy, counts.npy     the words of each function (`code_search.lexical.WordCounts`)
    vectors.npy     (N, D)   float16 unit rows, and has_vector.npy (N,) bool; only where a model was used

Arrays are memory-mapped, so a query reads the parts it needs. A snapshot is never changed after it was
written.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from code_search.index.location import MANIFEST
from code_search.lexical import WordCounts
from core.errors import DataError
from core.files import atomic_directory, sha256_file

FORMAT = 2


@dataclass(frozen=True)
class FileRecord:
    """One file: ``status`` is ``ok``, ``partial`` (syntax errors) or ``skipped``, with the reason."""

    path: str
    blob: str
    language: str
    status: str
    reason: str = ""


@dataclass(frozen=True)
class ModelRecord:
    """The encoder of the vectors."""

    reference: str
    digest: str
    dim: int


@dataclass(frozen=True)
class Description:
    """What a snapshot was made from.

    ``root`` is the indexed folder; ``versions`` names the rules that made the content (another rule,
    another content); ``options`` are the include, exclude and size limits; ``pending`` counts files that
    are still to be read.
    """

    root: str
    versions: dict[str, str]
    options: dict[str, Any]
    languages: list[str]
    pending: int = 0
    model: ModelRecord | None = None


class TextTable:
    """N strings as one array of bytes and the place where each ends.

    >>> table = TextTable.of(["def f", "größe"])
    >>> len(table), table[1]
    (2, 'größe')
    """

    def __init__(self, content: np.ndarray, ends: np.ndarray) -> None:
        self.content, self.ends = content, ends

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: int) -> str:
        start = int(self.ends[index - 1]) if index else 0
        return self.content[start : int(self.ends[index])].tobytes().decode("utf-8", errors="surrogatepass")

    @classmethod
    def of(cls, texts: Iterable[str]) -> TextTable:
        """Pack ``texts``, read once."""
        pieces = [text.encode("utf-8", errors="surrogatepass") for text in texts]
        ends = np.cumsum([len(piece) for piece in pieces], dtype=np.int64)
        return cls(np.frombuffer(b"".join(pieces), dtype=np.uint8), ends.astype(np.int64))


@dataclass(frozen=True)
class Snapshot:
    """The content of a snapshot; arrays as the module describes them, row ``i`` of each is function ``i``."""

    description: Description
    files: list[FileRecord]
    rows: np.ndarray
    names: TextTable
    texts: TextTable
    keys: np.ndarray
    words: WordCounts
    vectors: np.ndarray | None = None
    has_vector: np.ndarray | None = None
    folder: Path | None = field(default=None, compare=False)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def root(self) -> str:
        return self.description.root

    @property
    def vector_count(self) -> int:
        """How many functions have a vector."""
        return 0 if self.has_vector is None else int(self.has_vector.sum())

    def path(self, row: int) -> str:
        return self.files[int(self.rows[row, 0])].path

    def with_vectors(self, model: ModelRecord, vectors: np.ndarray, has_vector: np.ndarray) -> Snapshot:
        """The same functions with other vectors."""
        described = replace(self.description, model=model)
        return replace(self, description=described, vectors=vectors, has_vector=has_vector, folder=None)

    def arrays(self) -> dict[str, np.ndarray]:
        named = {
            "rows": self.rows,
            "names": self.names.content,
            "names_ends": self.names.ends,
            "texts": self.texts.content,
            "texts_ends": self.texts.ends,
            "keys": self.keys,
            "indptr": self.words.indptr,
            "documents": self.words.documents,
            "counts": self.words.counts,
        }
        if self.vectors is not None and self.has_vector is not None:
            named |= {"vectors": self.vectors, "has_vector": self.has_vector}
        return named


def row_spans(snapshot: Snapshot) -> dict[str, tuple[int, int]]:
    """(first row, number of rows) of every file that has rows."""
    numbers, firsts, counts = np.unique(snapshot.rows[:, 0], return_index=True, return_counts=True)
    return {
        snapshot.files[number].path: (int(first), int(count))
        for number, first, count in zip(numbers, firsts, counts)
    }


def write_snapshot(snapshot: Snapshot, folder: Path) -> Path:
    """Write ``snapshot`` to ``folder``, which appears whole or not at all; every file is flushed first."""
    with atomic_directory(folder) as temporary:
        files = {}
        for name, array in snapshot.arrays().items():
            with open(temporary / f"{name}.npy", "wb") as stream:
                np.save(stream, np.ascontiguousarray(array), allow_pickle=False)
                _flush(stream)
        records = [[f.path, f.blob, f.language, f.status, f.reason] for f in snapshot.files]
        for name, value in (("files", records), ("vocabulary", list(snapshot.words.vocabulary))):
            _write_json(temporary / f"{name}.json", value)
        for path in sorted(temporary.iterdir()):
            files[path.name] = {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
        manifest = {"format": FORMAT, **asdict(snapshot.description), "functions": len(snapshot)}
        _write_json(
            temporary / MANIFEST, manifest | {"vectors": snapshot.vector_count, "files": files}, indent=1
        )
    return folder


def _write_json(path: Path, value: Any, indent: int | None = None) -> None:
    with open(path, "w", encoding="utf-8", errors="surrogatepass") as stream:
        json.dump(value, stream, ensure_ascii=False, indent=indent)
        _flush(stream)


def _flush(stream: Any) -> None:
    stream.flush()
    os.fsync(stream.fileno())


def read_snapshot(folder: Path, manifest_sha256: str | None = None, *, verify: bool = True) -> Snapshot:
    """Open a snapshot, arrays memory-mapped, after comparing every file with its SHA-256 (if ``verify``).

    Raises:
        DataError: a file is missing, cut or altered, or was written by another version; names the command
        that mends it.
        FileNotFoundError: the folder itself is not there.
    """
    if not folder.is_dir():
        raise FileNotFoundError(folder)
    try:
        raw = (folder / MANIFEST).read_bytes()
        if manifest_sha256 is not None and hashlib.sha256(raw).hexdigest() != manifest_sha256:
            raise ValueError(f"{MANIFEST} does not have the content that was published")
        manifest = json.loads(raw)
        if manifest["format"] != FORMAT:
            raise ValueError(f"format {manifest['format']} where this version reads {FORMAT}")
        for name, expected in manifest["files"].items():
            if Path(name).name != name:
                raise ValueError(f"{name!r} is not a plain file name")
            same_size = (folder / name).stat().st_size == expected["bytes"]
            if not same_size or (verify and sha256_file(folder / name) != expected["sha256"]):
                raise ValueError(f"{name} does not have the content that was written")
        return _assemble(folder, manifest)
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        if not folder.is_dir():
            raise FileNotFoundError(folder) from None
        raise DataError(
            f"the index in {folder} is damaged",
            seen=str(error),
            remedy="run `kindred index` on the repository again",
        ) from None


def _assemble(folder: Path, manifest: dict[str, Any]) -> Snapshot:
    def array(name: str) -> np.ndarray:
        return np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)

    def plain(name: str) -> Any:
        return json.loads((folder / f"{name}.json").read_text(encoding="utf-8", errors="surrogatepass"))

    model = manifest["model"]
    description = Description(
        root=manifest["root"],
        versions=manifest["versions"],
        options=manifest["options"],
        languages=manifest["languages"],
        pending=manifest["pending"],
        model=ModelRecord(**model) if model else None,
    )
    size = manifest["functions"]
    snapshot = Snapshot(
        description=description,
        files=[FileRecord(*record) for record in plain("files")],
        rows=array("rows"),
        names=TextTable(array("names"), array("names_ends")),
        texts=TextTable(array("texts"), array("texts_ends")),
        keys=array("keys"),
        words=WordCounts(plain("vocabulary"), array("indptr"), array("documents"), array("counts"), size),
        vectors=array("vectors") if "vectors.npy" in manifest["files"] else None,
        has_vector=array("has_vector") if "vectors.npy" in manifest["files"] else None,
        folder=folder,
    )
    lengths: Sequence[int] = [
        len(snapshot.rows),
        len(snapshot.names),
        len(snapshot.texts),
        len(snapshot.keys),
    ]
    if set(lengths) != {size}:
        raise ValueError(f"tables of {lengths} rows where the manifest says {size}")
    return snapshot
