"""Generated Sentinel places in SSL4EO-S12's own layout: land cover, four seasons, haze, clouds, radar speckle.

What makes them hard on purpose: every date has its own illumination, haze and colour cast, which move all bands
by more than most classes differ; vegetation changes with the season; classes share spectra and differ in texture;
the free land-cover product mixes up similar classes and is masked under cloud.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from core.files import atomic_directory, write_json
from core.learning.determinism import generator
from earth_observation.bands import S1_BANDS, S2_BANDS, S2_RESOLUTION
from earth_observation.labels import DYNAMIC_WORLD, NODATA

DATES = ("20200115T103021", "20200418T103021", "20200718T103021", "20201020T103021")
_WAVELENGTH = np.array([0.44, 0.49, 0.56, 0.665, 0.705, 0.74, 0.783, 0.842, 0.865, 0.945, 1.375, 1.61, 2.19])
_AIR = np.array([*[1.0] * 9, 0.35, 0.006, 1.0, 1.0])
"""What the air lets through: little where water vapour absorbs, next to nothing in the cirrus band."""
_SOIL = _AIR * np.interp(_WAVELENGTH, [0.4, 1.0, 1.7, 2.3], [900, 2300, 3200, 2700])
_LEAF = np.array([350, 420, 750, 480, 1100, 2500, 3100, 3300, 3500, 1200, 15, 1900, 950.0])
_SPECTRA = {
    "water": np.array([900, 760, 600, 420, 380, 330, 320, 300, 290, 150, 10, 180, 120.0]),
    "snow and ice": np.array([7800, 7900, 7900, 7800, 7700, 7500, 7300, 7000, 6700, 2200, 90, 900, 700.0]),
    "built": _AIR * np.interp(_WAVELENGTH, [0.4, 0.7, 1.0, 1.7, 2.3], [1300, 1900, 2300, 2600, 2500]),
    "bare": _SOIL,
}
# share of green leaves in winter, spring, summer, autumn
_GREEN = {
    "trees": (0.45, 0.75, 0.95, 0.7), "grass": (0.3, 0.8, 0.75, 0.5), "flooded vegetation": (0.3, 0.5, 0.7, 0.5),
    "crops": (0.15, 0.6, 0.9, 0.1), "shrub and scrub": (0.35, 0.55, 0.5, 0.45),
}  # fmt: skip
_RADAR = {
    "water": (-22, -29), "trees": (-8.5, -13.5), "grass": (-12.5, -19), "flooded vegetation": (-7, -17),
    "crops": (-11, -17.5), "shrub and scrub": (-11, -16.5), "built": (-4, -13), "bare": (-14, -22),
    "snow and ice": (-15, -21),
}  # fmt: skip
_BIOMES = (
    ("water", "trees", "grass", "shrub and scrub"),
    ("crops", "grass", "built", "trees"),
    ("crops", "trees", "water", "built"),
    ("bare", "shrub and scrub", "grass", "built"),
    ("water", "flooded vegetation", "crops", "grass"),
    ("snow and ice", "bare", "trees", "grass"),
    ("trees", "shrub and scrub", "flooded vegetation", "bare"),
)
_CONFUSED = {
    "grass": "crops", "crops": "grass", "shrub and scrub": "grass", "trees": "shrub and scrub", "bare": "built",
    "flooded vegetation": "water", "built": "bare",
}  # fmt: skip
_NUMBER = {name: k for k, name in enumerate(DYNAMIC_WORLD.names)}


def write_demo(
    folder: str | os.PathLike[str],
    *,
    places: int = 40,
    side: int = 96,
    seasons: int = 4,
    nuisance: float = 1.0,
    label_noise: float = 0.15,
    seed: int = 0,
) -> Path:
    """Write a generated copy of SSL4EO-S12: ``s2c``, ``s1``, ``dw``, ``reference`` and ``ssl4eo_multilabel.json``.

    Args:
        places: locations, each with ``seasons`` dates. side: pixels of 10 m, a multiple of 6.
        nuisance: 0 for clean dates; 1 for strong casts of illumination, haze and colour.
        label_noise: share of the patches of the free product that carry a similar class.

    Returns:
        The folder, replaced whole. Equal arguments give equal files.
    """
    target = Path(folder)
    with atomic_directory(target) as home:
        sets: dict[str, dict[str, list[str]]] = {}
        for number in range(places):
            location = f"{3 * number + 2:07d}"  # ids have gaps, as the real ones do
            rng = generator(seed, "place", number)
            sets[location] = _write_place(home, location, rng, number, side, seasons, nuisance, label_noise)
        write_json(home / "ssl4eo_multilabel.json", sets)
    return target


def _write_place(
    home: Path,
    location: str,
    rng: Any,
    number: int,
    side: int,
    seasons: int,
    nuisance: float,
    label_noise: float,
) -> dict[str, list[str]]:
    cover = draw_cover(rng, side, _BIOMES[number % len(_BIOMES)])
    texture = _textures(rng, side, cover)
    left, top = 500_000 + 10_000.0 * number, 5_000_000.0
    found = {}
    for season in range(seasons):
        if season == seasons - 1 and number % 2:
            cover = change_cover(rng, cover)
        bands, clouds = draw_optical(rng, cover, texture, season, nuisance)
        scene = f"{DATES[season % 4]}_{DATES[season % 4]}_T31TFJ"
        truth = home / "reference" / location / f"{scene}.tif"
        _write(truth, cover.astype(np.uint8), left, top, 10, nodata=NODATA)
        for index, band in enumerate(S2_BANDS):
            step = S2_RESOLUTION[band] // 10
            coarse = bands[index].reshape(side // step, step, side // step, step).mean((1, 3))
            data = coarse.round().astype(np.uint16)
            _write(home / "s2c" / location / scene / f"{band}.tif", data, left, top, 10 * step, nodata=0)
        radar = draw_radar(rng, cover, texture, season)
        product = f"S1A_IW_GRDH_1SDV_{DATES[season % 4]}_{number:06d}"
        for index, band in enumerate(S1_BANDS):
            _write(
                home / "s1" / location / product / f"{band}.tif",
                radar[index].astype(np.float32),
                left,
                top,
                10,
            )
        product_map = draw_product(rng, cover, clouds, label_noise)
        if (product_map == NODATA).mean() <= 0.35:
            _write(home / "dw" / location / f"{scene}.tif", product_map, left, top, 10, nodata=NODATA)
        else:
            product_map[:] = NODATA  # the product does not exist for cloudy dates
        found[scene] = [str(int(k)) for k in np.unique(product_map) if k != NODATA]
    return found


def draw_cover(rng: Any, side: int, classes: tuple[str, ...]) -> np.ndarray:
    """A land-cover map (side, side) of a few classes: smooth regions, fields and settlements with edges."""
    fields = np.stack([smooth(rng, side, side / 7) for _ in classes])
    fields += rng.normal(0, 0.9, (len(classes), 1, 1))  # most places are mainly of one or two classes
    cover = np.array([_NUMBER[name] for name in classes])[fields.argmax(0)]
    cell = 6
    rows, columns = np.indices((side, side)) // cell
    parcels = rows * (side // cell + 1) + columns
    for name in ("crops", "built"):  # straight edges where people made them
        if name in classes:
            inside = np.bincount(parcels.ravel(), (cover == _NUMBER[name]).ravel())
            share = inside / np.maximum(np.bincount(parcels.ravel()), 1)
            cover = np.where((share > 0.5)[parcels], _NUMBER[name], cover)
    return cover


def change_cover(rng: Any, cover: np.ndarray) -> np.ndarray:
    """The same place after a change: one patch of it was built over, cleared or flooded."""
    side = len(cover)
    extent = side // 4
    row, column = rng.integers(0, side - extent, 2)
    patch = np.zeros_like(cover, dtype=bool)
    patch[row : row + extent, column : column + extent] = True
    new = _NUMBER[("built", "bare", "water")[int(rng.integers(3))]]
    return np.where(patch & (cover != _NUMBER["water"]), new, cover)


def draw_optical(
    rng: Any, cover: np.ndarray, texture: dict[str, np.ndarray], season: int, nuisance: float
) -> tuple[np.ndarray, np.ndarray]:
    """(13, side, side) reflectance x 10,000 of one date, and (side, side) bool of its clouds."""
    side = len(cover)
    out = np.zeros((len(S2_BANDS), side, side))
    shade = 1 + 0.04 * rng.normal(size=(side, side))
    for name, k in _NUMBER.items():
        inside = cover == k
        if not inside.any():
            continue
        grain = texture[name][inside]
        if name in _GREEN:
            # parcels of crops have a calendar of their own
            green = np.clip(_GREEN[name][season % 4] + 0.25 * grain + 0.08 * rng.normal(), 0.02, 1)
            wet = 0.55 if name == "flooded vegetation" else 1.0
            base = wet * (green[None] * _LEAF[:, None] + (1 - green[None]) * 0.8 * _SOIL[:, None])
            gain = 1 - (0.35 if name == "trees" else 0.08) * np.abs(grain)
            out[:, inside] = base * gain
        else:
            strength = {"built": 0.45, "bare": 0.12, "water": 0.02, "snow and ice": 0.06}[name]
            out[:, inside] = _SPECTRA[name][:, None] * (1 + strength * grain)
    out *= shade
    tilt = np.linspace(-1, 1, len(S2_BANDS))[:, None, None]
    light = np.exp(nuisance * 0.25 * rng.normal()) * (0.85, 1.0, 1.1, 0.9)[season % 4]
    cast = np.exp(nuisance * (0.18 * rng.normal() * tilt + 0.12 * rng.normal(size=(len(S2_BANDS), 1, 1))))
    haze = nuisance * abs(rng.normal()) * 600 * np.exp(-(_WAVELENGTH - 0.44) / 0.25)[:, None, None]
    out = out * light * cast + haze
    clouds = np.zeros((side, side), dtype=bool)
    if rng.random() < 0.3:
        field = smooth(rng, side, side / 5)
        clouds = field > np.quantile(field, 1 - rng.uniform(0.05, 0.5))
        white = np.minimum(7000 * (1 - 0.25 * np.clip(_WAVELENGTH - 1, 0, None)), 7000)[:, None]
        out[:, clouds] = white + 300 * rng.normal(size=int(clouds.sum()))
    out += 25 * rng.normal(size=out.shape)
    return np.clip(out, 1, 15_000), clouds


def draw_radar(rng: Any, cover: np.ndarray, texture: dict[str, np.ndarray], season: int) -> np.ndarray:
    """(2, side, side) VV and VH in dB of one date, with speckle of five looks and a moisture of its own."""
    table = np.array([_RADAR[name] for name in DYNAMIC_WORLD.names], dtype=np.float64)
    level = table[cover].transpose(2, 0, 1)
    grain = sum(np.where(cover == k, texture[name], 0) for name, k in _NUMBER.items())
    built = cover == _NUMBER["built"]
    level = level + np.where(built, 5.0, 0.8) * grain
    wet = 1.5 * rng.normal() + (0.5, 0.8, -0.5, 0.2)[season % 4]
    crops = cover == _NUMBER["crops"]
    level = level + wet + np.where(crops, (-2, 0, 2, -2)[season % 4], 0)
    speckle = rng.gamma(5, 1 / 5, level.shape)
    return level + 10 * np.log10(speckle)


def draw_product(rng: Any, cover: np.ndarray, clouds: np.ndarray, noise: float) -> np.ndarray:
    """The free land-cover product of a date: patches of similar classes mixed up, masked under cloud."""
    field = smooth(rng, len(cover), 4.0)
    wrong = field > np.quantile(field, 1 - noise) if noise > 0 else np.zeros_like(clouds)
    mixed = cover.copy()
    for name, other in _CONFUSED.items():
        mixed[wrong & (cover == _NUMBER[name])] = _NUMBER[other]
    return np.where(clouds, NODATA, mixed).astype(np.uint8)


def smooth(rng: Any, side: int, scale: float) -> np.ndarray:
    """A random field (side, side) of unit spread, smooth over ``scale`` pixels."""
    from scipy.ndimage import gaussian_filter

    field = gaussian_filter(rng.normal(size=(side, side)), scale, mode="reflect")
    return (field - field.mean()) / max(float(field.std()), 1e-12)


def _textures(rng: Any, side: int, cover: np.ndarray) -> dict[str, np.ndarray]:
    """The grain of every class, which stays through the seasons: canopies, fields, roofs, dunes."""
    rows, columns = np.indices((side, side))
    fine = rng.normal(size=(side, side))
    parcel = 6
    fields = rng.uniform(-1, 1, (side // parcel + 1, side // parcel + 1))[rows // parcel, columns // parcel]
    roofs = rng.choice([-1.0, 1.0], (side // 2 + 1, side // 2 + 1))[rows // 2, columns // 2]
    angle = rng.uniform(0.4, 1.2)
    rows_of_crop = np.sin((rows * np.cos(angle) + columns * np.sin(angle)) * 2 * np.pi / 3)
    return {
        "water": smooth(rng, side, 3), "trees": np.clip(fine, -2, 2) / 2, "grass": 0.5 * smooth(rng, side, 5),
        "flooded vegetation": smooth(rng, side, 1.2), "crops": 0.8 * fields + 0.4 * rows_of_crop,
        "shrub and scrub": 0.9 * smooth(rng, side, 0.8), "built": roofs, "bare": smooth(rng, side, 2),
        "snow and ice": smooth(rng, side, 4),
    }  # fmt: skip


def _write(
    path: Path, data: np.ndarray, left: float, top: float, step: float, *, nodata: float | None = None
) -> None:
    import rasterio
    from rasterio.transform import from_origin

    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="GTiff", height=data.shape[0], width=data.shape[1], count=1, dtype=data.dtype,
        crs="EPSG:32631", transform=from_origin(left, top, step, step), nodata=nodata,
    ) as out:  # fmt: skip
        out.write(data, 1)
