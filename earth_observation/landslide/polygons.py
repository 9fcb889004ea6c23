"""Landslides outlined by hand: GeoJSON polygons burnt into a raster of labels."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from core.errors import DataError
from core.files import read_json
from earth_observation.data.opened import Grid, RasterError

SUFFIXES = (".geojson", ".json")
LONGITUDES, LATITUDES = 180.0, 90.0


def burn_polygons(path: str | os.PathLike[str], grid: Grid) -> np.ndarray:
    """(height, width) int32 of a grid: 1 where a pixel's centre lies in a polygon, 0 elsewhere.

    Coordinates are longitude and latitude, as GeoJSON is defined, or in the system that a member ``crs`` names (which
    older programs write, and `kindred landslides` itself). All ground outside of the polygons counts as searched and
    free of landslides: use a raster where part of it is unknown.

    Raises:
        DataError: no GeoJSON, or nothing but points and lines. RasterError: kind "crs" (coordinates that are not in
            degrees, or a system that is not known) or "grid" (all polygons lie elsewhere).
    """
    from rasterio.features import rasterize
    from rasterio.warp import transform_geom

    raw = read_json(path)
    shapes = [shape for shape in _geometries(raw) if shape["type"] in ("Polygon", "MultiPolygon")]
    if not shapes:
        raise DataError(
            f"{path}", seen="no polygon", expected="GeoJSON with Polygon or MultiPolygon features"
        )
    system = _system(raw, shapes, path)
    placed = [transform_geom(system, grid.crs, shape) for shape in shapes]
    burnt = rasterize(
        placed, out_shape=(grid.height, grid.width), transform=grid.transform, fill=0, default_value=1,
        dtype="uint8",
    )  # fmt: skip
    if not burnt.any():
        raise RasterError(
            "grid", f"{path}: no polygon on the picture's ground", seen=f"{len(shapes)} polygon(s) elsewhere",
            expected=str([round(v) for v in grid.bounds]),
            remedy="check the coordinate system of the file: longitude comes first",
        )  # fmt: skip
    return burnt.astype(np.int32)


def _geometries(raw: Any) -> list[dict[str, Any]]:
    """The geometries of a feature collection, a feature, or a geometry."""
    if not isinstance(raw, dict):
        return []
    if raw.get("type") == "FeatureCollection":
        return [one for feature in raw.get("features") or [] for one in _geometries(feature)]
    if raw.get("type") == "Feature":
        return _geometries(raw.get("geometry"))
    if raw.get("type") == "GeometryCollection":
        return [one for part in raw.get("geometries") or [] for one in _geometries(part)]
    return [raw] if raw.get("coordinates") else []


def _system(raw: dict[str, Any], shapes: list[dict[str, Any]], path: Any) -> Any:
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    named = raw.get("crs")
    if isinstance(named, dict):
        name = str((named.get("properties") or {}).get("name", ""))
        try:
            return CRS.from_user_input(name)
        except CRSError:
            raise RasterError(
                "crs", f"{path}: member crs", seen=name, expected="a known system, EPSG:32648 for example"
            ) from None
    numbers = np.concatenate([_numbers(shape["coordinates"]) for shape in shapes])
    if np.abs(numbers[:, 0]).max() > LONGITUDES or np.abs(numbers[:, 1]).max() > LATITUDES:
        raise RasterError(
            "crs", f"{path}: coordinates", seen=[round(float(v), 1) for v in numbers[0]],
            expected="longitude and latitude in degrees",
            remedy="save it in EPSG:4326, or name the system in a member crs",
        )  # fmt: skip
    return CRS.from_epsg(4326)


def _numbers(coordinates: Any) -> np.ndarray:
    """(n, 2) of all positions, however deep they are nested."""
    if coordinates and isinstance(coordinates[0], (int, float)):
        return np.array([coordinates[:2]], dtype=float)
    return np.concatenate([_numbers(one) for one in coordinates])
