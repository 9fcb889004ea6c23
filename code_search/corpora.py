"""The corpus that ``data.source`` names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from code_search.data.corpus import Corpus, assemble
from code_search.data.functions import Function
from code_search.data.reading import Pairs
from core.errors import ConfigError, DataError

SPLITS = ("train", "valid", "test")


def read_corpus(
    source: str,
    *,
    root: str | None = None,
    manifest: str | None = None,
    languages: Sequence[str] = (),
    max_train: int | None = None,
    max_valid: int | None = None,
    max_test: int | None = None,
    valid_fraction: float = 0.1,
    seed: int = 0,
    scheduler: str = "processes",
) -> Corpus:
    """Read every file of the source once and take duplicates out.

    Args:
        source: ``installed``, ``codesearchnet`` or ``manifest``, see `code_search.settings.Data`.
        root, manifest: where the data are; not for ``installed``.
        languages: only these; all where empty.
        max_train, max_valid, max_test: caps on the pairs; None for all.
        valid_fraction, seed: of the split of installed distributions.
        scheduler: where the files are read, as in `core.data.parallel.parallel_map`.

    Raises:
        DataError: a file or folder is missing, or a split would be empty.
    """
    if source == "installed":
        from code_search.data.installed import installed_corpus

        return installed_corpus(
            seed=seed,
            valid_fraction=valid_fraction,
            max_train=max_train,
            max_valid=max_valid,
            max_test=max_test,
            scheduler=scheduler,
        )
    if source == "manifest":
        from code_search.data.manifest import manifest_corpus

        return manifest_corpus(
            manifest or "",
            root=root or ".",
            languages=languages,
            max_train=max_train,
            max_valid=max_valid,
            max_test=max_test,
            seed=seed,
            scheduler=scheduler,
        )
    if source == "codesearchnet":
        return codesearchnet_corpus(
            root or ".", languages=languages, max_train=max_train, max_valid=max_valid, max_test=max_test
        )
    raise ConfigError("data.source", seen=source, expected="installed, codesearchnet or manifest")


def codesearchnet_corpus(
    root: str | os.PathLike[str],
    *,
    languages: Sequence[str] = (),
    max_train: int | None = None,
    max_valid: int | None = None,
    max_test: int | None = None,
) -> Corpus:
    """The pairs of a CodeSearchNet folder, one sub-folder a language, with its published splits.

    The test functions are those that the test queries ask for, with the query as their documentation. Caps
    are shared out evenly among the languages.

    Raises:
        DataError: no language folder with a ``train.jsonl``, or a file that is missing in one.
    """
    from code_search.data.codesearchnet import read_training_rows

    homes = [home for home in sorted(Path(root).glob("*")) if home.is_dir()]
    homes = [home for home in homes if not languages or home.name in languages]
    found = [home for home in homes if _file(home, "train") is not None]
    if not found:
        raise DataError(
            f"data.root {root}: training rows",
            seen=f"folders {', '.join(home.name for home in homes) or 'none'} without train.jsonl",
            expected="<language>/{train,valid,test,codebase}.jsonl",
            remedy="a folder that holds test rows only goes into evaluate.benchmarks",
        )
    parts: dict[str, Pairs] = {split: Pairs() for split in SPLITS}
    caps = {"train": max_train, "valid": max_valid, "test": max_test}
    share = {split: None if cap is None else max(1, cap // len(found)) for split, cap in caps.items()}
    for home in found:
        for split in ("train", "valid"):
            pairs = read_training_rows(_file(home, split) or home / f"{split}.jsonl")
            if not pairs.functions:  # the published valid split keeps its code in the codebase file
                pairs.functions = _asked(home, split)
            _extend(parts[split], pairs, share[split])
        _extend(parts["test"], Pairs(functions=_asked(home, "test")), share["test"])
    return assemble(train=parts["train"], valid=parts["valid"], test=parts["test"])


def _asked(home: Path, split: str) -> list[Function]:
    """The functions that a split's queries ask for, each with its query as documentation."""
    from code_search.data.codesearchnet import read_benchmark

    found = read_benchmark(home, split)
    pairs = zip(found.queries, found.relevant)
    return [replace(found.candidates[row], documentation=query) for query, row in pairs]


def _extend(parts: Pairs, more: Pairs, cap: int | None) -> None:
    parts.functions += more.functions[:cap]
    parts.files += more.files
    parts.dropped.update(more.dropped)


def _file(home: Path, split: str) -> Path | None:
    names = (home / f"{split}.jsonl", home / f"{split}.jsonl.gz")
    return next((path for path in names if path.is_file()), None)
