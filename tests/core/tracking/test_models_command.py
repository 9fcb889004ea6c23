"""`kindred models ...`, `serve` and `predict` on a registry that holds two versions."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
from typer.testing import CliRunner

import core.cli
from core.errors import RegistryError
from core.tracking import batch, check


def kindred(*arguments: str):
    result = CliRunner().invoke(core.cli.app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.slow
def test_models_and_predictions(repository, register_echo, monkeypatch):
    register_echo(1.0, 0.5)
    register_echo(2.0, 0.6)
    first, second = kindred("models", "list").splitlines()
    assert first.split()[:3] == ["echo", "v2", "champion"]
    assert "first champion" in second
    assert kindred("models", "rollback", "echo") == "echo v1 is the champion again\n"
    assert kindred("models", "promote", "echo", "2") == "echo v2 is the champion\n"
    assert kindred("models", "card", "echo", "--alias", "1").startswith("# Echo\n")
    with pytest.raises(RegistryError, match="an alias, or one of the versions"):
        kindred("models", "card", "echo", "--alias", "nobody")

    # `predict` and `serve` go on as another process, with the model's own code in front.
    commands = []
    monkeypatch.setattr("core.cli.processes.become", commands.append)
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONSAFEPATH", "")
    Path("rows.csv").write_text("text,times\nab,2\nbug,1\n,1\n")
    kindred("predict", "echo", "rows.csv", "-o", "answers.jsonl")
    kindred("serve", "echo", "--alias", "1", "--port", "7000", "--max-mib", "2")
    (predict, serve) = commands
    folder = Path(predict[4])
    assert predict[1:4] == ["-P", "-m", "core.tracking.batch"]
    assert (folder / "code" / "core" / "tracking" / "batch.py").is_file()
    assert serve[3] == "core.tracking.server"
    assert serve[5:] == ["--host", "127.0.0.1", "--port", "7000", "--label", "echo v1", "--max-mib", "2.0"]

    monkeypatch.setattr(sys, "argv", ["batch", *predict[4:]])
    assert batch.main() == 0
    answers = [json.loads(line) for line in Path("answers.jsonl").read_text().splitlines()]
    assert answers == [{"row": 0, "prediction": {"text": "abab", "weight": 2.0}}]
    errors = Path("answers.jsonl.errors.jsonl").read_text()
    assert "text in row 2 is missing" in errors
    assert "a bug with a secret" in errors
    monkeypatch.setattr(sys, "argv", ["batch", *predict[4:5], "absent.csv", "out.jsonl"])
    assert batch.main() == 2

    monkeypatch.setattr(sys, "argv", ["check", str(folder), "--not-from", str(repository / "pipelines")])
    assert check.main() == 0


def test_module_that_comes_from_the_repository_is_named(tmp_path, monkeypatch):
    model = tmp_path / "mlartifacts" / "model"
    for name, file in {"stray": tmp_path / "stray.py", "own": model / "own.py", "builtin": None}.items():
        module = ModuleType(name)
        module.__file__ = str(file) if file else None
        monkeypatch.setitem(sys.modules, f"kindred_test_{name}", module)
    assert check.borrowed_modules(model, tmp_path) == ["kindred_test_stray"]
