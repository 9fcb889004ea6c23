"""The files of a map: the profile while it is written, the Cloud-Optimised copy at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from earth_observation.data.opened import Grid

CACHE_MIB = 48
"""Of GDAL, while maps are written."""


def map_profile(grid: Grid, dtype: str, nodata: float) -> dict[str, Any]:
    """Of a tiled, deflated GeoTIFF of one band on a grid."""
    return {
        "driver": "GTiff", "height": grid.height, "width": grid.width, "count": 1, "dtype": dtype, "crs": grid.crs,
        "transform": grid.transform, "nodata": nodata, "tiled": True, "blockxsize": 256, "blockysize": 256,
        "compress": "deflate", "bigtiff": "if_safer",
    }  # fmt: skip


def as_cog(source: Path, target: Path, resampling: str) -> None:
    """Copy a GeoTIFF to a Cloud-Optimised one with overviews, whole or not at all."""
    import rasterio.shutil

    temporary = target.with_name(f".{target.name}.tmp")
    rasterio.shutil.copy(
        source, temporary, driver="COG", overview_resampling=resampling, compress="deflate", blocksize=256
    )
    temporary.replace(target)
