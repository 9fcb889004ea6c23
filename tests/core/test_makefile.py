"""The Makefile says what it can do, and says what is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def make(*arguments: str, cwd: Path = REPOSITORY) -> subprocess.CompletedProcess:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_help_names_every_target():
    listed = make("help").stdout
    for target in (
        "repro",
        "test",
        "test-fast",
        "lint",
        "bench",
        "evidence",
        "serve",
        "ui",
        "report",
        "docs",
        "clean",
    ):
        assert f"\n  {target} " in listed


@pytest.mark.parametrize("target", ["serve", "evidence"])
def test_missing_pipeline_is_asked_for(target, tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(shutil.which("true"))
    done = make(f"VENV={tmp_path}", target)
    assert done.returncode != 0
    assert "PIPELINE=" in done.stderr


def test_environment_of_the_users_own_must_exist(tmp_path):
    done = make(f"VENV={tmp_path / 'nowhere'}", "test-fast")
    assert done.returncode != 0
    assert "there is no" in done.stderr


def test_recipes_quote_a_path_with_spaces(tmp_path):
    root = tmp_path / "my läb"
    (root / "my env" / "bin").mkdir(parents=True)
    shutil.copy(REPOSITORY / "Makefile", root)
    python = root / "my env" / "bin" / "python"
    python.write_text('#!/bin/bash\necho "asked: $*"\n')
    python.chmod(0o755)
    done = make(f"VENV={root / 'my env'}", "repro", "PIPELINE=code_search", cwd=root)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "asked: -m core.cli repro code_search"
