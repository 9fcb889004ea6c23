"""What can be wrong with a raster: its geometry, its pixels, and how it lies beside its partners."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from core.config import Settings
from earth_observation.bands import Sensor
from earth_observation.data.opened import Grid, RasterError


class Limits(Settings):
    """Thresholds of the checks; none of them is published, all are starting points."""

    zero_share: float = 0.3
    cloud_share: float = 0.4
    shift_pixels: float = 1.0
    shift_surety: float = 0.15
    gsd_ratio: float = 1.2
    stripe_ratio: float = 6.0


@dataclass(frozen=True)
class Note:
    """Something worth knowing about a raster that stays: a short word and a sentence."""

    kind: str
    text: str


def check_geometry(grid: Grid, sensor: Sensor, limits: Limits, *, where: str) -> Iterator[Note]:
    """Refuse grids that a map cannot be made on; note a resolution that is not the sensor's.

    Raises:
        RasterError: kind "crs" (none, or degrees) or "transform" (rotated, south-up, pixels not square).
    """
    t = grid.transform
    if grid.crs is None:
        raise RasterError(
            "crs", f"{where}: no coordinate system", seen=None, expected="a projected one",
            remedy="set it with gdal_edit -a_srs, or set data.georeferenced to false for plain pictures",
        )  # fmt: skip
    if grid.crs.is_geographic:
        raise RasterError(
            "crs", f"{where}: coordinates in degrees", seen=str(grid.crs), expected="metres",
            remedy="warp it to UTM (gdalwarp -t_srs EPSG:326xx -tr 10 10)",
        )  # fmt: skip
    if t.b != 0 or t.d != 0:
        raise RasterError(
            "transform", f"{where}: rotated grid", seen=tuple(t)[:6], remedy="gdalwarp it north-up"
        )
    if t.e > 0 or t.a < 0:
        raise RasterError(
            "transform", f"{where}: south-up grid", seen=tuple(t)[:6], remedy="gdalwarp it north-up"
        )
    if abs(abs(t.a) - abs(t.e)) > 1e-3 * abs(t.a):
        raise RasterError(
            "transform", f"{where}: pixels are not square", seen=(t.a, t.e), remedy="gdalwarp it with -tr"
        )
    if sensor.unit != "raw":
        ratio = max(t.a / sensor.gsd, sensor.gsd / t.a)
        if ratio > limits.gsd_ratio:
            yield Note(
                "gsd",
                f"{t.a:g} m a pixel; the statistics and models of {sensor.name} are for {sensor.gsd:g} m",
            )


def check_band(band: np.ndarray, nodata: object, limits: Limits, *, where: str) -> Iterator[Note]:
    """Look at one band as stored.

    Raises:
        RasterError: kind "constant" (nothing but one number), "not_finite" (undeclared NaN or infinity), or
            "nodata" (more exact zeros than ``zero_share`` without a declared nodata).
    """
    if band.dtype.kind == "f":
        bad = ~np.isfinite(band)
        declared = isinstance(nodata, float) and np.isnan(nodata)
        if bad.any() and not declared:
            raise RasterError(
                "not_finite", f"{where}: NaN or infinity", seen=f"{bad.mean():.1%} of the pixels",
                expected="numbers, or NaN declared as nodata", remedy="set the file's nodata to NaN",
            )  # fmt: skip
        band = band[~bad] if bad.any() else band
    if band.size == 0 or band.min() == band.max():
        value = band.flat[0] if band.size else None
        raise RasterError("constant", f"{where}: every pixel is {value}", remedy="leave the scene out")
    if nodata is None and (share := float((band == 0).mean())) > limits.zero_share:
        raise RasterError(
            "nodata", f"{where}: {share:.0%} of the pixels are exactly 0", expected="nodata declared in the file",
            remedy="set nodata to 0 (gdal_edit -a_nodata 0)",
        )  # fmt: skip
    if nodata is not None and nodata != 0:
        return
    if band.ndim == 2 and min(band.shape) >= 32:
        yield from (
            Note("stripes", f"{where}: {word} jump beside their neighbours")
            for word in _striped(band, limits)
        )


def _striped(band: np.ndarray, limits: Limits) -> list[str]:
    """The directions in which lines stick out beyond both their neighbours: many of them, or a few very far."""
    found = []
    level = 0.1 * float(np.abs(band).mean()) + 1e-9
    means = {"rows": band.mean(axis=1, dtype=np.float64), "columns": band.mean(axis=0, dtype=np.float64)}
    out = {word: _sticking_out(line) for word, line in means.items()}
    for word, other in (("rows", "columns"), ("columns", "rows")):
        usual, across = float(np.median(out[word])), float(np.median(out[other]))
        regular = usual > limits.stripe_ratio * across and usual > level
        if regular or bool((out[word] > limits.stripe_ratio * usual + 3 * level).any()):
            found.append(word)
    return found


def _sticking_out(means: np.ndarray) -> np.ndarray:
    """How far each line lies above or below both its neighbours; 0 on a slope or at the edge of a field."""
    left, right = means[1:-1] - means[:-2], means[1:-1] - means[2:]
    return np.where(left * right > 0, np.minimum(np.abs(left), np.abs(right)), 0.0)


def cloud_share(x: np.ndarray, valid: np.ndarray, sensor: Sensor) -> float:
    """Share of the valid pixels that are bright and white in blue, green and red (reflectance x 10,000).

    A screen for scenes that want a cloud mask, not a cloud mask: snow and bright roofs count too.
    """
    if sensor.unit != "dn" or not valid.any():
        return 0.0
    visible = x[[sensor.index(band) for band in ("B2", "B3", "B4")]][:, valid]
    bright = visible.mean(axis=0) > 2800
    white = visible.std(axis=0) < 0.12 * visible.mean(axis=0)
    return float((bright & white).mean())


def check_aligned(grid: Grid, reference: Grid, *, where: str) -> None:
    """Refuse a partner (radar, labels) on another system, or on a grid that is shifted against the reference.

    Raises:
        RasterError: kind "crs" or "grid", with the remedy.
    """
    remedy = "set data.align to warp, or warp the file onto the scene's grid"
    if grid.crs is None or grid.crs != reference.crs:
        raise RasterError(
            "crs", f"{where}: system", seen=str(grid.crs), expected=str(reference.crs), remedy=remedy
        )
    a, b = grid.transform, reference.transform
    pixel = min(abs(a.a), abs(b.a))
    parts = [((a.c - b.c) / pixel) % 1, ((a.f - b.f) / pixel) % 1]
    if max(min(part, 1 - part) for part in parts) > 0.01:
        raise RasterError(
            "grid", f"{where}: origin is off by part of a pixel", seen=[round(part, 3) for part in parts],
            expected="a whole number of pixels", remedy=remedy,
        )  # fmt: skip
    off = max(abs(x - y) for x, y in zip(grid.bounds, reference.bounds))
    if off > 1e-3 * pixel:
        raise RasterError(
            "grid", f"{where}: extent is off by {off / pixel:.1f} pixels", seen=(grid.height, grid.width),
            expected=f"({reference.height}, {reference.width}) over the same ground", remedy=remedy,
        )  # fmt: skip


def estimated_shift(a: np.ndarray, b: np.ndarray) -> tuple[float, float, float]:
    """(rows, columns) by which ``b`` lies off ``a``, by phase correlation of their gradients, and how sure (0..1).

    Args:
        a, b: (H, W) of one size: any two pictures of the same ground, optical and radar too.

    >>> x = np.random.default_rng(0).normal(size=(32, 32)).cumsum(0).cumsum(1)
    >>> estimated_shift(x, np.roll(x, 2, axis=0))[:2]
    (2.0, 0.0)
    """
    window = np.hanning(a.shape[0])[:, None] * np.hanning(a.shape[1])[None, :]

    def spectrum(x: np.ndarray) -> np.ndarray:
        down, right = np.gradient(x.astype(np.float64))
        edges = np.hypot(down, right)
        return np.fft.fft2((edges - edges.mean()) * window)

    cross = np.conj(spectrum(a)) * spectrum(b)
    peaks = np.fft.ifft2(cross / np.maximum(np.abs(cross), 1e-12)).real
    place = np.unravel_index(int(peaks.argmax()), peaks.shape)
    shift = [int(p) if p <= n // 2 else int(p) - n for p, n in zip(place, peaks.shape)]
    return float(shift[0]), float(shift[1]), float(peaks.max())
