"""What the bands of a product are called, at which resolution they come, and how far they spread.

Everything that reads, normalises or serves names its bands by the tables here; order is never guessed from
a count where names are at hand.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from core.errors import DataError

S2_BANDS = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12")
S2_RESOLUTION = {
    **dict.fromkeys(("B2", "B3", "B4", "B8"), 10),
    **dict.fromkeys(("B5", "B6", "B7", "B8A", "B11", "B12"), 20),
    **dict.fromkeys(("B1", "B9", "B10"), 60),
}
S1_BANDS = ("VV", "VH")
RGB_COPY = {"B4": 0, "B3": 1, "B2": 2, "R": 0, "G": 1, "B": 2}
"""Channel of an RGB network that a band takes its first-layer weights from."""


@dataclass(frozen=True)
class Sensor:
    """One product: its bands in the order of all models, and metres a pixel of each.

    ``unit`` is ``dn`` (reflectance x 10,000), ``db`` (radar backscatter in decibel) or ``raw`` (as stored).
    """

    name: str
    bands: tuple[str, ...]
    unit: str
    resolution: tuple[float, ...]

    @property
    def gsd(self) -> float:
        """Metres a pixel of the finest band, onto whose grid all others are resampled."""
        return min(self.resolution)

    def copy_map(self) -> dict[int, int]:
        """Band index -> RGB channel, for first layers that copy red, green and blue.

        >>> SENSORS["s2_l1c"].copy_map()
        {1: 2, 2: 1, 3: 0}
        """
        return {i: RGB_COPY[band] for i, band in enumerate(self.bands) if band in RGB_COPY}

    def index(self, band: str) -> int:
        """Position of a band; raises DataError for one that the sensor does not have."""
        try:
            return self.bands.index(band)
        except ValueError:
            raise DataError(f"band of {self.name}", seen=band, expected=f"one of {self.bands}") from None


def _s2(name: str, bands: Sequence[str]) -> Sensor:
    return Sensor(name, tuple(bands), "dn", tuple(float(S2_RESOLUTION[band]) for band in bands))


SENSORS = {
    "s2_l1c": _s2("s2_l1c", S2_BANDS),
    "s2_l2a": _s2("s2_l2a", [band for band in S2_BANDS if band != "B10"]),
    "s1": Sensor("s1", S1_BANDS, "db", (10.0, 10.0)),
    "rgb": Sensor("rgb", ("R", "G", "B"), "raw", (10.0, 10.0, 10.0)),
}
"""Products by name: Sentinel-2 L1C (13 bands) and L2A (12, no B10), Sentinel-1 GRD, 8-bit colour."""


def own_sensor(bands: Sequence[str], gsd: float) -> Sensor:
    """A product of any named bands on one grid of ``gsd`` metres, read as stored.

    >>> own_sensor(["blue", "nir"], 30.0).bands
    ('blue', 'nir')
    """
    if not bands or len(set(bands)) != len(bands):
        raise DataError("bands", seen=list(bands), expected="one or more different names")
    return Sensor("own", tuple(bands), "raw", (float(gsd),) * len(bands))


_ALIAS = re.compile(r"^B?0*(\d{1,2})(A?)$", re.IGNORECASE)
_WORDS = {
    "COASTAL": "B1", "BLUE": "B2", "GREEN": "B3", "RED": "B4", "REDEDGE1": "B5", "REDEDGE2": "B6", "REDEDGE3": "B7",
    "NIR": "B8", "NIR08": "B8A", "NARROWNIR": "B8A", "NIR09": "B9", "WATERVAPOR": "B9", "CIRRUS": "B10",
    "SWIR16": "B11", "SWIR1": "B11", "SWIR22": "B12", "SWIR2": "B12",
}  # fmt: skip


def band_name(text: str, sensor: Sensor) -> str | None:
    """The sensor's own name for what a file or a description calls a band; None for what is no band of it.

    Sentinel-2 is also written B02, 02, B2_10m, blue, band2, and radar vv or Sigma0_VV_db.

    >>> [band_name(t, SENSORS["s2_l1c"]) for t in ("B02", "b8a", "B8A_20m", "swir16", "TCI")]
    ['B2', 'B8A', 'B8A', 'B11', None]
    >>> band_name("Sigma0_VH_db", SENSORS["s1"])
    'VH'
    """
    exact = {band.upper(): band for band in sensor.bands}
    word = text.strip().upper()
    if word in exact:
        return exact[word]
    if sensor.name == "s1":
        found = [band for band in sensor.bands if band in re.split(r"[^A-Z]+", word)]
        return found[0] if len(found) == 1 else None
    if not sensor.name.startswith("s2"):
        return None
    word = re.sub(r"[_-]?(10|20|60)M$", "", word)
    word = re.sub(r"^BAND[ _-]?", "B", word)
    match = _ALIAS.match(word)
    name = f"B{int(match[1])}{match[2].upper()}" if match else _WORDS.get(word.replace("_", ""))
    return name if name in sensor.bands else None


def band_of_file(stem: str, sensor: Sensor) -> str | None:
    """The band that a file of one band holds, by the last part of its name that names one.

    >>> band_of_file("T31TFJ_20200718T102559_B8A_20m", SENSORS["s2_l1c"])
    'B8A'
    """
    whole = band_name(stem, sensor)
    if whole:
        return whole
    parts = re.split(r"[_.\s-]+", stem)
    if parts[-1] in sensor.bands:
        return parts[-1]
    if re.fullmatch(r"(10|20|60)m", parts[-1], re.IGNORECASE):
        parts = parts[:-1] or parts
    return band_name(parts[-1], sensor) if re.search("[A-Za-z]", parts[-1]) else None


FILLABLE = {"s2_l1c": ("B10",)}
"""Bands without which a scene can still be read for a trained model: L2A products have no cirrus band."""


def order_by_name(found: Sequence[str], sensor: Sensor, *, where: str, fill: bool = False) -> list[int]:
    """For each band of the sensor, its position among ``found`` names; -1 for a band that is to be filled.

    Args:
        fill: let B10 alone be missing where a 13-band model reads a 12-band product; see `filled_note`.

    Raises:
        DataError: a band is missing or given twice; says what to do, B10 of L2A products included.

    >>> order_by_name([band for band in S2_BANDS if band != "B10"], SENSORS["s2_l1c"], where="x", fill=True)[9:]
    [9, -1, 10, 11]
    """
    names = [band_name(text, sensor) for text in found]
    twice = sorted({name for name in names if name is not None and names.count(name) > 1})
    missing = [band for band in sensor.bands if band not in names]
    if twice:
        raise DataError(f"{where}: bands given twice", seen=twice, expected="each band once")
    if missing and not (fill and tuple(missing) == FILLABLE.get(sensor.name)):
        remedy = "add the files of these bands, or name the bands in the GeoTIFF's descriptions"
        if missing == ["B10"]:
            remedy = "this looks like an L2A product, which has no B10: use sensor s2_l2a"
        raise DataError(
            f"{where}: missing band(s) {', '.join(missing)}",
            seen=list(found),
            expected=f"{', '.join(sensor.bands)} ({sensor.name})",
            remedy=remedy,
        )
    return [names.index(band) if band in names else -1 for band in sensor.bands]


def filled_note(bands: Sequence[str]) -> str:
    """What is said wherever `order_by_name` let bands be missing.

    As the authors of SSL4EO-S12 do, they are 0 after normalisation.

    >>> filled_note(["B10"])[:20]
    'B10 is missing (an L'
    """
    return (
        f"{', '.join(bands)} is missing (an L2A product?) and is read as 0 after normalisation: the model was trained "
        "on L1C with this band, so that the scene lies outside of what it knows, and accuracy may drop"
    )
