"""The command line: exit codes, sentences, lazy domains."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer
from typer.testing import CliRunner

import core.cli
from core.cli.exit_codes import MISTAKE, NOTHING_FOUND, STOPPED
from core.errors import DataError

REPOSITORY = Path(__file__).parents[2]


def kindred(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess:
    keep = {
        key: value for key, value in os.environ.items() if key not in ("KINDRED_ROOT", "MLFLOW_TRACKING_URI")
    }
    command = [sys.executable, "-m", "core.cli", *arguments]
    return subprocess.run(
        command, cwd=cwd, env={**keep, "PYTHONPATH": str(REPOSITORY), **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture
def domain(monkeypatch):
    """Installs a domain with two commands, one of which fails as users' mistakes and as bugs do."""
    loaded = []
    app = typer.Typer()

    @app.command()
    def shout(word: str) -> None:
        """Say it loudly."""
        print(word.upper())

    @app.command()
    def fail(kind: str) -> None:
        """Fail."""
        raise DataError("the manifest", seen=3, expected="4") if kind == "user" else ZeroDivisionError("bug")

    def load():
        loaded.append("here")
        return app

    def missing():
        raise ImportError("no module named torch")

    entries = [SimpleNamespace(name="here", load=load), SimpleNamespace(name="gone", load=missing)]
    monkeypatch.setattr(metadata, "entry_points", lambda group: entries if group == core.cli.COMMANDS else [])
    return loaded


def test_help_lists_own_and_domain_commands(domain):
    result = CliRunner().invoke(core.cli.app, ["--help"])
    assert result.exit_code == 0
    for word in ("repro", "models", "serve", "shout", "Say it loudly.", "Exit codes"):
        assert word in result.output


def test_domain_command_runs_and_a_broken_domain_is_only_reported(domain):
    result = CliRunner().invoke(core.cli.app, ["shout", "hey"])
    assert result.stdout == "HEY\n"
    assert result.exit_code == 0
    assert "commands of gone are not available: no module named torch" in result.output


def test_own_command_loads_no_domain(domain):
    CliRunner().invoke(core.cli.app, ["models", "--help"])
    assert domain == []


def test_exit_codes_of_mistakes_and_bugs(domain, monkeypatch, capsys):
    for kind, expected in (("user", 2), ("bug", ZeroDivisionError)):
        monkeypatch.setattr(sys, "argv", ["kindred", "fail", kind])
        with pytest.raises(SystemExit if expected == 2 else expected) as caught:
            core.cli.main()
        if expected == 2:
            assert caught.value.code == 2
            assert capsys.readouterr().err.endswith("kindred: the manifest: saw 3, expected 4\n")


def test_exit_codes_are_the_same_in_the_help_and_on_the_pages(domain):
    said = " ".join(CliRunner().invoke(core.cli.app, ["--help"]).output.split())
    pages = [
        (REPOSITORY / "docs" / name).read_text(encoding="utf-8") for name in ("index.md", "reliability.md")
    ]
    for text in (said, *(" ".join(page.split()) for page in pages)):
        codes = re.search(r"Exit codes: (.+?)\. ", f"{text}. ")
        assert codes is not None
        found = {int(part.split()[0]): part for part in re.split(r"[;,] (?=\d)", codes[1])}
        assert set(found) == {0, 1, MISTAKE, NOTHING_FOUND, STOPPED}
        assert "nothing" in found[NOTHING_FOUND]
        assert "Ctrl-C" in found[STOPPED]


