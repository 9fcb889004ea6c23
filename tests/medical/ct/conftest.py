"""Small CT data for the tests: DICOM files made one by one, and one demo data set for all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medical.ct.demo import _header, _store, write_demo

SIZE = 32


def anatomy(k: float, size: int = SIZE) -> np.ndarray:
    """A slice in Hounsfield units that is not symmetric in any way and changes with k."""
    y, x = np.mgrid[0:size, 0:size] / size
    image = np.full((size, size), -1000.0)
    image[np.hypot(x - 0.5, (y - 0.5) * 1.4) < 0.45] = 40
    image[np.hypot(x - 0.3, y - 0.4 - 0.01 * k) < 0.14] = -800
    image[np.hypot(x - 0.7, y - 0.55) < 0.03 * (1 + k % 5)] = 150
    return image + 60 * x


@pytest.fixture
def write_slice() -> Callable[..., Path]:
    """write_slice(path, k, change=None, hu=None): one axial DICOM slice at k millimetres; ``change`` edits it."""

    def write(
        path: Path,
        k: int,
        change: Callable[[Any], object] | None = None,
        hu: np.ndarray | None = None,
        series: str = "1.2.3.4",
        patient: str = "P1",
    ) -> Path:
        header = _header(patient, series, SIZE, 1.0, instance=k + 1)
        header.ImagePositionPatient = [-16.0, -16.0, float(k)]
        path.parent.mkdir(parents=True, exist_ok=True)
        _store(header, anatomy(k) if hu is None else hu, path)
        if change is not None:
            import pydicom

            written = pydicom.dcmread(path)
            change(written)
            written.save_as(path, enforce_file_format=False)
        return path

    return write


@pytest.fixture
def write_series(write_slice) -> Callable[..., list[Path]]:
    """write_series(folder, count=12, change=None, ...): slices whose names say nothing about their order."""

    def write(folder: Path, count: int = 12, start: int = 0, **options: Any) -> list[Path]:
        return [
            write_slice(
                folder / f"im_{(7 * k) % count}_{options.get('series', '')}.dcm", k + start, **options
            )
            for k in range(count)
        ]

    return write


@pytest.fixture(scope="session")
def demo(tmp_path_factory) -> Path:
    """Six patients with everything that goes wrong."""
    folder = tmp_path_factory.mktemp("ct") / "demo"
    folder.mkdir()
    write_demo(folder, patients=6, size=SIZE, seed=0, density=0.16)
    return folder
