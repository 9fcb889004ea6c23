"""Run a logged model once, from its own code: ``python -P -m core.tracking.check FOLDER --not-from ROOT``."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from core.errors import RegistryError
from core.tracking.store import patiently, quiet_mlflow


def check_model(uri: str, root: Path) -> None:
    """Load a logged model in a fresh process, from its own code, and ask it its input example.

    Raises:
        RegistryError: with the last line of what went wrong.
    """
    import mlflow

    folder = Path(patiently(mlflow.artifacts.download_artifacts, uri))
    with tempfile.TemporaryDirectory(prefix="kindred-check-") as elsewhere:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "core.tracking.check", str(folder), "--not-from", str(root)],
            cwd=elsewhere,
            env=model_environment(folder),
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise RegistryError(
            "the logged model does not answer its own input example",
            seen=lines[-1],
            remedy="mend the model's code; no version was registered",
        )


def model_environment(folder: Path) -> dict[str, str]:
    """Environment of a process that runs a model from its own copy of the code, not from the repository."""
    return {**os.environ, "PYTHONPATH": str(folder / "code"), "PYTHONSAFEPATH": "1"}


def main() -> int:
    """Load the model in FOLDER, predict its input example, and refuse modules that came from ROOT."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--not-from", type=Path, required=True)
    options = parser.parse_args()
    quiet_mlflow()
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
