"""What the prepare stage writes and all later stages read: films, ECGs, texts, labels, and who has what."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.data.digest import digest_of
from core.data.parallel import parallel_map
from core.errors import DataError
from core.files import atomic_directory, read_json, write_json
from medical.alignment.data.film import read_film
from medical.alignment.data.items import Items, resolve_uncertain
from medical.alignment.data.report import pair_text
from medical.alignment.preprocess import Preprocessing
from medical.ecg.data.conform import conform
from medical.ecg.data.recording import read_recording

if TYPE_CHECKING:
    import pandas as pd

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Prepared:
    """Items as arrays.

    Attributes:
        films: (F, S, S) uint8. signals: (E, 12, T) float32; both memory maps, each file once.
        table: ``id``, ``subject``, ``split``, ``film`` and ``signal`` (places in the arrays, -1 where missing),
            ``text`` ("" where missing), ``xray`` (path of the film).
        targets: (N, C) float32 of 1, 0, NaN. labels: C names.
        present: (N, 3) bool. groups: (N,) int64: items of one group are no negatives of each other.
    """

    films: np.ndarray = field(repr=False)
    signals: np.ndarray = field(repr=False)
    table: pd.DataFrame = field(repr=False)
    targets: np.ndarray = field(repr=False)
    labels: list[str]
    present: np.ndarray = field(repr=False)
    groups: np.ndarray = field(repr=False)
    preprocessing: Preprocessing
    facts: dict[str, Any]

    def __len__(self) -> int:
        return len(self.table)

    def rows(self, split: str) -> np.ndarray:
        """Row numbers of a split."""
        return np.flatnonzero(self.table["split"].to_numpy() == split)

    def with_present(self, present: np.ndarray) -> Prepared:
        """The same items with further modalities hidden; rows of nothing stay, and take part in nothing."""
        return replace(self, present=present & self.present)

    def with_splits(self, splits: list[str]) -> Prepared:
        """The same items in other splits."""
        return replace(self, table=self.table.assign(split=splits))

    def film(self, row: int) -> np.ndarray:
        """The prepared film of a row that has one."""
        return np.asarray(self.films[int(self.table["film"].iloc[row])])

    def signal(self, row: int) -> np.ndarray:
        """The prepared ECG of a row that has one."""
        return np.asarray(self.signals[int(self.table["signal"].iloc[row])])


def prepare(
    items: Items,
    folder: str | os.PathLike[str],
    *,
    preprocessing: Preprocessing,
    uncertain: str = "ignore",
    mask_same_text: bool = True,
    bits: int | None = None,
    scheduler: str = "serial",
) -> None:
    """Read and preprocess every film and ECG once, and write the folder that `load_prepared` reads.

    Args:
        uncertain: what -1 among the labels becomes, see `resolve_uncertain`.
        mask_same_text: items with equal report are no negatives of each other, like items of one patient.
        bits: of `read_film`.

    Raises:
        DataError: a split is empty, or no training item has two modalities.
    """
    table = items.table
    empty = [split for split in SPLITS if split not in set(table["split"])]
    if empty:
        raise DataError(
            f"no item in split {', '.join(empty)}", remedy="set data.fractions, or the split column"
        )
    films, film_of = _places(table["xray"].tolist())
    ecgs, ecg_of = _places(table["ecg"].tolist())
    texts = [pair_text(a, b) for a, b in zip(table["xray_report"], table["ecg_report"], strict=True)]
    size, samples = preprocessing.image_size, preprocessing.samples
    with atomic_directory(folder) as target:
        _fill(
            target / "films.npy", (len(films), size, size), np.uint8, films, scheduler,
            partial(_film, preprocessing=preprocessing, bits=bits),
        )  # fmt: skip
        _fill(
            target / "signals.npy", (len(ecgs), 12, samples), np.float32, ecgs, scheduler,
            partial(_signal, preprocessing=preprocessing),
        )  # fmt: skip
        rest = table[["id", "subject", "split", "xray"]].assign(film=film_of, signal=ecg_of, text=texts)
        rest.to_csv(target / "table.csv", index=False)
        targets = resolve_uncertain(items.targets, uncertain)  # type: ignore[arg-type]
        np.save(target / "targets.npy", targets)
        np.save(
            target / "groups.npy", groups_of(table["subject"].tolist(), texts if mask_same_text else None)
        )
        facts = {
            "labels": items.labels,
            "preprocessing": preprocessing.to_json(),
            "digest": digest_of(rest.drop(columns=["xray"]), targets, preprocessing.to_json()),
            "demo_truth": items.facts.get("demo_truth", ""),
        }
        write_json(target / "prepared.json", facts)
    prepared = load_prepared(folder)
    if (prepared.present[prepared.rows("train")].sum(1) >= 2).sum() < 2:
        raise DataError(
            "training items with two modalities", seen="fewer than 2", expected="pairs to learn from",
            remedy="link more (data.link.days), or bring films and reports of the same patients",
        )  # fmt: skip


def load_prepared(folder: str | os.PathLike[str]) -> Prepared:
    """Read what `prepare` wrote; films and signals stay on disk.

    Raises:
        DataError: files that do not belong together.
    """
    import pandas as pd

    home = Path(folder)
    facts = read_json(home / "prepared.json")
    films, signals = (np.load(home / f"{name}.npy", mmap_mode="r") for name in ("films", "signals"))
    targets, groups = np.load(home / "targets.npy"), np.load(home / "groups.npy")
    table = pd.read_csv(
        home / "table.csv",
        dtype=dict.fromkeys(("id", "subject", "split", "xray", "text"), str),
        keep_default_na=False,
    )
    if not len(targets) == len(groups) == len(table) or targets.shape[1] != len(facts["labels"]):
        raise DataError(f"{home}", seen="tables of different length", remedy="run the prepare stage again")
    present = np.stack([table["film"] >= 0, table["signal"] >= 0, table["text"] != ""], axis=1)
    return Prepared(
        films, signals, table, targets, facts["labels"], present, groups,
        Preprocessing.from_json(facts["preprocessing"]), facts,
    )  # fmt: skip


def groups_of(subjects: list[str], texts: list[str] | None = None) -> np.ndarray:
    """(N,) ids: equal where items are joined by a patient or (where given) by a text, or by a chain of these.

    >>> groups_of(["a", "b", "a", "c"], ["x", "y", "y", ""]).tolist()
    [0, 0, 0, 1]
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    count = len(subjects)
    keys = [[("s", name) for name in subjects]]
    if texts is not None:
        keys.append([("t", text) if text else ("n", str(row)) for row, text in enumerate(texts)])
    nodes: dict[Any, int] = {}
    left, right = [], []
    for column in keys:
        for row, key in enumerate(column):
            left.append(row)
            right.append(count + nodes.setdefault(key, len(nodes)))
    total = count + len(nodes)
    graph = coo_matrix((np.ones(len(left)), (left, right)), shape=(total, total))
    return np.unique(connected_components(graph, directed=False)[1][:count], return_inverse=True)[1].astype(
        np.int64
    )


def _places(paths: list[str]) -> tuple[list[str], list[int]]:
    """Distinct paths, and the place of each path among them (-1 for "")."""
    distinct = sorted(set(paths) - {""})
    place: Mapping[str, int] = {path: number for number, path in enumerate(distinct)}
    return distinct, [place.get(path, -1) for path in paths]


def _fill(
    file: Path, shape: tuple[int, ...], dtype: Any, paths: list[str], scheduler: str, work: Any
) -> None:
    if not paths:
        np.save(file, np.zeros(shape, dtype))
        return
    out = np.lib.format.open_memmap(file, mode="w+", dtype=dtype, shape=shape)
    block = 1024  # results of the workers are held a block at a time
    for start in range(0, len(paths), block):
        part = paths[start : start + block]
        for offset, values in enumerate(parallel_map(work, part, scheduler=scheduler)):
            out[start + offset] = values
    out.flush()


def _film(path: str, *, preprocessing: Preprocessing, bits: int | None) -> np.ndarray:
    return preprocessing.film(read_film(path, bits=bits, smallest=1).pixels)


def _signal(path: str, *, preprocessing: Preprocessing) -> np.ndarray:
    return preprocessing.signal(conform(read_recording(path), preprocessing.form).signal)
