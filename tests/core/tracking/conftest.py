"""A small repository in a folder with a space and an umlaut, and one tiny model to register in it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
collect_ignore = ["sample"]
MODEL_CODE = Path(__file__).parent / "sample" / "echo.py"


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory) -> Path:
    """An MLflow database with its tables: making them takes seconds, copying them does not."""
    from core.tracking.store import connect, repository_root

    folder = tmp_path_factory.mktemp("database")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        connect(folder)
    assert repository_root(folder) == folder
    return folder / "mlflow.db"


@pytest.fixture
def repository(tmp_path, empty_database, monkeypatch) -> Path:
    """A repository root that holds the core code, a lock and an empty registry."""
    root = tmp_path / "läb 1"
    (root / "pipelines").mkdir(parents=True)
    (root / "core").mkdir()
    (root / "pyproject.toml").touch()
    for name in ("__init__", "errors", "files", "config", "stage", "locks"):
        shutil.copy(REPOSITORY / "core" / f"{name}.py", root / "core")
    shutil.copytree(REPOSITORY / "core" / "tracking", root / "core" / "tracking")
    shutil.copy(REPOSITORY / "requirements.lock", root)
    shutil.copy(empty_database, root / "mlflow.db")
    for name in ("MLFLOW_TRACKING_URI", "KINDRED_ROOT", "_MLFLOW_SERVER_ARTIFACT_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(root)
    return root


def result(value: float | None, digest: str = "d1") -> dict:
    """A metrics.json with one metric."""
    return {
        "pipeline": "echo",
        "title": "Echo",
        "source": "demo",
        "demo": True,
        "data_digest": digest,
        "primary": {"name": "mrr", "higher_is_better": True},
        "metrics": {"mrr": {"label": "MRR", "value": value, "low": None, "high": None, "n": 10}},
    }


@pytest.fixture
def register_echo(repository, monkeypatch) -> Callable:
    """register_echo(weight, value) -> Registered; without the check in a fresh process unless asked for."""

    def call(weight: float, value: float | None, *, digest: str = "d1", check: bool = False, **more):
        import pandas as pd
        import torch

        import core.tracking.registry as registry
        from core.tracking import save_weights
        from core.tracking.serving import Field, request_signature

        if not check:
            monkeypatch.setattr(registry, "check_model", lambda uri, root: None)
        folder = repository / "model"
        folder.mkdir(exist_ok=True)
        (folder / "digest.txt").write_text(
            save_weights(folder / "model.safetensors", {"weight": torch.tensor(weight)})
        )
        fields = [Field("text", "text"), Field("times", "integer", required=False)]
        arguments = {
            "model_code": MODEL_CODE,
            "artifacts": {"model": folder},
            "weights": folder / "model.safetensors",
            "packages": ["core"],
            "requirements": ["safetensors"],
            "signature": request_signature(fields, {"text": "string", "weight": "double"}),
            "input_example": pd.DataFrame({"text": ["a", "b"], "times": [1, 2]}),
            "result": result(value, digest),
            "params": {"train": {"steps": 3}},
            "limits": ["only ever echoed"],
            "output": repository / "registered.json",
            "root": repository,
        }
        return registry.register("echo", **{**arguments, **more})

    return call
