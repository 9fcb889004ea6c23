"""Own data: `kindred new xray_ecg_report FOLDER` writes a manifest to fill in and the params that read it."""

from __future__ import annotations

from core.scaffold import OwnData, main
from medical.alignment.data.own import FORM

OWN = OwnData(
    "xray_ecg_report",
    FORM,
    find=("**/*.png", "**/*.jpg", "**/*.jpeg", "**/*.dcm"),
    settings={"evaluate.prompts": "chest"},
    decide={
        "evaluate.prompts": "the words for each finding: chest is shipped; for labels of your own, copy "
        "medical/alignment/prompts/chest.yaml and name the copy",
        "model.text": "tiny has random weights; minilm, or a local transformers folder, has read before",
        "data.link": "how far apart in time a film and an ECG may be",
    },
)

if __name__ == "__main__":
    main(OWN)
