"""Whole scenes: tiles read strip by strip, answers blended, maps written as Cloud-Optimised GeoTIFFs."""

from __future__ import annotations

from earth_observation.scene.maps import map_scene
from earth_observation.scene.work import Tiling

__all__ = ["Tiling", "map_scene"]
