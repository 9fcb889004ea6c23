"""Whether files that a pipeline's params name have changed since its last run, which DVC does not look at.

DVC follows settings and code. What lies below ``data.root``, the manifest, and other files that params name belong to
the user: they may be large, and lie anywhere.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from core.data.digest import digest_of
from core.files import read_json, write_json

KEPT = Path(".kindred/sources")
FOLLOWED = ("pipelines", "outputs", ".kindred")
"""Folders of the repository whose files DVC follows itself, or that a run writes."""
LARGEST = 1 << 24  # bytes of a file that is read rather than judged by its size and time


def named_files(params: Any) -> dict[str, str]:
    """State of every file and folder that a value of ``params`` names.

    Args:
        params: what a params file holds; relative paths count from the working directory.

    Returns:
        path -> digest: of a file's content (of its size and time where it is large), or of the names, sizes and times
        of all files below a folder.
    """
    own = [Path(folder).resolve() for folder in FOLLOWED]
    found: dict[str, str] = {}
    for text in sorted(set(_strings(params))):
        try:
            place = Path(text).expanduser().resolve()
            if place == Path.cwd() or any(place.is_relative_to(folder) for folder in own):
                continue
            if place.is_dir():
                found[str(place)] = digest_of({str(each): _stamp(each) for each in _below(place)})
            elif place.is_file():
                large = place.stat().st_size > LARGEST
                found[str(place)] = digest_of(_stamp(place) if large else place.read_bytes())
        except (
            OSError,
            ValueError,
            RuntimeError,
        ):  # a text that cannot be a path, a file that cannot be read
            continue
    return found


def changed_since(pipeline: str) -> tuple[list[str], dict[str, str]]:
    """(files and folders that the pipeline's params name and that differ from its last run, what to remember).

    What was not named then is none of them: DVC sees that the params changed.
    """
    file = Path("pipelines") / pipeline / "params.yaml"
    try:
        now = named_files(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):  # the stage says what is wrong with it
        return [], {}
    kept = KEPT / f"{pipeline}.json"
    before = read_json(kept) if kept.is_file() else {}
    return [place for place in now if place in before and before[place] != now[place]], now


def remember(pipeline: str, state: dict[str, str]) -> None:
    """Keep what `changed_since` gave, after the run that it belongs to."""
    write_json(KEPT / f"{pipeline}.json", state)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from _strings(each)


def _below(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place) / name for name in sorted(files))


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        state = path.stat()
    except OSError:  # gone meanwhile, or a link to nothing
        return None
    return state.st_size, state.st_mtime_ns
