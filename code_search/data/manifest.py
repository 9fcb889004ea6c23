"""Own repositories as a corpus: a CSV with one row a repository (or file), its group and its split."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from code_search.data.corpus import Corpus, assemble
from code_search.data.languages import LANGUAGES, get_language, language_of
from code_search.data.listing import list_files
from code_search.data.reading import FileGroup, FileStatus, Pairs, read_pairs
from core.data.form import ID, SPLIT, Column, ManifestForm, group
from core.data.manifest import SPLITS

FORM = ManifestForm(
    (
        ID,
        Column(
            "path",
            "a repository, a plain folder or one source file",
            "repositories/alpha",
            needed=True,
            path=True,
        ),
        group("repositories that share code, forks say", "alpha"),
        SPLIT,
    )
)


def manifest_corpus(
    manifest: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str],
    languages: Sequence[str] = (),
    max_train: int | None = None,
    max_valid: int | None = None,
    max_test: int | None = None,
    seed: int = 0,
    scheduler: str = "processes",
    workers: int | None = None,
) -> Corpus:
    """The pairs of the repositories that a manifest names.

    Its columns are those of ``FORM``. Files are listed as in `list_files`.

    Args:
        manifest: the CSV.
        root: the folder that holds the repositories.
        languages: only files in these; in all known languages where empty.
        max_train, max_valid, max_test: caps on the pairs read; None for all.
        seed: of the split by group, where the manifest gives none.
        scheduler, workers: where the files are read, as in `core.data.parallel.parallel_map`.

    Raises:
        DataError: a wrong manifest, an unknown language, or a split without pairs.
    """
    wanted = {get_language(name).name for name in languages} or set(LANGUAGES)
    table = FORM.read(manifest, root=root, seed=seed)
    base = Path(root).resolve()
    caps = dict(zip(SPLITS, (max_train, max_valid, max_test)))
    parts: dict[str, Pairs] = {}
    for split, cap in caps.items():
        left_out: list[FileStatus] = []
        groups = [
            _files(Path(path), base, group, wanted, left_out)
            for path, group, of in zip(table["path"], table["group"], table["split"])
            if of == split
        ]
        parts[split] = read_pairs(groups, scheduler=scheduler, workers=workers, max_functions=cap)
        parts[split].files += left_out
    return assemble(train=parts["train"], valid=parts["valid"], test=parts["test"])


def _files(place: Path, base: Path, group: str, wanted: set[str], left_out: list[FileStatus]) -> FileGroup:
    """The source files of one row, relative to the data root; what is skipped goes to ``left_out``."""
    prefix = place.relative_to(base).as_posix()
    if place.is_file():
        return FileGroup(group, str(base), [prefix])
    if not place.is_dir():
        left_out.append(FileStatus(prefix, group, "skipped", "missing"))
        return FileGroup(group, str(base), [])
    start = "" if place == base else f"{prefix}/"
    files, skipped = list_files(place)
    left_out += [FileStatus(start + item.path, group, "skipped", item.reason) for item in skipped]
    return FileGroup(
        group, str(base), [start + file.path for file in files if language_of(file.path) in wanted]
    )
