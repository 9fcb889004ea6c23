"""A temporary git repository with this tree in it, in which a pipeline really runs.

Its path has a space and an umlaut, there is no home folder, and no process reaches the network.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OFFLINE = Path(__file__).parent / "offline"
collect_ignore = ["offline"]


class Clone:
    """A copy of the working tree as a git repository of its own, and the commands to run in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.network = folder.with_name("network.log")
        listed = subprocess.run(
            ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard", "-z"],
            capture_output=True,
            check=True,
        ).stdout
        for name in filter(None, listed.decode().split("\0")):
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, folder / name)
        self.git("init", "-q")
        self.git("add", "-A")
        self.git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "tree")

    @property
    def environment(self) -> dict[str, str]:
        """Of every command: quiet, offline, homeless, the interpreter of the tests first on the path."""
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("MLFLOW", "KINDRED", "DVC"))
        }
        paths = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        return {
            **kept,
            "PATH": paths,
            "DVC_NO_ANALYTICS": "1",
            "DVC_SITE_CACHE_DIR": str(self.folder / ".kindred" / "dvc"),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "HF_HUB_OFFLINE": "1",
            "HOME": "/proc/nobody",  # not there, and nobody can make it
            "PYTHONPATH": os.pathsep.join(filter(None, [str(OFFLINE), os.environ.get("PYTHONPATH", "")])),
            "KINDRED_TEST_NETWORK_LOG": str(self.network),
        }

    def git(self, *arguments: str) -> str:
        """Run git here and return what it printed."""
        command = ["git", "-C", str(self.folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run ``python -m ...`` here; output and errors come back together."""
        return subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def repro(self, *arguments: str) -> str:
        """``dvc repro``, which must succeed; its output."""
        done = self.python("dvc", "repro", *arguments)
        assert done.returncode == 0, done.stdout[-4000:]
        assert not self.network.exists(), f"tried to reach {self.network.read_text()}"
        return done.stdout

    def repro_and_kill(self, *arguments: str, when: Callable[[], bool], patience: float = 300.0) -> None:
        """``dvc repro``, and kill -9 to it and all it started at the moment when ``when()`` becomes true."""
        log = self.folder / "killed.log"
        with log.open("w") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", "dvc", "repro", *arguments],
                cwd=self.folder,
                env=self.environment,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
            end = time.monotonic() + patience
            while not when():
                assert process.poll() is None, log.read_text()[-4000:]
                assert time.monotonic() < end, "the moment to kill never came"
                time.sleep(0.005)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Clone:
    """One clone for the tests of a module."""
    return Clone(tmp_path_factory.mktemp("clone") / "my läb")