def test_help_imports_nothing_heavy(tmp_path):
    heavy = {"mlflow", "torch", "pandas", "numpy", "dvc", "jinja2"}
    code = f"import sys, core.cli; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["repro"], "not inside a Kindred repository"),
        (["validate", "x"], "not inside a Kindred repository"),
        (["new", "x", "folder"], "not inside a Kindred repository"),
        (["predict", "x", "rows.txt"], "expected a .csv"),
        (["nonsense"], "No such command"),
        (["predict", "x"], "Missing argument"),
        (["ui", "--port", "many"], "integer"),
    ],
)
def test_mistakes_end_with_2_and_one_sentence(tmp_path, monkeypatch, capsys, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KINDRED_ROOT", raising=False)
    monkeypatch.setattr(sys, "argv", ["kindred", *arguments])
    with pytest.raises(SystemExit) as caught:
        core.cli.main()
    assert caught.value.code == 2
    assert sentence in capsys.readouterr().err


def test_unknown_pipeline_is_answered_with_the_known_ones(tmp_path):
    (tmp_path / "pipelines" / "ecg_prototypes").mkdir(parents=True)
    (tmp_path / "pipelines" / "ecg_prototypes" / "dvc.yaml").write_text("stages: {}\n")
    (tmp_path / "pyproject.toml").touch()
    done = kindred("repro", "ecg_prototype", cwd=tmp_path)
    assert done.returncode == 2
    assert "saw 'ecg_prototype', expected one of ecg_prototypes" in done.stderr


def test_new_hands_the_folder_that_was_meant_to_the_pipeline(tmp_path, monkeypatch):
    root = tmp_path / "kindred"
    (root / "pipelines" / "toy").mkdir(parents=True)
    (root / "pipelines" / "toy" / "dvc.yaml").write_text("stages: {}\n")
    monkeypatch.setenv("KINDRED_ROOT", str(root))
    for name in ("PATH", "DVC_SITE_CACHE_DIR", "PYTHONHASHSEED"):  # the command sets them for its children
        monkeypatch.setenv(name, os.environ.get(name, ""))
    monkeypatch.chdir(tmp_path)
    calls: list[tuple[str, ...]] = []
    monkeypatch.setattr("core.cli.pipelines.run", lambda *arguments: calls.append(arguments))
    assert CliRunner().invoke(core.cli.app, ["new", "toy", "my data"]).exit_code == 0
    assert calls == [("pipelines.toy.own", str(tmp_path / "my data"))]  # relative to where the user is
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(core.cli.app, ["new", "toi", "my data"])
    assert "expected one of toy" in str(result.exception)


@pytest.mark.slow
def test_models_commands_on_an_empty_registry(tmp_path):
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pyproject.toml").touch()
    done = kindred("models", "list", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "No model is registered yet" in done.stdout
    done = kindred("serve", "x", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("kindred: no model is registered here: there is no ")
    assert not list(tmp_path.glob("mlflow.db*"))


EVALUATE = """
    import json
    from pathlib import Path
    metric = {"label": "MRR", "value": 0.5, "low": None, "high": None, "n": 10}
    out = Path("outputs/toy")
    out.mkdir(parents=True, exist_ok=True)
    (out / "metrics.json").write_text(json.dumps({"pipeline": "toy", "title": "Toy", "source": "demo",
        "demo": True, "data_digest": "d", "primary": {"name": "mrr"}, "metrics": {"mrr": metric}}))
"""
TOY = """
stages:
  evaluate:
    wdir: ../..
    cmd: python pipelines/toy/evaluate.py
    deps: [pipelines/toy/evaluate.py]
    outs: [outputs/toy/metrics.json]
"""
ROOT_STAGE = """
stages:
  report:
    cmd: python -m pipelines.report
    deps: [outputs/toy/metrics.json]
    outs:
      - outputs/report: {cache: false, persist: true}
"""


@pytest.mark.pipeline
@pytest.mark.slow
def test_repro_runs_the_pipeline_the_report_and_the_table(tmp_path):
    root = tmp_path / "my läb"
    (root / "pipelines" / "toy").mkdir(parents=True)
    (root / "pyproject.toml").touch()
    (root / "pipelines" / "toy" / "evaluate.py").write_text(textwrap.dedent(EVALUATE))
    (root / "pipelines" / "toy" / "dvc.yaml").write_text(TOY)
    (root / "dvc.yaml").write_text(ROOT_STAGE)
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "a.txt").write_text("1")
    (root / "pipelines" / "toy" / "params.yaml").write_text(f"data: {{root: {tmp_path / 'scans'}}}")
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], cwd=root, check=True)
    done = kindred("repro", cwd=root / "pipelines")
    assert done.returncode == 0, done.stderr
    assert "Toy (demo data)" in done.stdout
    assert (root / "outputs" / "report" / "index.html").is_file()
    again = kindred("repro", cwd=root)
    assert "Running stage" not in again.stdout
    assert "Toy (demo data)" in again.stdout
    (tmp_path / "scans" / "a.txt").write_text("2")
    changed = kindred("repro", "toy", cwd=root)
    assert changed.stdout.count("Running stage") == 1
    assert f"toy: changed since its last run: {tmp_path / 'scans'}" in changed.stderr
    assert "Running stage" not in kindred("repro", "toy", cwd=root).stdout
    (root / "pipelines" / "toy" / "evaluate.py").write_text("raise SystemExit(2)\n")
    failed = kindred("repro", "toy", cwd=root)
    assert failed.returncode == 2
    assert "failed to reproduce" in failed.stderr
