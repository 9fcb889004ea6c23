"""Run a logged model once, from its own code: ``python -P -m core.tracking.check FOLDER --not-from ROOT``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from core.tracking.store import quiet_environment


def main() -> int:
    """Load the model in FOLDER, predict its input example, and refuse modules that came from ROOT."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--not-from", type=Path, required=True)
    options = parser.parse_args()
    quiet_environment()
    import mlflow

    model = mlflow.pyfunc.load_model(str(options.folder))
    example = model.input_example
    if example is None:
        print("the model carries no input example", file=sys.stderr)
        return 1
    answers = model.predict(example)
    if len(answers) != len(example):
        print(f"{len(example)} rows were asked, {len(answers)} answers came back", file=sys.stderr)
        return 1
    stray = borrowed_modules(options.folder, options.not_from)
    if stray:
        print(f"imported from the repository, so add to packages: {', '.join(stray)}", file=sys.stderr)
        return 1
    return 0


def borrowed_modules(model: Path, repository: Path) -> list[str]:
    """Imported modules whose file lies in the repository, and neither in the model nor in the environment."""
    home, own, environment = repository.resolve(), model.resolve(), Path(sys.prefix).resolve()
    stray = []
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        path = Path(file).resolve() if file else None
        if (
            path
            and path.is_relative_to(home)
            and not path.is_relative_to(own)
            and not path.is_relative_to(environment)
        ):
            stray.append(name)
    return sorted(stray)


if __name__ == "__main__":
    sys.exit(main())
