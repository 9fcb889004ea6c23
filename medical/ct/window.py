"""Hounsfield units, and their mapping to eight bits: fixed windows, and the published scaling per slice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from core.errors import ConfigError, DataError

AIR = -1024.0
"""Hounsfield units that padding outside the field of view is set to."""


@dataclass(frozen=True)
class Window:
    """A display window: ``level`` (its centre) and ``width``, in Hounsfield units.

    >>> WINDOWS["lung"].low, WINDOWS["lung"].high
    (-1150.0, 350.0)
    """

    level: float
    width: float

    @property
    def low(self) -> float:
        """What becomes black."""
        return self.level - self.width / 2

    @property
    def high(self) -> float:
        """What becomes white."""
        return self.level + self.width / 2


WINDOWS = {
    "lung": Window(-400, 1500),
    "chest": Window(40, 400),
    "brain": Window(40, 80),
    "bone": Window(300, 1500),
    "abdomen": Window(60, 400),
    "angio": Window(300, 600),
}
PAPER = "per_slice_minmax"
"""Name of the published scaling, by each slice's own minimum and maximum."""


def window_named(name: str) -> Window:
    """The window of that name. Raises ConfigError naming those that exist."""
    if name not in WINDOWS:
        raise ConfigError("window", seen=name, expected=f"one of {', '.join([*WINDOWS, PAPER])}")
    return WINDOWS[name]


def hounsfield(raw: Any, slope: float, intercept: float) -> np.ndarray:
    """``slope * raw + intercept`` as float64, any shape.

    >>> hounsfield(np.array([0, 1024]), 1.0, -1024.0).tolist()
    [-1024.0, 0.0]
    """
    return np.asarray(raw).astype(np.float64) * float(slope) + float(intercept)


def published_hounsfield(raw: Any, slope: float, intercept: float) -> np.ndarray:
    """Hounsfield units as the published scripts compute them: raw -2000 becomes 0 first; cut to int16.

    Wolf et al., "Less is More", Comput. Biol. Med. 2024; the scripts for LIDC-IDRI.

    >>> published_hounsfield(np.array([-2000, 1000], dtype=np.int16), 1.0, -1024.0).tolist()
    [-1024, -24]
    """
    values = np.where(np.asarray(raw) == -2000, 0, raw)
    return (values.astype(np.float64) * float(slope) + float(intercept)).astype(np.int16)


def unit_window(hu: Any, window: Window) -> np.ndarray:
    """``clip((hu - low) / width, 0, 1)``, float64, any shape."""
    return np.clip((np.asarray(hu, dtype=np.float64) - window.low) / window.width, 0.0, 1.0)


def apply_window(hu: Any, window: Window) -> np.ndarray:
    """Eight-bit grey values ``rint(255 * unit_window(hu))``, halves to even, uint8, any shape.

    >>> apply_window(np.array([-2000.0, 40.0, 3000.0]), WINDOWS["chest"]).tolist()
    [0, 128, 255]
    """
    return np.rint(255.0 * unit_window(hu, window)).astype(np.uint8)


def minmax_255(hu: Any, epsilon: float = 0.0) -> np.ndarray:
    """One slice scaled to [0, 255] by its own minimum and maximum, float64.

    One metal voxel darkens the whole slice, and equal tissue differs between slices: see the windows.

    Args:
        hu: (H, W).
        epsilon: added to the range; the published script for PET-CT has 1e-5, that for LIDC-IDRI 0.

    Raises:
        DataError: a constant slice without epsilon (the published script divides by zero there).

    >>> minmax_255(np.array([[-1000.0, 0.0], [0.0, 1000.0]])).tolist()
    [[0.0, 127.5], [127.5, 255.0]]
    """
    values = np.asarray(hu, dtype=np.float64)
    low, high = float(values.min()), float(values.max())
    if high == low and epsilon == 0:
        raise DataError("the slice is constant", seen=low, expected="two different values")
    return (values - low) / (high - low + epsilon) * 255.0


def to_bytes(hu: Any, window: str) -> np.ndarray:
    """Eight-bit grey values of one slice (H, W) under a window by name, or `PAPER`.

    >>> to_bytes(np.array([[-1000.0, 1000.0]]), "per_slice_minmax").tolist()
    [[0, 255]]
    """
    if window == PAPER:
        return minmax_255(hu).astype(np.uint8)
    return apply_window(hu, window_named(window))
