"""A validate stage reads files and trains nothing: it starts without the libraries that take seconds to import."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "lightning", "transformers", "mlflow", "matplotlib", "sklearn")
PIPELINES = sorted(path.parent.name for path in ROOT.glob("pipelines/*/dvc.yaml"))


IMPORT_ALL = """
import ast, importlib, json, sys
from pathlib import Path

found = {}
for name in json.loads(sys.argv[1]):
    module = importlib.import_module(name)
    for node in ast.walk(ast.parse(Path(module.__file__).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module != "__future__":
            exec(compile(ast.Module([node], []), name, "exec"), {})
    found[name] = [heavy for heavy in json.loads(sys.argv[2]) if heavy in sys.modules]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def loaded() -> dict[str, list[str]]:
    """What is heavy after each validate module, and what its functions import, in one process."""
    modules = [f"pipelines.{name}.validate" for name in PIPELINES]
    command = [sys.executable, "-c", IMPORT_ALL, json.dumps(modules), json.dumps(HEAVY)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_validate_imports_nothing_heavy(loaded, pipeline):
    assert loaded[f"pipelines.{pipeline}.validate"] == []
