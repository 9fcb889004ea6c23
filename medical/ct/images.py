"""Slices as one array of small eight-bit images, read from their files: for comparing, training and looking."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.data.parallel import parallel_map
from core.errors import DataError
from medical.ct.data.pixels import series_images
from medical.ct.data.series import Problem

if TYPE_CHECKING:
    import pandas as pd

Load = Callable[["pd.DataFrame", int], np.ndarray]
"""Rows of a table, size -> (n, size, size) uint8."""
PIXELS = ["series", "path", "frame", "kind", "oriented", "channel"]


def load_images(
    root: str | os.PathLike[str], table: pd.DataFrame, *, window: str, size: int, scheduler: str = "serial"
) -> np.ndarray:
    """The slices of a table as (n, size, size) uint8, in its order; n * size ** 2 bytes of memory.

    Args:
        root: of the data set.
        table: rows of `medical.ct.data.series.slice_table`.
        window: see `medical.ct.window.to_bytes`.
        size: side; slices are averaged down to it.
        scheduler: of `core.data.parallel.parallel_map`; a series is one item.

    Raises:
        DataError: a slice that could be read when it was hashed cannot be read now.
    """
    found = np.empty((len(table), size, size), np.uint8)
    parts = [rows for _, rows in table.reset_index(drop=True).groupby("series", sort=False)]
    items = [rows[PIXELS].to_dict("records") for rows in parts]
    work = partial(_series_small, str(root), window, size)
    for rows, images in zip(parts, parallel_map(work, items, scheduler=scheduler), strict=True):
        found[rows.index.to_numpy()] = images
    return found


def shrink(image: np.ndarray, size: int) -> np.ndarray:
    """(H, W) uint8 to (size, size) uint8, averaging where it gets smaller."""
    from PIL import Image

    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR))


def _series_small(root: str, window: str, size: int, rows: list[dict[str, Any]]) -> np.ndarray:
    found = []
    for row, image in zip(rows, series_images(Path(root), rows, window), strict=True):
        if isinstance(image, Problem):
            raise DataError(
                f"{row['path']} cannot be read any more: {image.reason}",
                remedy="run the stages validate and hash again",
            )
        found.append(shrink(image, size))
    return np.stack(found)
