"""Which unit the numbers of a scene are in, and how to bring them into the sensor's own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.errors import ConfigError
from earth_observation.bands import Sensor
from earth_observation.data.opened import RasterError

OFFSET = 1000
"""What processing baseline 04.00 of Sentinel-2 (25 January 2022 and later) adds to every number."""
OFFSET_FLOOR = 950
_BASELINE = re.compile(r"(?:^|[_/\\.])N(\d{4})(?=[_/\\.]|$)")
FITTING = {"dn": ("dn", "dn_offset", "reflectance"), "db": ("db", "power", "amplitude"), "raw": ("raw",)}
"""The scales that can be brought into each unit of a sensor; the first is the unit itself."""
RULES = ("auto", *(rule for rules in FITTING.values() for rule in rules))


@dataclass(frozen=True)
class Scale:
    """How a scene's numbers become the sensor's unit; ``note`` says what was found out, "" where nothing odd."""

    rule: str
    note: str = ""

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """(C, h, w) float32 in the sensor's unit. 0 stays 0 for Sentinel-2, where it means "no data"."""
        if self.rule == "dn_offset":
            return np.where(x == 0, 0, np.maximum(x - OFFSET, 0)).astype(np.float32)
        if self.rule == "reflectance":
            return (x * 10_000).astype(np.float32)
        if self.rule in ("power", "amplitude"):
            factor = 10 if self.rule == "power" else 20
            with np.errstate(divide="ignore", invalid="ignore"):
                return np.where(x > 0, factor * np.log10(x), np.nan).astype(np.float32)
        return x.astype(np.float32, copy=False)


def choose_scale(
    x: np.ndarray, valid: np.ndarray, sensor: Sensor, rule: str, *, where: str, paths: Sequence[str] = ()
) -> Scale:
    """The scale of a scene by a rule of the settings; "auto" looks at the numbers and at the product's name.

    Args:
        x: (C, h, w) as stored; valid: (h, w). rule: one of `RULES`.
        where: named in messages. paths: searched for the processing baseline (N0400 and later).

    Raises:
        ConfigError: as `check_rule`.
        RasterError: kind "scale": numbers that cannot be in a unit of this sensor, with what they look like.
    """
    check_rule(rule, sensor, where=f"scale of {where}")
    if rule != "auto":
        return Scale(rule)
    if sensor.unit == "raw":
        return Scale("raw")
    seen = x[:, valid]
    if seen.size == 0:
        return Scale(sensor.unit)
    return _optical(seen, sensor, where, paths) if sensor.unit == "dn" else _radar(seen, sensor, where)


def check_rule(rule: str, sensor: Sensor, *, where: str) -> None:
    """Refuse a rule that does not lead to the sensor's unit: the numbers would pass unchanged, or worse.

    Raises:
        ConfigError: no rule of `RULES`, or one of another kind of sensor; named by ``where``.
    """
    fitting = ("auto", *FITTING[sensor.unit])
    if rule not in fitting:
        raise ConfigError(
            where, seen=rule, expected=f"one of {', '.join(fitting)}, for sensor {sensor.name}",
            remedy="give the unit that the file is in (--scale, data.scale), or auto",
        )  # fmt: skip


def baseline_of(paths: Sequence[str]) -> int | None:
    """The processing baseline that a Sentinel-2 product's name states, as a number.

    >>> baseline_of(["a/S2A_MSIL1C_20220301T100000_N0400_R022_T32UQD_20220301T120000.SAFE/B02.jp2"])
    400
    """
    found = [int(match) for path in paths for match in _BASELINE.findall(path)]
    return max(found) if found else None


def _optical(seen: np.ndarray, sensor: Sensor, where: str, paths: Sequence[str]) -> Scale:
    high, middle = float(seen.max()), float(np.median(seen))
    if seen.min() < 0:
        raise RasterError(
            "scale", f"{where}: negative numbers", seen=float(seen.min()), expected="reflectance x 10,000, from 0 up",
            remedy="if these are floating surface reflectances, clip them and set data.scale to reflectance",
        )  # fmt: skip
    if high <= 1.5:
        return Scale("reflectance", f"largest value {high:.3g}: read as reflectance of 0 to 1, times 10,000")
    if high <= 255:
        raise RasterError(
            "scale", f"{where}: numbers from 0 to 255", seen=high, expected="reflectance x 10,000",
            remedy="this is an 8-bit picture (TCI): use the band files, or sensor rgb",
        )  # fmt: skip
    if middle > 10_000 or (seen > 10_000).mean() > 0.2:
        raise RasterError(
            "scale", f"{where}: too bright", seen=f"median {middle:.0f}", expected="most numbers below 10,000",
            remedy="scaled twice? divide by what was multiplied, or mask the clouds",
        )  # fmt: skip
    floors = [float(np.percentile(band[band > 0], 1)) if (band > 0).any() else 0.0 for band in seen]
    shifted = min(floors) >= OFFSET_FLOOR
    baseline = baseline_of(paths)
    if baseline is not None and baseline >= 400 and not shifted and min(floors) < 0.9 * OFFSET_FLOOR:
        return Scale(
            "dn", f"baseline {baseline:04d}, but numbers go down to {min(floors):.0f}: already without offset"
        )
    if shifted or (baseline is not None and baseline >= 400):
        why = f"baseline {baseline:04d}" if baseline else f"every band starts at {min(floors):.0f} or higher"
        return Scale("dn_offset", f"{why}: the offset of {OFFSET} is taken off")
    return Scale("dn")


def _radar(seen: np.ndarray, sensor: Sensor, where: str) -> Scale:
    if seen.min() >= 0 and seen.max() > 0:
        raise RasterError(
            "scale", f"{where}: radar without a negative number", seen=f"{seen.min():.3g} to {seen.max():.3g}",
            expected="decibel, about -35 to 5",
            remedy="linear backscatter? set data.scale to power (10 log10) or amplitude (20 log10)",
        )  # fmt: skip
    middles = np.median(seen, axis=1)
    if middles.min() < -60 or middles.max() > 15:
        raise RasterError(
            "scale", f"{where}: medians", seen=middles.round(1).tolist(), expected="-60 to 15 dB"
        )
    return Scale("db")
