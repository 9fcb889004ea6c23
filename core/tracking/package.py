"""What travels with a registered model: its code, its pinned requirements, its checksums."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from core.errors import CheckpointError, RegistryError
from core.files import read_json, sha256_file, write_json
from core.tracking.pickles import refuse_pickle

CHECKSUMS = "checksums"
_PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==(\S+)$")
_SKIP = ("__pycache__", "*.pyc", "*.pyo", "*.so", ".*", "*.ipynb")


def locked_requirements(names: Iterable[str], lock: str | os.PathLike[str]) -> list[str]:
    """Pins of the named distributions and of everything they need, as the lock has them.

    Args:
        names: distributions that the model imports, e.g. ``["torch", "tokenizers"]``; mlflow is always added.
        lock: ``requirements.lock``, one ``name==version`` a line.

    Raises:
        RegistryError: the lock is missing, or a named distribution is not in it.
    """
    pins = _read_lock(Path(lock))
    todo = ["mlflow", *names]
    for name in todo:
        if _canonical(name) not in pins:
            raise RegistryError(f"requirement {name!r} is not pinned in {lock}", remedy="add it to the lock")
    chosen: set[str] = set()
    while todo:
        name = _canonical(todo.pop())
        if name in chosen or name not in pins:
            continue
        chosen.add(name)
        todo += _needs(name)
    return sorted(pins[name] for name in chosen)


def copy_code(packages: Sequence[str], root: str | os.PathLike[str], target: Path) -> list[Path]:
    """Copy the named packages from ``root`` into ``target`` and return the top folders for ``code_paths``.

    ``medical.ecg`` copies ``medical/__init__.py`` and ``medical/ecg``, not its neighbours; caches and
    compiled files stay behind.
    """
    for package in packages:
        *parents, _ = package.split(".")
        source = Path(root).joinpath(*package.split("."))
        if not (source / "__init__.py").is_file():
            raise RegistryError(
                f"package {package!r} is not below {root}", remedy="name a package of the repository"
            )
        for depth in range(1, len(parents) + 1):
            init = Path(*parents[:depth]) / "__init__.py"
            (target / init).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(Path(root) / init, target / init)
        shutil.copytree(
            source,
            target.joinpath(*package.split(".")),
            ignore=shutil.ignore_patterns(*_SKIP),
            dirs_exist_ok=True,
        )
    return sorted(path for path in target.iterdir() if path.is_dir())


def checksums(artifacts: Mapping[str, str | os.PathLike[str]]) -> dict[str, dict[str, str]]:
    """SHA-256 of every file of every artifact: ``{artifact: {relative path ('' for a file): digest}}``.

    Raises:
        CheckpointError: a file is missing, holds a pickle, or is a link.
    """
    table: dict[str, dict[str, str]] = {}
    for name, place in artifacts.items():
        path = Path(place)
        if path.is_file():
            files = {"": path}
        elif path.is_dir():
            files = {
                file.relative_to(path).as_posix(): file
                for file in sorted(path.rglob("*"))
                if not file.is_dir()
            }
        else:
            raise CheckpointError(
                f"artifact {name!r} is missing", seen=str(path), remedy="run the stage that writes it"
            )
        for file in files.values():
            if file.is_symlink():
                raise CheckpointError(f"{file} in artifact {name!r} is a link", expected="a plain file")
            refuse_pickle(file)
        table[name] = {relative: sha256_file(file) for relative, file in files.items()}
    return table


def write_checksums(path: Path, artifacts: Mapping[str, str | os.PathLike[str]]) -> dict[str, dict[str, str]]:
    """Write the artifact named ``checksums`` and return its content."""
    table = checksums(artifacts)
    write_json(path, table)
    return table


def checked_artifacts(context: Any) -> dict[str, Path]:
    """Paths of a served model's artifacts, after every file's SHA-256 was compared; for ``load_context``.

    Args:
        context: the ``PythonModelContext`` that MLflow hands to ``load_context``.

    Raises:
        CheckpointError: naming the first file that is changed, missing or not expected.
    """
    paths = {name: Path(place) for name, place in context.artifacts.items()}
    if CHECKSUMS not in paths:
        raise CheckpointError(
            "the model carries no checksums", remedy="register it with core.tracking.register"
        )
    expected: dict[str, dict[str, str]] = read_json(paths.pop(CHECKSUMS))
    found = checksums({name: paths[name] for name in expected if name in paths})
    for name, files in expected.items():
        for relative, digest in files.items():
            seen = found.get(name, {}).get(relative)
            if seen != digest:
                raise CheckpointError(
                    f"SHA-256 of {name}/{relative}".rstrip("/"),
                    seen="no such file" if seen is None else seen[:16] + "...",
                    expected=digest[:16] + "...",
                    remedy="the model was damaged or changed after registration: register it again",
                )
        extra = sorted(set(found[name]) - set(files))
        if extra:
            raise CheckpointError(
                f"unexpected file {extra[0]!r} in artifact {name!r}", remedy="register the model again"
            )
    return paths


def content_digest(parts: Mapping[str, Any], code: Path) -> str:
    """One SHA-256 over everything that decides what a model answers: checksums, settings and code."""
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode())
    for file in sorted(path for path in code.rglob("*") if path.is_file()):
        digest.update(file.relative_to(code).as_posix().encode() + b"\0" + sha256_file(file).encode())
    return digest.hexdigest()


def _read_lock(lock: Path) -> dict[str, str]:
    try:
        lines = lock.read_text(encoding="utf-8").splitlines()
    except OSError:
        raise RegistryError(f"{lock} is missing", remedy="run from the repository root") from None
    pins = (_PIN.match(line.split(";")[0].split(" ")[0].strip()) for line in lines)
    return {_canonical(pin[1]): f"{pin[1]}=={pin[2]}" for pin in pins if pin}


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _needs(name: str) -> list[str]:
    """Direct requirements of an installed distribution that apply here; none when it is not installed."""
    from packaging.requirements import Requirement

    try:
        lines = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return []
    needed = (Requirement(line) for line in lines)
    return [one.name for one in needed if one.marker is None or one.marker.evaluate({"extra": ""})]
