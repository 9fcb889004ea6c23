"""Own data: `kindred new audio_temporal FOLDER` writes a manifest to fill in and the params that read it."""

from __future__ import annotations

from audio_language.audio_file import SUFFIXES
from audio_language.data.sources import FORM
from core.scaffold import OwnData, main

OWN = OwnData(
    "audio_temporal",
    FORM,
    find=tuple(f"**/*{suffix}" for suffix in SUFFIXES),
    decide={
        "model.base": "scratch trains a small model on your clips; better is a local folder of CLAP weights, as "
        "transformers saves them",
        "model.front_end.seconds": "the longest clip that is heard as a whole, for a model from scratch",
    },
)

if __name__ == "__main__":
    main(OWN)
