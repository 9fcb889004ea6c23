"""Reference numbers: loads `tests/reference/NAME.npz`, or the same name from `KINDRED_REFERENCE_DIR` when set."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest


def reference_dir() -> Path:
    """The folder the vectors are read from."""
    return Path(os.environ.get("KINDRED_REFERENCE_DIR") or Path(__file__).parent)


def reference(name: str) -> dict[str, np.ndarray]:
    """All arrays of one file, by key. Skips, saying so, where a replacement folder does not hold the file."""
    path = reference_dir() / f"{name}.npz"
    if not path.is_file():
        pytest.skip(f"{path} is not there: KINDRED_REFERENCE_DIR holds no vectors of this name")
    with np.load(path, allow_pickle=False) as archive:
        return {key: archive[key] for key in archive.files}


def reference_names(prefix: str) -> list[str]:
    """Names (without suffix) of the files that start with `prefix`, sorted; for `pytest.mark.parametrize`."""
    return sorted(path.stem for path in reference_dir().glob(f"{prefix}*.npz"))


def reference_cases(name: str) -> list[dict[str, Any]]:
    """The cases of a `core_*` file: each {"args": dict, "in": {...}, "out": {...}, "grad": {...}}."""
    arrays = reference(name)
    cases = []
    for index in range(int(arrays["n_cases"])):
        case: dict[str, Any] = {"args": {}, "in": {}, "out": {}, "grad": {}}
        start = f"c{index}_"
        for key, value in arrays.items():
            if not key.startswith(start):
                continue
            rest = key[len(start) :]
            if rest == "args":
                case["args"] = json.loads(str(value))
                continue
            kind, _, field = rest.partition("_")
            case[kind][field] = value
        cases.append(case)
    return cases
