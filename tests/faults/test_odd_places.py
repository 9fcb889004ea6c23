"""Two runs at once, a checkout that cannot be written, no home folder; all of it in a path with space and umlaut."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
STAGE = """
    import os, time
    from pathlib import Path
    from core.config import Settings
    from core.stage import Stage, run_stage

    class Params(Settings):
        pass

    def main(settings: Params, stage: Stage) -> None:
        with Path("log").open("a") as log:
            log.write("start\\n")
        while Path("hold").exists():
            time.sleep(0.05)
        stage.outputs.mkdir(parents=True, exist_ok=True)
        (stage.outputs / "table.csv").write_text("a,b\\n")

    if __name__ == "__main__":
        run_stage(main, Params)
"""
PIPELINE = """
stages:
  work:
    wdir: ../..
    cmd: python -B -m pipelines.toy.work
    deps: [pipelines/toy/work.py]
    outs: [outputs/toy/table.csv]
"""


@pytest.fixture(scope="module")
def toy(tmp_path_factory) -> Path:
    """A repository with one stage, in a folder with a space and an umlaut."""
    root = tmp_path_factory.mktemp("faults") / "my läb"
    home = root / "pipelines" / "toy"
    home.mkdir(parents=True)
    (root / "pyproject.toml").touch()
    (root / ".gitignore").write_text("/outputs\n/.kindred\n/log\n/hold\n")
    (root / "pipelines" / "__init__.py").touch()
    shutil.copy(REPOSITORY / "pipelines" / "report.py", root / "pipelines")
    (home / "work.py").write_text(textwrap.dedent(STAGE))
    (home / "params.yaml").write_text("{}\n")
    (home / "dvc.yaml").write_text(PIPELINE)
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], cwd=root, env=environment(root), check=True)
    return root


def environment(root: Path) -> dict[str, str]:
    """No home folder that could be made, quiet, this interpreter and this tree first."""
    kept = {
        key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW", "KINDRED", "DVC"))
    }
    return {
        **kept,
        "HOME": "/proc/nobody",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(root / ".kindred" / "dvc"),
    }


def kindred(root: Path, *arguments: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-B", "-m", "core.cli", *arguments],
        cwd=root, env=environment(root), capture_output=True, text=True, check=False, **options,
    )  # fmt: skip


@pytest.mark.slow
def test_two_dvc_repro_at_once(toy):
    (toy / "hold").touch()
    with (toy / "first.log").open("w") as log:
        first = subprocess.Popen(
            [sys.executable, "-m", "dvc", "repro", "pipelines/toy/dvc.yaml"],
            cwd=toy, env=environment(toy), stdout=log, stderr=log,
        )  # fmt: skip
        try:
            end = time.monotonic() + 120
            while not (toy / "log").exists():
                assert first.poll() is None, (toy / "first.log").read_text()
                assert time.monotonic() < end
                time.sleep(0.05)
            second = kindred(toy, "repro", "toy")
            (toy / "hold").unlink()
            assert first.wait(timeout=120) == 0, (toy / "first.log").read_text()
        finally:
            first.kill()
            first.wait()
    assert second.returncode == 2, second.stderr
    assert f"PID {first.pid}" in second.stderr
    assert "Traceback" not in second.stderr
    assert (toy / "log").read_text() == "start\n"
    assert (toy / "outputs" / "toy" / "table.csv").read_text() == "a,b\n"


@pytest.fixture
def read_only(toy, without_override):
    """The repository with every right to write taken away, from root too."""
    copy = toy.with_name("read only")
    shutil.copytree(toy, copy, symlinks=True)
    places = [copy, *copy.rglob("*")]
    for place in places:
        place.chmod(place.stat().st_mode & ~0o222)
    tried = subprocess.run(["touch", str(copy / "x")], preexec_fn=without_override, capture_output=True)
    if tried.returncode == 0:
        pytest.skip("this user may write everywhere")
    yield copy
    for place in places:
        place.chmod(place.stat().st_mode | 0o200)


def test_a_read_only_checkout(read_only, without_override):
    stage = [sys.executable, "-B", "-m", "pipelines.toy.work"]
    done = subprocess.run(
        stage, cwd=read_only, env=environment(read_only), preexec_fn=without_override,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error in toy/work: lock file")
    assert done.stderr.count("\n") == 1
    for command, words in ((["repro", "toy"], "is read-only"), (["report"], "no permission")):
        done = kindred(read_only, *command, preexec_fn=without_override)
        assert done.returncode == 2, done.stderr
        assert words in done.stderr
        assert "Traceback" not in done.stderr
