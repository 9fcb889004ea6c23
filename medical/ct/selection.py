"""From a table of hashed slices to the choice, its CSV files and the index of what is kept."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from core.data.checks import disarmed
from core.files import atomic_directory, atomic_write, write_json
from medical.ct.index import index_of
from medical.ct.select import Selection, Slices, select, select_to_ratio
from medical.ct.sources import small_images
from medical.ct.store import codes_of

if TYPE_CHECKING:
    import pandas as pd

    from medical.ct.settings import Params

HASH_THRESHOLD = 6
"""Bits of a duplicate in the index of a selection that was not made by hashes."""


def slices_of(table: pd.DataFrame, **more: Any) -> Slices:
    """What `medical.ct.select.select` takes, of a table of hashed slices."""
    return Slices(table["series"].to_numpy(str), table["z_mm"].to_numpy(float), codes_of(table), **more)


def select_slices(table: pd.DataFrame, params: Params) -> Selection:
    """Apply the section ``select`` to a table of hashed slices; reads pixels only where the method needs them."""
    settings = params.select

    def images(rows: np.ndarray, size: int = settings.compare_size) -> np.ndarray:
        return small_images(params)(table.iloc[rows], size)

    embeddings = None
    if settings.method in ("embedding", "semdedup"):
        from medical.ct.model import load_encoder, new_encoder

        encoder = (
            load_encoder(settings.encoder)
            if settings.encoder
            else new_encoder(**params.model.architecture, window=params.data.window, seed=params.seed)
        )
        embeddings = encoder.embed(images(np.arange(len(table)), encoder.size))
    slices = slices_of(table, images=images, embeddings=embeddings)
    shared: dict[str, Any] = {
        "method": settings.method, "scope": settings.scope, "clusters": settings.clusters, "seed": params.seed
    }  # fmt: skip
    if settings.target_ratio is not None:
        return select_to_ratio(slices, ratio=settings.target_ratio, tolerance=settings.tolerance, **shared)
    return select(slices, threshold=settings.threshold, **shared)


def with_selection(table: pd.DataFrame, selection: Selection) -> pd.DataFrame:
    """The table with columns kept (bool), representative (row number), score, group_size added."""
    representative = selection.representative
    sizes = np.bincount(representative[representative >= 0], minlength=len(table))
    kept = np.zeros(len(table), bool)
    kept[selection.keep] = True
    return table.assign(kept=kept, representative=representative, score=selection.score, group_size=sizes)


def save_selection(
    table: pd.DataFrame, folder: str | os.PathLike[str], *, selection: Selection, method: str, window: str
) -> None:
    """Write ``slices.parquet``, ``kept.csv``, ``removed.csv`` and the index of the kept hashes.

    Args:
        table: of `with_selection`.
    """
    place = ["series", "patient", "split", "slice", "z_mm", "label", "path", "frame"]
    kept = table[table["kept"]]
    removed = table[~table["kept"]]
    stands = removed["representative"].to_numpy()
    there = stands >= 0
    of = {name: table[name].to_numpy()[np.where(there, stands, 0)] for name in ("path", "frame", "slice")}
    pairs = removed[place].assign(
        representative=np.where(there, of["path"], ""),
        representative_frame=np.where(there, of["frame"], -1),
        representative_slice=np.where(there, of["slice"], -1),
        distance=removed["score"].round(6),
    )
    hash_size = 8 if len(table["hash"].iloc[0]) == 16 else 16
    threshold = int(selection.threshold) if method == "dhash" else HASH_THRESHOLD
    with atomic_directory(folder) as target:
        table.to_parquet(target / "slices.parquet", index=False)
        atomic_write(target / "kept.csv", disarmed(kept[[*place, "hash", "group_size"]]).to_csv(index=False))
        atomic_write(target / "removed.csv", disarmed(pairs).to_csv(index=False))
        (target / "index").mkdir()
        index_of(kept, threshold=threshold, window=window, hash_size=hash_size).save(target / "index")
        facts = {
            "method": method,
            "threshold": selection.threshold,
            "slices": len(table),
            "kept": len(selection.keep),
            "ratio": selection.ratio,
        }
        write_json(target / "selection.json", facts)
