"""A corpus without a download: the installed distributions to learn from, the standard library to test on."""

from __future__ import annotations

import hashlib
import re
import sys
import sysconfig
from functools import partial
from importlib import metadata
from pathlib import Path, PurePosixPath

from code_search.data.corpus import Corpus, assemble
from code_search.data.reading import FileGroup, read_pairs
from core.data.splits import group_split
from core.errors import DataError

STDLIB = "python-standard-library"
_TEST_FOLDERS = {"test", "tests", "testing", "conftest.py"}
_RECORD_PATH = re.compile(r'^"?([^",\n]+\.py)"?,', re.MULTILINE)


def installed_corpus(
    *,
    seed: int = 0,
    valid_fraction: float = 0.1,
    max_train: int | None = None,
    max_valid: int | None = 2000,
    max_test: int | None = None,
    scheduler: str = "processes",
    workers: int | None = None,
    site: list[str] | None = None,
    stdlib: str | None = None,
) -> Corpus:
    """Pairs of documentation and function from this machine: nothing is downloaded and nothing shipped.

    Train and valid come from what pip installed, split by distribution with `group_split`; test is the
    standard library. Distributions are read in the order of a hash of their name, so a cap takes the same
    ones on every machine with the same environment.

    Args:
        seed: of the split.
        valid_fraction: share of the distributions that is held out for validation.
        max_train, max_valid, max_test: caps on the pairs read (before duplicates go); None for all.
        scheduler, workers: where the files are read, as in `core.data.parallel.parallel_map`.
        site: folders with installed distributions; default: those of this interpreter.
        stdlib: the standard library's folder; default: this interpreter's.

    Raises:
        DataError: fewer than two distributions with Python files, or no standard library.
    """
    groups = distributions(site)
    if len(groups) < 2:
        raise DataError(
            "installed distributions with Python files",
            seen=len(groups),
            expected="at least 2 (train and valid)",
            remedy="install the project's requirements, or use data.source: manifest",
        )
    names = [group.group for group in groups]
    splits = group_split(names, {"train": 1 - valid_fraction, "valid": valid_fraction}, seed)
    in_split = {
        split: [group for group, of in zip(groups, splits) if of == split] for split in ("train", "valid")
    }
    read = partial(read_pairs, scheduler=scheduler, workers=workers)
    return assemble(
        train=read(in_split["train"], max_functions=max_train),
        valid=read(in_split["valid"], max_functions=max_valid),
        test=read([standard_library(stdlib)], max_functions=max_test),
    )


def distributions(site: list[str] | None = None) -> list[FileGroup]:
    """The Python files of each installed distribution, tests left out, in the order of a hash of its name."""
    found: dict[str, FileGroup] = {}
    for distribution in metadata.distributions(path=site or sys.path):
        name = re.sub(r"[-_.]+", "-", distribution.metadata["Name"] or "").lower()
        paths = sorted(path for path in _recorded(distribution) if not _is_test(path))
        if name and paths and name not in found:
            found[name] = FileGroup(name, str(distribution.locate_file("")), paths)
    return [found[name] for name in sorted(found, key=_order)]


def standard_library(root: str | None = None) -> FileGroup:
    """The files of the standard library, with its tests, as one group."""
    folder = Path(root or sysconfig.get_path("stdlib"))
    paths = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*.py")
        if not {"site-packages", "dist-packages"} & set(path.parts)
    )
    if not paths:
        raise DataError(
            f"no standard library in {folder}", remedy="pass stdlib=, the folder that holds os.py"
        )
    return FileGroup(STDLIB, str(folder), paths)


def _recorded(distribution: metadata.Distribution) -> list[str]:
    """Relative paths of the Python files, from RECORD where there is one (parsing it in full is slow)."""
    record = distribution.read_text("RECORD")
    if record is not None:
        paths = _RECORD_PATH.findall(record)
    else:
        paths = [file.as_posix() for file in distribution.files or [] if file.suffix == ".py"]
    return [path for path in paths if not path.startswith(("../", "/"))]


def _is_test(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return bool(_TEST_FOLDERS & set(parts)) or parts[-1].startswith("test_") or parts[-1].endswith("_test.py")


def _order(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=8).digest()
