"""Numbers of a scene as the bytes that a network reads, by statistics that travel with the model under a name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from core.errors import DataError

_L1C: dict[str, tuple[float, ...]] = {
    "mean": (1605.57504906, 1390.78157673, 1314.8729939, 1363.52445545, 1549.44374991, 2091.74883118, 2371.7172463,
             2299.90463006, 2560.29504086, 830.06605044, 22.10351321, 2177.07172323, 1524.06546312),
    "std": (786.78685367, 850.34818441, 875.06484736, 1138.84957046, 1122.17775652, 1161.59187054, 1274.39184232,
            1248.42891965, 1345.52684884, 577.31607053, 51.15431158, 1336.09932639, 1136.53823676),
}  # fmt: skip
_L2A: dict[str, tuple[float, ...]] = {
    "mean": (752.40087073, 884.29673756, 1144.16202635, 1297.47289228, 1624.90992062, 2194.6423161, 2422.21248945,
             2517.76053101, 2581.64687018, 2645.51888987, 2368.51236873, 1805.06846033),
    "std": (1108.02887453, 1155.15170768, 1183.6292542, 1368.11351514, 1370.265037, 1355.55390699, 1416.51487101,
            1474.78900051, 1439.3086061, 1582.28010962, 1455.52084939, 1343.48379601),
}  # fmt: skip
STATISTICS: dict[str, dict[str, tuple[float, ...]]] = {
    "ssl4eo_50k/s2_l1c": _L1C,
    "ssl4eo_50k/s2_l2a": _L2A,
    "ssl4eo_50k/s1": {"mean": (-12.54847273, -20.19237134), "std": (5.25697717, 5.91150917)},
    "ssl4eo_full/s2_l1c": {
        "mean": (1612.9, 1397.6, 1322.3, 1373.1, 1561.0, 2108.4, 2390.7, 2318.7, 2581.0, 837.7, 22.0, 2195.2, 1537.4),
        "std": (791.0, 854.3, 878.7, 1144.9, 1127.5, 1164.2, 1276.0, 1249.5, 1345.9, 577.5, 47.5, 1340.0, 1142.9),
    },
    "ssl4eo_full/s1": {"mean": (-12.59, -20.26), "std": (5.26, 5.91)},
    "eight_bit/rgb": {"mean": (127.5, 127.5, 127.5), "std": (63.75, 63.75, 63.75)},
}  # fmt: skip
"""Means and standard deviations a band, by ``source/sensor``; two sources for SSL4EO-S12 are kept apart."""


@dataclass(frozen=True)
class Normalisation:
    """clip((x - (mean - 2 std)) / (4 std) * 255, 0, 255), cut to a byte: 0 and 255 lie two deviations out.

    SSL4EO-S12 (Wang et al. 2023), as its own code does it. The published division by 10,000 is cast to a byte
    without clipping there, so that bright clouds wrap round to black; nothing wraps here.

    Attributes:
        name: of the statistics, kept in the model. bands: in order. mean, std: one a band, in the input's unit.

    >>> n = Normalisation("x", ("VV",), (-10.0,), (5.0,))
    >>> n(np.array([[[-20.0, -10.0, 0.0, 99.0]]])).tolist()
    [[[0, 127, 255, 255]]]
    """

    name: str
    bands: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if not len(self.bands) == len(self.mean) == len(self.std) or min(self.std, default=1) <= 0:
            raise DataError(
                f"statistics {self.name}",
                seen=(len(self.bands), len(self.mean), len(self.std)),
                expected="one mean and one deviation > 0 a band",
            )

    def __call__(self, x: np.ndarray, valid: np.ndarray | None = None) -> np.ndarray:
        """(..., C, H, W) in the sensor's unit -> uint8 of that shape; what is not valid becomes the mean.

        Args:
            x: numbers; NaN is read as not valid.
            valid: (..., H, W) or (..., C, H, W) bool.
        """
        if x.shape[-3] != len(self.bands):
            raise DataError(
                "bands to normalise", seen=x.shape[-3], expected=f"{len(self.bands)}: {', '.join(self.bands)}"
            )
        mean = np.asarray(self.mean, dtype=np.float64)[:, None, None]
        std = np.asarray(self.std, dtype=np.float64)[:, None, None]
        # double precision: at the edge between two bytes the published numbers were rounded so
        scaled = (x - (mean - 2 * std)) / (4 * std) * 255
        good = np.isfinite(scaled)
        if valid is not None:
            good &= valid if valid.ndim == x.ndim else np.expand_dims(valid, -3)
        return np.where(good, np.clip(scaled, 0, 255), 127.0).astype(np.uint8)

    def to_json(self) -> dict[str, Any]:
        """As it is kept beside the weights."""
        return asdict(self)

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Normalisation:
        """The inverse of `to_json`."""
        return cls(raw["name"], tuple(raw["bands"]), tuple(raw["mean"]), tuple(raw["std"]))


def named_statistics(name: str, bands: Sequence[str]) -> Normalisation:
    """One of `STATISTICS`. Raises DataError for an unknown name, or a number of bands that is not its own."""
    if name not in STATISTICS:
        raise DataError("statistics", seen=name, expected=f"one of {', '.join(sorted(STATISTICS))}, or data")
    found = STATISTICS[name]
    return Normalisation(name, tuple(bands), found["mean"], found["std"])


class Moments:
    """Mean and deviation a band, added up scene by scene over valid pixels.

    >>> m = Moments(1)
    >>> m.add(np.array([[[1.0, 3.0]]]))
    >>> m.statistics("own", ["B"]).mean
    (2.0,)
    """

    def __init__(self, bands: int) -> None:
        self.count = np.zeros(bands)
        self.total = np.zeros(bands)
        self.square = np.zeros(bands)

    def add(self, x: np.ndarray, valid: np.ndarray | None = None) -> None:
        """Add (C, H, W) numbers; ``valid`` is (H, W) or (C, H, W)."""
        good = np.isfinite(x)
        if valid is not None:
            good &= valid
        kept = np.where(good, x, 0).astype(np.float64)
        self.count += good.sum((1, 2))
        self.total += kept.sum((1, 2))
        self.square += (kept**2).sum((1, 2))

    def statistics(self, name: str, bands: Sequence[str]) -> Normalisation:
        """What was added up, as a `Normalisation`; a constant band gets deviation 1."""
        if self.count.min() == 0:
            raise DataError("statistics of the data", seen="a band without a valid pixel")
        mean = self.total / self.count
        std = np.sqrt(np.maximum(self.square / self.count - mean**2, 0))
        return Normalisation(
            name, tuple(bands), tuple(mean.tolist()), tuple(np.where(std > 1e-6, std, 1.0).tolist())
        )
