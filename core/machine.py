"""One line that says on which machine and with which versions a figure was measured."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def machine(*packages: str) -> str:
    """Processor, cores this process may use, Python, and the versions of ``packages``.

    >>> machine("torch", "nothing").endswith(f"torch {version('torch')}, nothing not installed")
    True
    """
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = (line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parts = [next(names, platform.machine()), f"{cores} cores", f"Python {platform.python_version()}"]
    return ", ".join([*parts, *map(_release, packages)])


def _release(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"{package} not installed"
