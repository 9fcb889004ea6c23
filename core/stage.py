"""Running a stage script: parameters, environment, seeds, a lock, errors as one line, cost recorded.

A stage script is this:

    from core.stage import Stage, run_stage
    from pipelines.example.params import Params

    def main(settings: Params, stage: Stage) -> None:
        from example.learn import learn            # heavy imports here

        learn(..., seed=settings.seed, checkpoints=stage.checkpoints, out=stage.outputs / "model")

    if __name__ == "__main__":
        run_stage(main, Params)

Exit codes: 0 done; 2 a mistake that the user can mend (one line on stderr); 130 stopped by Ctrl-C; 1 a defect
(with a traceback).
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from core.config import Settings, load_settings
from core.errors import ConfigError, KindredError
from core.files import atomic_directory, disk_trouble, read_json, write_json
from core.locks import waiting_lock

STATE = Path(".kindred")
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DVC_NO_ANALYTICS": "true",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "MPLBACKEND": "Agg",
}
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

S = TypeVar("S", bound=Settings)


@dataclass(frozen=True)
class Stage:
    """Where a stage is and where it may write (paths relative to the repository root, the working folder).

    >>> Stage("code_search", "pretrain", Path("params.yaml")).checkpoints.as_posix()
    '.kindred/checkpoints/code_search/pretrain'
    """

    pipeline: str
    name: str
    params: Path

    @property
    def outputs(self) -> Path:
        """Folder of the pipeline's DVC outputs."""
        return Path("outputs") / self.pipeline

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints that a killed run resumes from; not a DVC output."""
        return STATE / "checkpoints" / self.pipeline / self.name

    def without_demo(self) -> None:
        """Put a word into the output ``demo``, which DVC expects to hold something whatever the source is."""
        with atomic_directory(self.outputs / "demo") as folder:
            (folder / "README").write_text("Other data are read: see data.source and data.root.\n")


def run_stage(
    main: Callable[[S, Stage], object],
    settings: type[S],
    *,
    argv: Sequence[str] | None = None,
    needs_torch: bool = False,
) -> None:
    """Run ``main(settings, stage)`` as the script that was started, and exit with 2 on a user's mistake.

    Reads ``--params FILE`` into ``settings``; its optional top-level fields ``seed`` (int, 0) and
    ``threads`` (int or None) are applied: Python and numpy are seeded, and torch too where it is imported
    or ``needs_torch``. The environment is made quiet and offline (values that are already set stay). A
    lock per stage makes a rerun wait for a process that survived its killed parent, and the process asks
    to be hung up when its parent ends. On success the stage's checkpoints are removed, and seconds and
    peak MiB go to ``.kindred/stages/PIPELINE/STAGE.json`` (see ``stage_costs``).

    Args:
        main: does the work; gets the validated settings and a `Stage`.
        settings: the pydantic model of the params file.
        argv: command line; that of the process by default.
        needs_torch: import and seed torch before ``main``, for stages that initialise weights.
    """
    pipeline, name = _identity(main)
    parser = argparse.ArgumentParser(prog=f"python -m pipelines.{pipeline}.{name}", description=main.__doc__)
    parser.add_argument("--params", type=Path, default=Path("pipelines") / pipeline / "params.yaml")
    stage = Stage(pipeline, name, parser.parse_args(argv).params)
    try:
        quiet_environment()
        if not os.access(os.environ.get("HOME", "~"), os.W_OK):  # matplotlib would warn, and list fonts anew
            os.environ.setdefault("MPLCONFIGDIR", str((STATE / "matplotlib").absolute()))
        values = load_settings(stage.params, settings)
        _apply(getattr(values, "seed", 0), getattr(values, "threads", None), needs_torch)
        with contextlib.ExitStack() as stack:
            _hang_up_with_parent()
            if first_process():
                lock = STATE / "locks" / f"{pipeline}-{name}.lock"
                stack.enter_context(waiting_lock(lock, what=f"{pipeline}/{name}"))
            start = time.perf_counter()
            main(values, stage)
            if first_process():
                shutil.rmtree(stage.checkpoints, ignore_errors=True)
                cost = {"seconds": round(time.perf_counter() - start, 3), "peak_mib": peak_mib()}
                write_json(STATE / "stages" / pipeline / f"{name}.json", cost)
    except KeyboardInterrupt:
        _leave(f"{pipeline}/{name} was stopped; run it again to go on", 130)
    except KindredError as error:
        _leave(f"error in {pipeline}/{name}: {error}", 2)
    except MemoryError as error:
        _leave(
            f"error in {pipeline}/{name}: out of memory ({error}). Remedy: lower batch_size or chunk sizes", 2
        )
    except OSError as error:
        trouble = disk_trouble(error)
        if not trouble:
            raise
        _leave(f"error in {pipeline}/{name}: {trouble}", 2)


def quiet_environment() -> None:
    """No telemetry, no model hub, no windows: set in the environment what is not set yet."""
    for key, value in QUIET.items():
        os.environ.setdefault(key, value)


def first_process() -> bool:
    """Whether this is the process that writes: rank 0, or the only one."""
    return all(os.environ.get(key, "0") == "0" for key in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"))


def stage_costs(pipeline: str, root: Path = Path()) -> dict[str, dict[str, float]]:
    """``{"seconds": {stage: s}, "peak_mib": {stage: MiB}}`` of the stages that ran on this machine.

    A stage that is running shows its last cost, or none; so does one whose outputs were fetched from a cache.

    >>> stage_costs("no such pipeline")
    {'seconds': {}, 'peak_mib': {}}
    """
    kept = sorted((root / STATE / "stages" / pipeline).glob("*.json"))
    found = {path.stem: read_json(path) for path in kept}
    return {key: {stage: cost[key] for stage, cost in found.items()} for key in ("seconds", "peak_mib")}


def peak_mib() -> float:
    """Largest resident memory so far of this process or of any finished child, in MiB."""
    import resource

    unit = 2**20 if sys.platform == "darwin" else 2**10
    used = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return round(used / unit, 1)


def _identity(main: Callable[..., object]) -> tuple[str, str]:
    """(pipeline, stage) from the module that holds ``main``: pipelines.PIPELINE.STAGE."""
    module = main.__module__
    if module == "__main__":
        script: Any = sys.modules["__main__"]
        spec = getattr(script, "__spec__", None)
        module = spec.name if spec else ".".join(Path(script.__file__).resolve().with_suffix("").parts[-3:])
    parts = module.split(".")
    return (parts[-2] if len(parts) > 1 else "default"), parts[-1]


def _apply(seed: int, threads: int | None, needs_torch: bool) -> None:
    if threads is not None:
        if threads < 1:
            raise ConfigError(
                "threads", seen=threads, expected="a number >= 1", remedy="use the number of cores"
            )
        for key in _THREADS:
            os.environ[key] = str(threads)
    if needs_torch or "torch" in sys.modules:
        from core.learning.determinism import seed_everything, set_threads

        seed_everything(seed)
        set_threads(threads)
    else:
        from core.learning.determinism import seed_light

        seed_light(seed)


def _hang_up_with_parent() -> None:
    """Ask Linux for SIGHUP when the parent ends, so that killing dvc ends its stage; nohup still protects."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(1, int(signal.SIGHUP), 0, 0, 0)  # 1 = PR_SET_PDEATHSIG


def _leave(message: str, code: int) -> None:
    print(" ".join(message.split()), file=sys.stderr, flush=True)
    raise SystemExit(code)
