"""Own data: `kindred new code_search FOLDER` writes a manifest to fill in and the params that read it."""

from __future__ import annotations

from code_search.data.manifest import FORM
from core.scaffold import OwnData, main

OWN = OwnData(
    "code_search",
    FORM,
    find=("*/",),
    decide={
        "data.languages": "read files in these languages only, e.g. [python, go]; left out, all that are known",
        "registry.index_root": "the repository whose index travels with the model; null is the standard library",
    },
)

if __name__ == "__main__":
    main(OWN)
