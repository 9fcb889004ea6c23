"""Own data: `kindred new eo_pretraining FOLDER` writes a manifest to fill in and the params that read it."""

from __future__ import annotations

from core.scaffold import OwnData, main
from earth_observation.data.own import FORM

OWN = OwnData(
    "eo_pretraining",
    FORM,
    find=("**/*.tif", "**/*.tiff", "*.SAFE/"),
    settings={"data.sensor": "s2_l2a"},
    decide={
        "data.sensor": "s2_l1c, s2_l2a, s1, rgb, or own with data.bands (names in order) and data.gsd (metres)",
        "model.product": "s2 for the Sentinel-2 sensors, s1, rgb, or image for sensor own",
        "data.classes": "names of the classes by number, where they are not those of Dynamic World",
        "prepare.statistics": "ssl4eo_50k fits Sentinel; data measures your own, as sensors own and rgb need",
    },
)

if __name__ == "__main__":
    main(OWN)
