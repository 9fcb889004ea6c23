"""GeoTIFFs made by hand for the tests of Earth observation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

FRACTIONS = {"train": 0.6, "valid": 0.2, "test": 0.2}


def write_raster(
    path: Path, data, *, crs="EPSG:32631", origin=(500_000.0, 5_000_000.0), step=10.0, **profile
):
    """A GeoTIFF of (h, w) or (bands, h, w) numbers; names of bands by ``descriptions``."""
    data = np.asarray(data)
    data = data[None] if data.ndim == 2 else data
    transform = profile.pop("transform", Affine(step, 0, origin[0], 0, -step, origin[1]))
    names = profile.pop("descriptions", None)
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="GTiff", count=len(data), height=data.shape[1], width=data.shape[2], dtype=data.dtype,
        crs=crs, transform=transform, **profile,
    ) as out:  # fmt: skip
        out.write(data)
        if names:
            out.descriptions = tuple(names)
    return str(path)
