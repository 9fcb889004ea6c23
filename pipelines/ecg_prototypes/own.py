"""Own data: `kindred new ecg_prototypes FOLDER` writes a manifest to fill in and the params that read it."""

from __future__ import annotations

from core.scaffold import OwnData, main
from medical.ecg.data.own import FORM

OWN = OwnData(
    "ecg_prototypes",
    FORM,
    find=("**/*.hea", "**/*.npy"),
    decide={
        "data.branches": "a YAML file that says which label is explained by rhythm, morphology or global; left out, "
        "one branch (morphology) explains all",
        "model.prototypes": "how many prototypes a label gets in each branch",
    },
)

if __name__ == "__main__":
    main(OWN)
