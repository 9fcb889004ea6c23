"""Generated hilly ground with old, overgrown scars: faint in colour, a hollow and a bulge in the terrain."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import ConfigError
from core.files import atomic_directory
from core.learning.determinism import generator
from earth_observation.demo import smooth
from earth_observation.landslide.net import TwoSourceNet

METRES = 5.0


def draw_landslides(count: int, side: int, *, seed: int = 0, share: float = 0.7) -> dict[str, np.ndarray]:
    """Tiles of separate grounds.

    Args:
        share: of the tiles that have a scar.

    Returns:
        ``picture`` (n, 3, side, side) float32 in [0, 1], ``dem`` (n, side, side) metres, ``mask`` (n, side, side)
        uint8: 1 on a scar.
    """
    if side % TwoSourceNet.stride:
        raise ConfigError("side", seen=side, expected=f"a multiple of {TwoSourceNet.stride}")
    found = []
    for number in range(count):
        rng = generator(seed, "landslide", number)
        found.append(draw_ground(rng, side, side, scars=1, chance=share))
    return {key: np.stack([one[key] for one in found]) for key in ("picture", "dem", "mask")}


def draw_ground(rng: Any, side: int, cell: int, *, scars: int, chance: float = 1.0) -> dict[str, np.ndarray]:
    """One ground of ``side`` pixels; hills and scars are scaled by ``cell``, and each scar is there by ``chance``."""
    rows, columns = np.indices((side, side)).astype(float)
    dem = 1200 + 60 * smooth(rng, side, cell / 4) + 8 * smooth(rng, side, cell / 12)
    look = 0.45 + 0.06 * smooth(rng, side, 3)
    mask = np.zeros((side, side), dtype=np.uint8)
    margin = 0.3 * cell
    for _ in range(scars):
        if rng.random() >= chance:
            continue
        centre, size = rng.uniform(margin, side - margin, 2), rng.uniform(0.12, 0.22, 2) * cell
        reach = np.hypot((rows - centre[0]) / size[0], (columns - centre[1]) / size[1])
        reach = reach + 0.1 * smooth(rng, side, 2)
        scar = reach < 1
        # a hollow at the head, a bulge at the toe
        dem = dem + np.where(scar, 12 * np.sign(rows - centre[0]) * (1 - np.clip(reach, 0, 1)), 0)
        look = look + 0.05 * (scar & (mask == 0))
        mask |= scar.astype(np.uint8)
    tint = np.array([0.9, 1.0, 0.7])[:, None, None] * np.exp(0.15 * rng.normal(size=(3, 1, 1)))
    picture = np.clip(look * tint + 0.04 * rng.normal(size=(3, side, side)), 0, 1)
    return {"picture": picture.astype(np.float32), "dem": dem, "mask": mask}


def write_landslides(
    folder: str | os.PathLike[str], *, side: int = 640, scars: int = 60, seed: int = 0
) -> Path:
    """Write ``picture.tif`` (8-bit colour, 5 m), ``dem.tif`` (metres, 10 m) and ``scars.tif`` (1 on a scar).

    Returns:
        The folder, replaced whole. Equal arguments give equal files.
    """
    import rasterio
    from rasterio.transform import from_origin

    ground = draw_ground(generator(seed, "ground"), side, 64, scars=scars)
    coarse = ground["dem"].reshape(side // 2, 2, side // 2, 2).mean((1, 3)).astype(np.float32)
    picture = (255 * ground["picture"]).round().astype(np.uint8)
    files = {
        "picture": (picture, METRES, None),
        "dem": (coarse[None], 2 * METRES, -9999.0),
        "scars": (ground["mask"][None], METRES, 255),
    }
    target = Path(folder)
    with atomic_directory(target) as home:
        for name, (data, step, nodata) in files.items():
            with rasterio.open(
                home / f"{name}.tif", "w", driver="GTiff", count=len(data), height=data.shape[1],
                width=data.shape[2], dtype=data.dtype, crs="EPSG:32648", nodata=nodata,
                transform=from_origin(300_000, 4_000_000, step, step),
            ) as out:  # fmt: skip
                out.write(data)
    return target
