"""Own data: `kindred new ct_reduction FOLDER` writes a manifest to fill in and the params that read it."""

from __future__ import annotations

from core.scaffold import OwnData, main
from medical.ct.data.layouts import FORM

OWN = OwnData(
    "ct_reduction",
    FORM,
    find=("*/", "**/*.nii", "**/*.nii.gz"),
    decide={
        "data.window": "what of the Hounsfield scale is looked at: lung, chest, brain, bone, abdomen or angio",
        "select.threshold": "bits that may differ between a dropped slice and the one kept in its place; the report "
        "shows what each threshold keeps",
    },
)

if __name__ == "__main__":
    main(OWN)
