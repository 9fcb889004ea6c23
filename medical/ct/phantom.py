"""A trunk that never lived: axial CT slices in Hounsfield units that change along the body as real ones do.

Organs are ellipses whose sizes are functions of the height, so neighbouring slices differ little; texture is
smooth noise in three dimensions plus scanner noise of each slice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LENGTH_MM = 260.0
"""From the lowest slice to the highest."""


@dataclass(frozen=True)
class Mass:
    """A ball of soft tissue in a lung: its centre (x, y in half-widths of the image; height) and radius in mm."""

    x: float
    y: float
    height_mm: float
    radius_mm: float


@dataclass(frozen=True)
class Body:
    """One patient: factors near 1 that stretch the organs, phases of what repeats, and the masses."""

    width: float
    depth: float
    lungs: float
    heart: float
    liver: float
    shift: tuple[float, float]
    phases: np.ndarray
    texture: np.ndarray
    masses: tuple[Mass, ...]


def draw_body(rng: np.random.Generator, masses: int) -> Body:
    """A patient with so many masses."""
    factors = rng.uniform(0.88, 1.12, 5)
    found = []
    for _ in range(masses):
        side = rng.choice([-1.0, 1.0])
        found.append(
            Mass(
                float(side * rng.uniform(0.26, 0.46)),
                float(rng.uniform(-0.2, 0.16)),
                float(LENGTH_MM * rng.uniform(0.48, 0.82)),
                float(rng.uniform(18.0, 34.0)),
            )
        )
    width, depth, lungs, heart, liver = map(float, factors)
    return Body(
        width,
        depth,
        lungs,
        heart,
        liver,
        shift=(float(rng.uniform(-0.05, 0.05)), float(rng.uniform(-0.05, 0.05))),
        phases=rng.uniform(0, 2 * np.pi, 12),
        texture=rng.standard_normal((14, 12, 12)),
        masses=tuple(found),
    )


def slice_at(
    body: Body, height_mm: float, size: int, rng: np.random.Generator, noise: float = 14.0
) -> np.ndarray:
    """One axial slice, (size, size) float64 Hounsfield units; columns to the patient's left, rows to the back.

    Args:
        rng: of the scanner noise of this slice.
    """
    h = height_mm / LENGTH_MM
    axis = ((np.arange(size) + 0.5) / size * 2 - 1) * 0.88
    y, x = np.meshgrid(axis - body.shift[1], axis - body.shift[0], indexing="ij")
    image = np.full((size, size), -1000.0)
    width = body.width * (0.80 - 0.28 * _rise(h, 0.86, 0.05))
    depth = body.depth * (0.58 - 0.10 * _rise(h, 0.84, 0.06))
    _fill(image, x, y, (0, 0), (width, depth), -90)
    _fill(image, x, y, (0, 0.01), (width - 0.07, depth - 0.07), 45)
    _abdomen(image, x, y, body, h)
    _chest(image, x, y, body, h)
    _bones(image, x, y, body, h, width, depth)
    for mass in body.masses:
        left = mass.radius_mm**2 - (height_mm - mass.height_mm) ** 2
        if left > 0:
            reach = np.sqrt(left) / (LENGTH_MM / 2) * 0.75
            _fill(image, x, y, (mass.x, mass.y), (reach, reach), 35)
    inside = image > -950
    image[inside] += 18 * _texture(body, h, size)[inside]
    return image + noise * rng.standard_normal((size, size))


def mass_heights(body: Body, heights_mm: np.ndarray) -> list[list[float]]:
    """For each mass the heights at which a slice shows it clearly."""
    return [
        [float(z) for z in heights_mm if abs(z - mass.height_mm) < 0.9 * mass.radius_mm]
        for mass in body.masses
    ]


def _abdomen(image: np.ndarray, x: np.ndarray, y: np.ndarray, body: Body, h: float) -> None:
    liver = _bump(h, 0.36, 0.17)
    _fill(image, x, y, (-0.30, -0.06), (0.36 * body.liver * liver, 0.34 * liver), 105)
    spleen = _bump(h, 0.36, 0.11)
    _fill(image, x, y, (0.46, 0.08), (0.16 * spleen, 0.20 * spleen), 115)
    for side in (-1, 1):
        kidney = _bump(h, 0.21 + 0.02 * side, 0.13)
        _fill(image, x, y, (0.33 * side, 0.20), (0.12 * kidney, 0.14 * kidney), 170)
    for number in range(4):  # bowel gas wanders
        phase = body.phases[number]
        gas = _bump(h, 0.06 + 0.07 * number, 0.07)
        place = (0.30 * np.sin(phase + 9 * h), -0.25 + 0.10 * np.cos(phase + 7 * h))
        _fill(image, x, y, place, (0.13 * gas, 0.08 * gas), -850)


def _chest(image: np.ndarray, x: np.ndarray, y: np.ndarray, body: Body, h: float) -> None:
    for side in (-1, 1):
        lung = _bump(h, 0.66, 0.29 if side > 0 else 0.27)
        _fill(image, x, y, (0.36 * side, -0.02), (0.27 * body.lungs * lung, 0.37 * body.lungs * lung), -830)
        for number in range(5):  # vessels
            phase = body.phases[number] + side
            place = (0.34 * side + 0.15 * np.sin(phase + 5 * h), 0.20 * np.cos(1.7 * phase + 6 * h))
            vessel = _bump(h, 0.62, 0.22)
            _fill(image, x, y, place, (0.035 * vessel, 0.045 * vessel), 40)
    heart = _bump(h, 0.55, 0.14)
    _fill(image, x, y, (0.10, -0.13), (0.26 * body.heart * heart, 0.22 * body.heart * heart), 120)
    aorta = 0.055 * _rise(h, 0.1, 0.05)
    _fill(image, x, y, (0.09, 0.22), (aorta, aorta), 160)
    windpipe = 0.05 * _rise(h, 0.74, 0.03)
    _fill(image, x, y, (0.0, 0.02), (windpipe, windpipe), -950)


def _bones(
    image: np.ndarray, x: np.ndarray, y: np.ndarray, body: Body, h: float, width: float, depth: float
) -> None:
    wave = 1 + 0.18 * np.cos(2 * np.pi * 11 * h + body.phases[0])
    _fill(image, x, y, (0, depth - 0.20), (0.11 * wave, 0.09 * wave), 480)
    cage = _bump(h, 0.62, 0.32)
    if cage > 0:
        for number in range(10):  # ribs slide round the chest
            angle = 2 * np.pi * (number / 10 + 1.1 * h) + body.phases[1]
            place = ((width - 0.10) * np.cos(angle), (depth - 0.10) * np.sin(angle))
            _fill(image, x, y, place, (0.055, 0.04), 520)
    hip = _bump(h, 0.0, 0.13)
    for side in (-1, 1):
        _fill(image, x, y, (0.45 * side, 0.12), (0.15 * hip, 0.22 * hip), 560)


def _fill(
    image: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    centre: tuple[float, float],
    axes: tuple[float, float],
    hu: float,
) -> None:
    """Paint an ellipse with an edge half a pixel soft."""
    if min(axes) < 0.01:
        return
    distance = np.sqrt(((x - centre[0]) / axes[0]) ** 2 + ((y - centre[1]) / axes[1]) ** 2)
    share = np.clip((1 - distance) * min(axes) * len(image) / 2 + 0.5, 0, 1)
    image += share * (hu - image)


def _bump(h: float, centre: float, reach: float) -> float:
    """1 at the centre, 0 beyond the reach, the profile of an ellipse."""
    return float(np.sqrt(max(0.0, 1 - ((h - centre) / reach) ** 2)))


def _rise(h: float, middle: float, width: float) -> float:
    return float(1 / (1 + np.exp(-(h - middle) / width)))


def _texture(body: Body, h: float, size: int) -> np.ndarray:
    """Smooth noise at a height: linear between planes, cubic in the plane."""
    from scipy.ndimage import zoom

    place = np.clip(h, 0, 1) * (len(body.texture) - 1)
    below = min(int(place), len(body.texture) - 2)
    share = place - below
    plane = (1 - share) * body.texture[below] + share * body.texture[below + 1]
    return np.asarray(zoom(plane, size / plane.shape[0], order=1, grid_mode=True, mode="nearest"))
