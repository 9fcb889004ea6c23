"""DVC tracks no imports: what a stage imports must be among its deps, and no dep may be left over."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {path.parent.name for path in ROOT.glob("*/__init__.py")}


def stages() -> list[tuple[str, str, dict]]:
    """(pipeline, stage, its definition) of every pipeline's dvc.yaml."""
    found = []
    for file in sorted(ROOT.glob("pipelines/*/dvc.yaml")):
        for name, stage in yaml.safe_load(file.read_text())["stages"].items():
            found.append((file.parent.name, name, stage))
    return found


ALL = [pytest.param(*one, id=f"{one[0]}-{one[1]}") for one in stages()]


@cache
def imports(file: Path) -> frozenset[Path]:
    """Files of the repository that a module imports, at its top or inside a function, not for type checks."""
    found: set[Path] = set()
    todo: list[ast.AST] = [ast.parse(file.read_text(encoding="utf-8"))]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            todo += node.orelse
            continue
        if isinstance(node, ast.Import):
            for name in node.names:
                found |= files_of(name.name)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= files_of(node.module)
            for name in node.names:
                found |= files_of(f"{node.module}.{name.name}")
        todo += ast.iter_child_nodes(node)
    return frozenset(found)


def files_of(module: str) -> set[Path]:
    """The file of a module and the ``__init__.py`` of each package around it; none for what is not ours."""
    parts = module.split(".")
    if parts[0] not in PACKAGES:
        return set()
    found = set()
    for depth in range(1, len(parts) + 1):
        place = ROOT.joinpath(*parts[:depth])
        for file in (place / "__init__.py", place.with_suffix(".py")):
            if file.is_file():
                found.add(file)
    return found


def closure(start: Path) -> set[Path]:
    """All files that a module needs, itself included."""
    seen: set[Path] = set()
    todo = [start]
    while todo:
        file = todo.pop()
        if file not in seen:
            seen.add(file)
            todo += imports(file)
    return seen


def code_deps(stage: dict) -> list[Path]:
    """The deps of a stage that are code of the repository."""
    deps = [ROOT / dep for dep in stage.get("deps", []) if isinstance(dep, str)]
    return [dep for dep in deps if dep.relative_to(ROOT).parts[0] in PACKAGES]


def test_imports_are_found_inside_functions_and_not_under_type_checking(tmp_path):
    module = tmp_path / "module.py"
    module.write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from core import momentum\n"
        "def f():\n    from core.evaluation import retrieval\n    import json\n"
    )
    found = {path.relative_to(ROOT).as_posix() for path in imports(module)}
    assert found == {"core/__init__.py", "core/evaluation/__init__.py", "core/evaluation/retrieval.py"}


@pytest.mark.parametrize(("pipeline", "name", "stage"), ALL)
def test_every_module_that_a_stage_imports_is_a_dep(pipeline, name, stage):
    deps = code_deps(stage)
    script = ROOT / "pipelines" / pipeline / f"{name}.py"
    missing = [
        file.relative_to(ROOT).as_posix()
        for file in sorted(closure(script))
        if file.stat().st_size and not any(file == dep or dep in file.parents for dep in deps)
    ]
    assert missing == [], f"add to the deps of {name} in pipelines/{pipeline}/dvc.yaml"


@pytest.mark.parametrize(("pipeline", "name", "stage"), ALL)
def test_every_dep_is_used_by_its_stage(pipeline, name, stage):
    used = closure(ROOT / "pipelines" / pipeline / f"{name}.py")
    idle = [
        dep.relative_to(ROOT).as_posix()
        for dep in code_deps(stage)
        if not any(file == dep or dep in file.parents for file in used)
    ]
    assert idle == [], f"remove from the deps of {name} in pipelines/{pipeline}/dvc.yaml"


@pytest.mark.parametrize(("pipeline", "name", "stage"), ALL)
def test_every_params_section_of_a_stage_is_in_the_params_file(pipeline, name, stage):
    for entry in stage.get("params", []):
        (file, sections), *_ = entry.items()
        known = yaml.safe_load((ROOT / file).read_text())
        assert set(sections) <= set(known), f"{name} names a section that {file} lacks"


SETTINGS = sorted(ROOT.glob("pipelines/*/params*.yaml"))


@pytest.mark.parametrize("file", SETTINGS, ids=lambda file: f"{file.parent.name}-{file.name}")
def test_a_params_file_has_every_key_that_dvc_looks_up(file: Path) -> None:
    """Where one is missing, DVC stops, although the settings have a default."""
    values = yaml.safe_load(file.read_text())
    definition = yaml.safe_load((file.parent / "dvc.yaml").read_text())
    wanted = {
        key
        for stage in definition["stages"].values()
        for entry in stage.get("params", [])
        for keys in entry.values()
        for key in keys
    }
    for key in sorted(wanted):
        place = values
        for part in key.split("."):
            assert part in place, f"{file.relative_to(ROOT)} lacks {key}"
            place = place[part]
