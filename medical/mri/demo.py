"""Generated short-axis heart volumes in ACDC's file layout: right ventricle, muscle and left ventricle.

Shapes vary smoothly through the slices and from patient to patient; each volume has its own contrast, bias field,
noise, spacing and orientation. Some patients have no mask, and a few files are broken on purpose, as in a real archive.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from core.files import atomic_write
from core.learning.determinism import generator
from medical.mri.data.nifti import Geometry, mask_bytes

EXTENT_MM = 150.0
BROKEN = ("truncated", "NaN voxels", "mask elsewhere")


def write_demo(
    folder: str | os.PathLike[str],
    *,
    patients: int = 48,
    unlabelled: int = 14,
    broken: bool = True,
    pixels: int = 64,
    seed: int = 0,
) -> Path:
    """Write ``patient###/patient###_frame01.nii.gz``, ``_gt.nii.gz`` and ``Info.cfg``; the same for a seed.

    Args:
        folder: where the patient folders come to lie.
        patients: that can be used.
        unlabelled: how many of them, the last ones, have no mask.
        broken: add three patients whose files validation must find.
        pixels: about so many along each side of a slice.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     sorted(p.name for p in write_demo(place, patients=1, unlabelled=0, broken=False).rglob("*.nii.gz"))
    ['patient001_frame01.nii.gz', 'patient001_frame01_gt.nii.gz']
    """
    root = Path(folder)
    for number in range(1, patients + len(BROKEN) * broken + 1):
        rng = generator(seed, "heart", number)
        image, mask, geometry = heart(rng, pixels=pixels)
        fault = BROKEN[number - patients - 1] if number > patients else ""
        if fault == "NaN voxels":
            image[tuple(n // 2 for n in image.shape)] = np.nan
        content = _image_bytes(image, geometry)
        if fault == "truncated":
            content = content[: len(content) // 2]
        name = f"patient{number:03d}"
        place = root / name
        atomic_write(place / f"{name}_frame01.nii.gz", content)
        atomic_write(place / "Info.cfg", "ED: 1\nES: 10\nGroup: DEMO\n")
        if number <= patients - unlabelled or fault:
            if fault == "mask elsewhere":
                moved = geometry.matrix
                moved[0, 3] += 4
                geometry = _geometry(geometry.shape, moved)
            atomic_write(place / f"{name}_frame01_gt.nii.gz", mask_bytes(mask, geometry))
    return root


def heart(rng: np.random.Generator, *, pixels: int = 64) -> tuple[np.ndarray, np.ndarray, Geometry]:
    """One volume: (image float32, mask uint8, geometry), all (X, Y, Z) as a file has them."""
    depth = int(rng.integers(8, 13))
    side = pixels + int(rng.integers(-4, 5))
    spacing = EXTENT_MM / pixels * rng.uniform(0.92, 1.08)
    axis = (np.arange(side) - (side - 1) / 2) * spacing
    x, y = np.meshgrid(axis, axis, indexing="ij")
    level = ((np.arange(depth) + 0.5) / depth)[:, None, None]  # 0 at the apex, 1 at the base
    mask = _anatomy(rng, x, y, level)
    image = _appearance(rng, x, y, level, mask)
    affine = np.diag([spacing, spacing, float(rng.uniform(7, 10)), 1.0])
    image, mask = image.transpose(1, 2, 0), mask.transpose(1, 2, 0)
    for flipped in (0, 1, 2):  # archives hold all orientations; the affine says which
        if rng.random() < 0.3:
            image, mask = np.flip(image, flipped), np.flip(mask, flipped)
            affine[flipped, flipped] *= -1
    affine[:3, 3] = -affine[:3, :3] @ (np.array(image.shape) - 1) / 2
    return image.astype(np.float32), np.ascontiguousarray(mask), _geometry(image.shape, affine)


def _anatomy(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, level: np.ndarray) -> np.ndarray:
    """(Z, X, Y) classes: 1 right ventricle, 2 muscle, 3 left ventricle."""
    drift = rng.normal(0, 6, 2) * (level - 0.5)[..., None]
    cx = rng.normal(0, 13) + drift[..., 0]
    cy = rng.normal(0, 13) + drift[..., 1]
    angle = rng.normal(0, 0.6)
    stretch = rng.uniform(0.9, 1.12)
    u = ((x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)) * stretch
    v = (-(x - cx) * np.sin(angle) + (y - cy) * np.cos(angle)) / stretch
    phase, wave = rng.uniform(0, 2 * np.pi, 2), rng.uniform(0.02, 0.07, 2)
    round_ = np.arctan2(v, u)
    lumps = 1 + wave[0] * np.cos(2 * round_ + phase[0]) + wave[1] * np.cos(3 * round_ + phase[1])
    radius = np.hypot(u, v) / lumps
    taper = np.sqrt(np.clip(1 - (1 - level) ** 2 * rng.uniform(0.75, 0.95), 0, 1))
    inner = rng.uniform(17, 25) * taper
    outer = inner + rng.uniform(8, 12) * (0.8 + 0.2 * taper)
    right = rng.uniform(27, 36) * np.sqrt(np.clip((level - 0.12) / 0.88, 0, 1))
    reach = outer + rng.uniform(2, 10)
    ventricle = np.hypot((u + reach) / rng.uniform(0.8, 1.0), v * rng.uniform(0.75, 0.95)) < right
    mask = np.where(ventricle, 1, 0)
    mask = np.where(radius < outer, 2, mask)
    return np.where(radius < inner, 3, mask).astype(np.uint8)


def _appearance(
    rng: np.random.Generator, x: np.ndarray, y: np.ndarray, level: np.ndarray, mask: np.ndarray
) -> np.ndarray:
    """Intensities (Z, X, Y) of a mask, with a chest around it that holds look-alikes."""
    from scipy.ndimage import gaussian_filter

    blood, muscle = rng.uniform(0.55, 1.0), rng.uniform(0.2, 0.5)
    chest = np.hypot(x / rng.uniform(66, 74), y / rng.uniform(56, 66))
    image = np.where(chest < 1, rng.uniform(0.25, 0.5), rng.uniform(0.02, 0.06)) * np.ones_like(level)
    for _ in range(int(rng.integers(7, 12))):  # vessels, stomach, fat: discs that come and go with the slices
        px, py = (rng.uniform(-60, 60) + rng.normal(0, 10) * (level - 0.5) for _ in range(2))
        size = rng.uniform(6, 20) * np.clip(1.2 - np.abs(level - rng.uniform(0, 1)) * 1.5, 0, 1)
        image = np.where(np.hypot(x - px, y - py) < size, rng.uniform(0.1, 1.0), image)
    for _ in range(int(rng.integers(1, 4))):  # bright discs with a dark wall, as the left ventricle has
        px, py = (
            rng.choice([-1, 1]) * rng.uniform(25, 55) + rng.normal(0, 8) * (level - 0.5) for _ in range(2)
        )
        away, radius = np.hypot(x - px, y - py), rng.uniform(8, 16)
        image = np.where(away < radius * rng.uniform(1.2, 1.6), muscle, image)
        image = np.where(away < radius, blood * rng.uniform(0.8, 1.1), image)
    lungs = np.hypot((np.abs(x) - rng.uniform(48, 56)) / 20, y / 42) < 1
    image = np.where(lungs, rng.uniform(0.03, 0.12), image)
    fat = gaussian_filter((mask > 0).astype(float), (0, 2.0, 2.0)) > 0.15
    image = np.where(fat & (mask == 0), rng.uniform(0.1, 0.9), image)
    image = np.where(mask == 2, muscle, image)
    right = blood * rng.uniform(0.85, 1.1)
    image = np.where(mask == 1, right, np.where(mask == 3, blood, image))
    texture = gaussian_filter(rng.normal(size=image.shape), (0.5, 1.5, 1.5))
    image = image * (1 + rng.uniform(0.3, 0.9) * texture)
    image = gaussian_filter(image, (0, *[rng.uniform(0.4, 0.9)] * 2))
    tilt = rng.normal(0, 0.5, 3)
    field = (
        tilt[0] * x / 75 + tilt[1] * y / 75 + tilt[2] * (x * y) / 75**2 + rng.normal(0, 0.15) * (level - 0.5)
    )
    noisy = image * np.exp(field) + rng.normal(0, rng.uniform(0.04, 0.12), image.shape)
    return np.abs(noisy) * rng.uniform(200, 900)


def _geometry(shape: tuple[int, ...], affine: np.ndarray) -> Geometry:
    rows = tuple(tuple(float(value) for value in row) for row in affine)
    return Geometry((int(shape[0]), int(shape[1]), int(shape[2])), rows)


def _image_bytes(image: np.ndarray, geometry: Geometry) -> bytes:
    import gzip

    import nibabel

    file = nibabel.Nifti1Image(
        np.where(np.isnan(image), np.nan, np.round(image)).astype(np.float32), geometry.matrix
    )
    file.header.set_xyzt_units("mm")
    return gzip.compress(file.to_bytes(), compresslevel=1, mtime=0)
