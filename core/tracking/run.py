"""One MLflow run: parameters, provenance, curves in one batch, figures."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import RegistryError
from core.tracking.store import PatientClient, connect, experiment_id, patiently, provenance, repository_root

_BATCH = 1000  # what MLflow accepts in one log_batch call
_PARAMS = 100
_NOT_A_NAME = re.compile(r"[^\w\-. /]")


@dataclass(frozen=True)
class TrackedRun:
    """Handle of an open run."""

    run_id: str
    pipeline: str
    stage: str
    client: PatientClient

    def log_metrics(self, metrics: Mapping[str, Any], *, step: int = 0) -> None:
        """Log single numbers; entries that are not numbers are left out."""
        self.log_history([{**metrics, "step": step}])

    def log_history(self, history: Iterable[Mapping[str, Any]], *, prefix: str = "") -> None:
        """Log curves: one mapping a step, each with the key ``step`` (or ``epoch``; else its position).

        All points go out in batches of 1000, in place of one request a point.
        """
        from mlflow.entities import Metric

        points = []
        now = int(time.time() * 1000)
        for position, row in enumerate(history):
            step = int(row.get("step", row.get("epoch", position)))
            points += [
                Metric(metric_name(f"{prefix}{name}"), value, now, step)
                for name, value in _numbers(row)
                if name not in ("step", "epoch")
            ]
        for start in range(0, len(points), _BATCH):
            self.client.log_batch(self.run_id, metrics=points[start : start + _BATCH])

    def log_file(self, path: str | os.PathLike[str], folder: str = "") -> None:
        """Store a figure, table or any other file with the run."""
        if not Path(path).is_file():
            raise RegistryError(f"{path} cannot be logged: it is not a file")
        self.client.log_artifact(self.run_id, str(path), folder or None)

    def log_figures(self, paths: Iterable[str | os.PathLike[str]]) -> None:
        """Store images below ``figures/``."""
        for path in paths:
            self.log_file(path, "figures")


@contextlib.contextmanager
def start_run(
    pipeline: str,
    stage: str,
    params: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
    *,
    data_digest: str = "",
    root: str | os.PathLike[str] | None = None,
) -> Iterator[TrackedRun]:
    """Open a run of one stage in the pipeline's experiment; closed as FAILED when the block raises.

    Args:
        params: nested mapping; logged flat, with dotted names.
        tags: extra tags; git commit, digest of the lock and ``data_digest`` are added.
        root: repository root; found from the working directory when left out.

    Runs that a killed process of this machine left open are closed as KILLED on the way.
    """
    home = Path(root or repository_root())
    client = connect(home)
    import mlflow
    from mlflow.entities import Param

    experiment = experiment_id(client, pipeline)
    _close_orphans(client, experiment)
    facts = {"pipeline": pipeline, "stage": stage, **provenance(home), **(tags or {})}
    if data_digest:
        facts["data_digest"] = data_digest
    labels = {f"kindred.{name}": str(value) for name, value in facts.items()}
    labels["kindred.process"] = _this_process()
    run = patiently(mlflow.start_run, experiment_id=experiment, run_name=stage, tags=labels)
    flat = [Param(name, str(value)[:6000]) for name, value in flatten(params or {}).items()]
    status = "FAILED"
    try:
        for start in range(0, len(flat), _PARAMS):
            client.log_batch(run.info.run_id, params=flat[start : start + _PARAMS])
        yield TrackedRun(run.info.run_id, pipeline, stage, client)
        status = "FINISHED"
    finally:
        patiently(mlflow.end_run, status)


def metric_name(name: str) -> str:
    """A name that MLflow accepts, the same on every platform.

    >>> metric_name("recall@10"), metric_name("PRC(S)")
    ('recall_at_10', 'PRC_S_')
    """
    return _NOT_A_NAME.sub("_", name.replace("@", "_at_"))


def flatten(params: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mapping -> one level with dotted names.

    >>> flatten({"train": {"steps": 3}, "seed": 0})
    {'train.steps': 3, 'seed': 0}
    """
    flat: dict[str, Any] = {}
    for name, value in params.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _numbers(row: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in row.items():
        number = value.item() if hasattr(value, "item") and getattr(value, "size", 1) == 1 else value
        if isinstance(number, int | float) and not isinstance(number, bool):
            yield name, float(number)


def _this_process() -> str:
    import psutil

    return f"{socket.gethostname()}:{os.getpid()}:{psutil.Process().create_time():.0f}"


def _close_orphans(client: PatientClient, experiment: str) -> None:
    """A process killed with -9 cannot close its run; the pipeline's next run on the same machine does."""
    import psutil

    host = socket.gethostname()
    for run in client.search_runs([experiment], "attributes.status = 'RUNNING'", max_results=100):
        owner, _, rest = run.data.tags.get("kindred.process", "").partition(":")
        pid, _, started = rest.partition(":")
        if owner != host or not pid.isdigit():
            continue
        try:
            alive = f"{psutil.Process(int(pid)).create_time():.0f}" == started
        except psutil.NoSuchProcess:
            alive = False
        except psutil.Error:
            alive = True
        if not alive:
            client.set_terminated(run.info.run_id, "KILLED")
