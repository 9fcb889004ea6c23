"""Where runs and models are kept: tracking URI, quiet defaults, patience while another process writes."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from core.errors import RegistryError
from core.files import sha256_file
from core.stage import quiet_environment

T = TypeVar("T")

DATABASE = "mlflow.db"
ARTIFACTS = "mlartifacts"
PATIENCE_SECONDS = 120.0
_LOCKED = ("database is locked", "database table is locked", "database schema is locked")
_HOPELESS = {
    "attempt to write a readonly database": "its database file or folder is read-only",
    "database or disk is full": "the disk is full",
    "disk I/O error": "its disk cannot be written (is it full?)",
}
_QUIET = {
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    # Requirements come from the lock, never from whatever project file lies in the working directory.
    "MLFLOW_UV_AUTO_DETECT": "false",
    "MLFLOW_RECORD_ENV_VARS_IN_MODEL_LOGGING": "false",
    # An unreachable tracking server is reported after seconds, not after the default of several minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
}


def quiet_mlflow() -> None:
    """Turn MLflow's telemetry, progress bars and advice off, before it is imported; what is set stays."""
    quiet_environment()
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)


def repository_root(start: str | os.PathLike[str] | None = None) -> Path:
    """The folder that holds ``pyproject.toml`` and ``pipelines/``, searched upwards from ``start``.

    ``KINDRED_ROOT`` overrides the search. Outside a repository the starting folder itself is returned.
    """
    override = os.environ.get("KINDRED_ROOT")
    if override and start is None:
        return Path(override).absolute()
    here = Path(start or Path.cwd()).absolute()
    for folder in (here, *here.parents):
        if (folder / "pyproject.toml").is_file() and (folder / "pipelines").is_dir():
            return folder
    return here


def tracking_uri(root: str | os.PathLike[str] | None = None) -> str:
    """``MLFLOW_TRACKING_URI`` where it is set, else the SQLite file at the repository root.

    >>> os.environ.pop("MLFLOW_TRACKING_URI", None) and None
    >>> tracking_uri("/data/my project")
    'sqlite:////data/my project/mlflow.db'
    """
    chosen = os.environ.get("MLFLOW_TRACKING_URI", "").strip()
    return chosen or f"sqlite:///{(Path(root or repository_root()).absolute() / DATABASE).as_posix()}"


def database_file(uri: str) -> Path | None:
    """The file behind a SQLite URI, or None for a server or another database.

    >>> database_file("sqlite:////tmp/a b/mlflow.db").name
    'mlflow.db'
    >>> database_file("http://localhost:5000") is None
    True
    """
    return Path(uri.removeprefix("sqlite:///").partition("?")[0]) if uri.startswith("sqlite:///") else None


def patiently(call: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Call, and call again while SQLite says that another process holds the database.

    A locked database means that the transaction was rolled back, so that repeating it is safe. Waits grow
    from 50 ms to 2 s with jitter; after ``PATIENCE_SECONDS`` the last error is raised.

    Raises:
        RegistryError: the database cannot be written at all: read-only, disk full.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    pause = 0.05
    while True:
        try:
            return call(*args, **kwargs)
        except Exception as error:
            for text, words in _HOPELESS.items():
                if text in str(error):
                    remedy = "mend that and run the stage again, or set MLFLOW_TRACKING_URI"
                    raise RegistryError(f"MLflow could not write: {words}", remedy=remedy) from None
            locked = any(text in str(error) for text in _LOCKED)
            if not locked or time.monotonic() >= deadline:
                raise
        time.sleep(pause * random.uniform(0.5, 1.5))
        pause = min(2 * pause, 2.0)


class PatientClient:
    """An ``MlflowClient`` each of whose methods waits for a locked database (see :func:`patiently`)."""

    def __init__(self, uri: str) -> None:
        from mlflow import MlflowClient

        self._client = MlflowClient(tracking_uri=uri)

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._client, name)
        if not callable(attribute):
            return attribute
        return lambda *args, **kwargs: patiently(attribute, *args, **kwargs)


def connect(root: str | os.PathLike[str] | None = None, *, make: bool = True) -> PatientClient:
    """Point MLflow at the store of ``root`` and return a client; ``make`` the database when it is missing.

    Raises:
        RegistryError: the store is missing and not to be made, or cannot be opened: read-only folder,
            unreachable server, foreign schema.
    """
    quiet_mlflow()
    uri = tracking_uri(root)
    file = database_file(uri)
    if file is not None and not file.exists() and not make:
        raise RegistryError(
            f"no model is registered here: there is no {file}",
            remedy="run a pipeline first (make repro), or set KINDRED_ROOT to the repository or "
            "MLFLOW_TRACKING_URI to the server",
        )
    if file is not None:
        # Without this, MLflow makes an empty ./mlruns wherever the process happens to run.
        os.environ.setdefault("_MLFLOW_SERVER_ARTIFACT_ROOT", (file.parent / ARTIFACTS).absolute().as_uri())
    import mlflow

    mlflow.set_tracking_uri(uri)
    try:
        with _one_at_a_time(file):
            client = PatientClient(uri)
            client.search_experiments(max_results=1)
    except Exception as error:
        raise RegistryError(
            f"the MLflow store {uri} cannot be opened",
            seen=str(error),
            remedy="check that the folder is writable or the server is up, or set MLFLOW_TRACKING_URI",
        ) from error
    return client


@contextlib.contextmanager
def _one_at_a_time(database: Path | None) -> Iterator[None]:
    """Two processes that make the tables of one SQLite file at once would spoil it: the second one waits."""
    from filelock import FileLock

    if database is None:
        yield
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(f"{database}.lock")
    if os.access(database.parent, os.W_OK):  # nobody makes tables in a read-only folder
        lock.acquire(timeout=PATIENCE_SECONDS)
    try:
        yield
    finally:
        lock.release()


def experiment_id(client: PatientClient, name: str) -> str:
    """Id of the experiment ``name``; made, or restored when it was deleted, as needed."""
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import get_tracking_uri

    found = client.get_experiment_by_name(name)
    if found is None:
        file = database_file(get_tracking_uri())
        # Artifacts lie beside the database they belong to; a server decides for itself.
        place = (file.parent / ARTIFACTS / name).absolute().as_uri() if file is not None else None
        try:
            return str(client.create_experiment(name, artifact_location=place))
        except MlflowException:
            found = client.get_experiment_by_name(name)  # another process was faster
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def provenance(root: str | os.PathLike[str] | None = None) -> dict[str, str]:
    """What code ran: git commit, whether the tree was changed, digest of the lock. Empty where unknown."""
    home = Path(root or repository_root())
    facts: dict[str, str] = {}
    commit = _git(home, "rev-parse", "HEAD")
    if commit:
        facts["git_commit"] = commit
        facts["git_dirty"] = (
            "true" if _git(home, "status", "--porcelain", "--untracked-files=no") else "false"
        )
    lock = home / "requirements.lock"
    if lock.is_file():
        facts["lock_sha256"] = sha256_file(lock)
    return facts


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
