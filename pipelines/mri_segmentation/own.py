"""Own data: `kindred new mri_segmentation FOLDER` writes a manifest to fill in and the params that read it."""

from __future__ import annotations

from core.scaffold import OwnData, main
from medical.mri.data.layouts import FORM

OWN = OwnData(
    "mri_segmentation",
    FORM,
    find=("**/*.nii", "**/*.nii.gz"),
    settings={"data.structures": []},
    decide={
        "data.structures": "names of the mask's values 1, 2, ..., e.g. [liver, tumour]",
        "prepare.spacing": "mm of a pixel in the plane; null keeps that of the files",
        "prepare.size": "pixels of a slice after cropping or padding; the structures must fit in",
        "finetune.labelled": "how many labelled volumes to train on, one run each",
    },
)

if __name__ == "__main__":
    main(OWN)
