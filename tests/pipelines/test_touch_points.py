"""Every pipeline is known wherever CONTRIBUTING.md says that it must be: the list is checked, not remembered."""

from __future__ import annotations

import importlib
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
NAMES = sorted(path.parent.name for path in (ROOT / "pipelines").glob("*/dvc.yaml"))
FILES = (
    "pipelines/{name}/params.yaml",
    "pipelines/{name}/params.smoke.yaml",
    "pipelines/{name}/params.paper.yaml",
    "pipelines/{name}/validate.py",
    "pipelines/{name}/evaluate.py",
    "pipelines/{name}/register.py",
    "pipelines/{name}/evidence.py",
    "pipelines/{name}/own.py",
    "notebooks/{name}.py",
    "notebooks/{name}.ipynb",
    "benchmarks/{name}.py",
    "docs/pipelines/{name}.md",
    "tests/pipelines/test_{name}_repro.py",
)


@pytest.mark.parametrize("name", NAMES)
def test_pipeline_is_known_everywhere(name):
    missing = [file.format(name=name) for file in FILES if not (ROOT / file.format(name=name)).is_file()]
    assert missing == []
    report = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["report"]["deps"]
    wanted = [
        f"outputs/{name}/metrics.json", f"outputs/{name}/registered.json", f"pipelines/{name}/params.yaml"
    ]  # fmt: skip
    assert [file for file in wanted if file not in report] == []
    assert f"pipelines/{name}.md" in (ROOT / "mkdocs.yml").read_text()
    assert f"(docs/pipelines/{name}.md)" in (ROOT / "README.md").read_text()
    stages = yaml.safe_load((ROOT / "pipelines" / name / "dvc.yaml").read_text())["stages"]
    assert (next(iter(stages)), next(reversed(stages))) == ("validate", "register")
    assert f"outputs/{name}/validation.json" in stages["register"]["deps"]
    own = importlib.import_module(f"pipelines.{name}.own").OWN
    assert own.pipeline == name
    assert own.form.columns[0].name == "id"


def test_every_package_is_checked_and_tested():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    assert packages <= set(project["mypy"]["packages"])
    assert packages - {"pipelines"} <= set(project["pytest"]["ini_options"]["testpaths"])
    assert packages == set(project["importlinter"]["root_packages"])
    layers = " ".join(project["importlinter"]["contracts"][0]["layers"])
    assert all(package in layers for package in packages)
    included = {pattern.rstrip("*") for pattern in project["setuptools"]["packages"]["find"]["include"]}
    assert packages == included
