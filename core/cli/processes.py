"""Other processes that the commands start: stages, dvc, and models with their own copy of the code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from core.errors import ConfigError, RegistryError

# errno 13: no right, 28: disk full, 30: read-only, 122: quota
_OUTSIDE = rb"is busy, it is being blocked|Unable to acquire lock|unexpected error - \[Errno (13|28|30|122)\]"


def enter_root() -> Path:
    """Go to the repository root, where DVC and the stage scripts run, with the quiet environment set."""
    from core.tracking.store import quiet_mlflow, repository_root

    root = repository_root()
    if not (root / "pipelines").is_dir():
        raise ConfigError(
            f"{Path.cwd()} is not inside a Kindred repository", remedy="cd into it, or set KINDRED_ROOT"
        )
    quiet_mlflow()
    os.environ.setdefault("DVC_SITE_CACHE_DIR", str(root / ".kindred" / "dvc"))
    os.environ.setdefault("PYTHONHASHSEED", "0")
    # Stages say `python`: that must be the interpreter that runs now, also without an activated environment.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    os.chdir(root)
    return root


def definition(pipeline: str) -> Path:
    """The ``dvc.yaml`` of a pipeline of this repository. Raises ConfigError that names the known ones."""
    known = sorted(path.parent.name for path in Path("pipelines").glob("*/dvc.yaml"))
    if pipeline not in known:
        raise ConfigError("pipeline", seen=pipeline, expected=f"one of {', '.join(known) or 'none, so far'}")
    return Path("pipelines") / pipeline / "dvc.yaml"


def run(module: str, *arguments: str) -> None:
    """Run a module in a process of its own; its failure is ours, with no second message."""
    status = subprocess.run([sys.executable, "-m", module, *arguments], check=False).returncode
    if status:
        sys.exit(status if status in (2, 130) else 1)


def run_dvc(*arguments: str) -> None:
    """Run dvc; where a stage failed, end with the stage's own exit code, which dvc reports only in words.

    That another dvc is at work on the same outputs, that the disk is full or a file is another user's is nobody's
    defect either: dvc names the process or the file.

    Raises:
        ConfigError: the repository is read-only.
    """
    if not os.access(Path.cwd(), os.W_OK):
        raise ConfigError(
            f"{Path.cwd()} is read-only",
            expected="a folder that you may write to",
            remedy="copy the repository there, or ask for the right to write",
        )
    process = subprocess.Popen([sys.executable, "-m", "dvc", *arguments], stderr=subprocess.PIPE)
    assert process.stderr is not None
    tail = b""
    while chunk := os.read(process.stderr.fileno(), 65536):
        sys.stderr.buffer.write(chunk)
        sys.stderr.buffer.flush()
        tail = (tail + chunk)[-4096:]
    if process.wait():
        found = [int(code) for code in re.findall(rb"exited with (\d+)", tail)]
        if re.search(_OUTSIDE, tail):
            found = [2]
        sys.exit(found[-1] if found and found[-1] in (2, 130) else 1)


def run_model(module: str, folder: Path, arguments: list[str]) -> None:
    """Go on as a process that imports the model's own copy of the code."""
    from core.tracking.check import model_environment

    if not (folder / "code" / "core").is_dir():
        raise RegistryError(
            f"model in {folder}", expected="code/core", remedy="register it with its pipeline"
        )
    os.environ.update(model_environment(folder))
    become([sys.executable, "-P", "-m", module, str(folder), *arguments])


def become(command: list[str]) -> None:
    """Go on as another program."""
    sys.stdout.flush()
    os.execv(command[0], command)
