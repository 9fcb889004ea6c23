"""Short evaluation of the options CWCL and long-audio scoring on the pipeline's outputs; not a stage.

`python -m pipelines.audio_temporal.options` prints a table and writes `reports/audio_temporal/options.json`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from core.errors import KindredError
from core.stage import quiet_environment

OBJECTIVES: dict[str, dict[str, Any]] = {
    "CWCL": {"objective": "cwcl"},
    "CWCL, sharpness 8": {"objective": "cwcl", "sharpness": 8.0},
    "plain contrast": {"objective": "clip"},
}


def main() -> int:
    """Train the options over several seeds and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--outputs", type=Path, default=Path("outputs/audio_temporal"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--steps", type=int, default=80)
    options = parser.parse_args()
    quiet_environment()
    try:
        compare(options.outputs, options.seeds, options.steps)
    except KindredError as error:
        print(f"error in options: {error}", file=sys.stderr)
        return 2
    return 0


def compare(outputs: Path, seeds: list[int], steps: int) -> None:
    """Hand the pieces to the library."""
    from audio_language.data.store import open_store
    from audio_language.model.folder import load_model
    from audio_language.options import locked_accuracy, long_retrieval
    from core.files import read_json, write_json

    store, base = open_store(outputs / "prepared"), load_model(outputs / "pretrained")
    found: dict[str, list[float]] = {}
    for seed in seeds:
        for name, arm in OBJECTIVES.items():
            value = locked_accuracy(base, store, steps=steps, seed=seed, progress=False, **arm)
            found.setdefault(f"locked text tower, {name}: ZSTE1", []).append(value)
        for name, value in long_retrieval(base, store, seed=seed).items():
            found.setdefault(f"long recordings, {name} over time: R@1", []).append(value)
    for name, values in found.items():
        print(f"{name:<50} {sum(values) / len(values):.3f}  {' '.join(f'{value:.3f}' for value in values)}")
    source = read_json(outputs / "validation.json")["source"]
    write_json(
        Path("reports/audio_temporal/options.json"),
        {"source": source, "seeds": seeds, "steps": steps, "values": found},
    )


if __name__ == "__main__":
    sys.exit(main())
