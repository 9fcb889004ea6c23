"""How long a stage takes to start, and `dvc repro` to find that there is nothing to do.

    python benchmarks/startup.py [--pipeline NAME ...] [--repeat 3] [--no-repro]

Each stage module is imported in a process of its own: alone (what a wrong parameter costs), and with everything that
the stage imports when it begins its work. Seconds of the wall clock, the least of the repeats; the start of Python
itself is taken off. A pipeline that is not up to date is left out of the second table: run `make repro` first.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Started as a file, this folder leads the search path.
sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]
HEAVY = ("torch", "lightning", "transformers", "monai", "mlflow", "matplotlib", "sklearn")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pipeline", action="append", help="only this one; may be repeated")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--no-repro", action="store_true", help="leave `dvc repro` out")
    parser.add_argument("--module", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.module:
        print(*imported(options.module))
        return
    os.chdir(ROOT)
    known = sorted(path.parent.name for path in Path("pipelines").glob("*/dvc.yaml"))
    wanted = options.pipeline or known
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores; Python {platform.python_version()}, "
        f"torch {version('torch')}, dvc {version('dvc')}\n"
    )
    print("| pipeline | stage | module, s | with all it imports, s | of them heavy |")
    print("| --- | --- | ---: | ---: | --- |")
    for pipeline in wanted:
        for stage in stages(pipeline):
            runs = [started(f"pipelines.{pipeline}.{stage}") for _ in range(options.repeat)]
            alone, all_of_it = (min(float(run[place]) for run in runs) for place in (0, 1))
            heavy = ", ".join(runs[0][2:])
            print(f"| {pipeline} | {stage} | {alone:.2f} | {all_of_it:.2f} | {heavy} |", flush=True)
    if options.no_repro:
        return
    print("\n| `dvc repro` with nothing to do | s |\n| --- | ---: |")
    for pipeline in wanted:
        seconds = nothing_to_do(pipeline, options.repeat)
        shown = "not up to date" if seconds is None else f"{seconds:.1f}"
        print(f"| {pipeline} | {shown} |", flush=True)


def stages(pipeline: str) -> list[str]:
    """The stages of a pipeline, in their order."""
    import yaml

    definition = Path("pipelines") / pipeline / "dvc.yaml"
    return list(yaml.safe_load(definition.read_text(encoding="utf-8"))["stages"])


def started(module: str) -> list[str]:
    """What `imported` says in a fresh process."""
    command = [sys.executable, __file__, "--module", module]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT, env=environment)
    return done.stdout.splitlines()[-1].split()


def imported(module: str) -> list[str]:
    """Seconds to import a stage module, seconds with what its functions import, and the heavy ones of these."""
    start = time.perf_counter()
    found = importlib.import_module(module)
    alone = time.perf_counter() - start
    tree = ast.parse(Path(str(found.__file__)).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            importlib.import_module(node.module)
            for name in node.names:
                _submodule(node.module, name.name)
        elif isinstance(node, ast.Import):
            for name in node.names:
                importlib.import_module(name.name)
    every = time.perf_counter() - start
    return [f"{alone:.3f}", f"{every:.3f}", *(name for name in HEAVY if name in sys.modules)]


def _submodule(package: str, name: str) -> None:
    """``from package import name``: the name may be a module of its own."""
    if not hasattr(sys.modules[package], name):
        importlib.import_module(f"{package}.{name}")


def nothing_to_do(pipeline: str, repeat: int) -> float | None:
    """Seconds of the quickest ``dvc repro``; None where something would run."""
    definition = f"pipelines/{pipeline}/dvc.yaml"
    environment = {
        **os.environ,
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(ROOT / ".kindred" / "dvc"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
    }
    dvc = [sys.executable, "-m", "dvc"]
    planned = subprocess.run(
        [*dvc, "repro", "--dry", definition], capture_output=True, text=True, env=environment, check=False
    )
    if planned.returncode or "Running stage" in planned.stdout:
        return None
    best = float("inf")
    for _ in range(repeat):
        start = time.perf_counter()
        subprocess.run([*dvc, "repro", "--quiet", definition], check=True, env=environment)
        best = min(best, time.perf_counter() - start)
    return best


if __name__ == "__main__":
    main()
