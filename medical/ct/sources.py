"""The data that a params file describes: where they lie, which series they hold, their pixels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medical.ct.data.layouts import read_source
from medical.ct.data.series import Scan
from medical.ct.demo import demo_root
from medical.ct.images import Load, load_images

if TYPE_CHECKING:
    import pandas as pd

    from medical.ct.settings import Data, Params


def source_root(data: Data, seed: int) -> Path:
    """The folder of the data; the demo is generated where it is not there."""
    if data.source == "demo":
        return demo_root(**data.demo.model_dump(), seed=seed)
    return Path(str(data.root))


def scan_source(data: Data, seed: int) -> Scan:
    """The series of the source; the demo is read as what it is laid out as, LIDC-IDRI."""
    return read_source(
        "lidc" if data.source == "demo" else data.source,
        source_root(data, seed),
        manifest=data.manifest,
        fewest=data.fewest_slices,
        orientation=data.nifti_orientation,
        channel=data.channel,
        seed=seed,
        scheduler=data.scheduler,
    )


def small_images(params: Params) -> Load:
    """The reader of small images that a params file describes."""
    root = source_root(params.data, params.seed)

    def load(table: pd.DataFrame, size: int) -> np.ndarray:
        return load_images(root, table, window=params.data.window, size=size, scheduler=params.data.scheduler)

    return load
