"""The files of a repository or plain folder: git's own list, or a walk that reads nested .gitignore files."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from code_search.data.skip import VENDORED, skip_by_name
from core.errors import DataError

_GIT = (
    "git",
    "-c",
    "core.fsmonitor=false",
    "-c",
    "core.untrackedCache=false",
    "-c",
    "core.hooksPath=/dev/null",
)
_CONTROL = frozenset((".git", ".hg", ".svn"))


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file to read: relative POSIX path, bytes, and the modification time that tells whether it changed."""

    path: str
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that is not indexed, and why."""

    path: str
    reason: str


def list_files(
    root: str | os.PathLike[str],
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    max_file_kb: int = 1000,
) -> tuple[list[SourceFile], list[Skipped]]:
    """List the files to index under ``root`` in the order of their paths, without reading them.

    In a git work tree these are the tracked files and the untracked ones that git does not ignore; elsewhere
    a walk that honours .gitignore files (nested, with negation). Symbolic links are never followed.

    Args:
        root: a folder.
        include: patterns in .gitignore syntax; with any, only matching files are taken, and data, generated
            or vendored files that match are taken as well (credentials never are).
        exclude: patterns in .gitignore syntax that are left out.
        max_file_kb: larger files are skipped.

    Returns:
        (files, skipped). Files that .gitignore or ``exclude`` leaves out are in neither list.

    Raises:
        DataError: the root is missing or no folder.
    """
    from pathspec import GitIgnoreSpec

    base = Path(root)
    if not base.is_dir():
        raise DataError(f"{base} is not a folder", remedy="pass the path of a repository or a folder")
    wanted = GitIgnoreSpec.from_lines(include) if include else None
    unwanted = GitIgnoreSpec.from_lines(exclude) if exclude else None
    real = os.path.realpath(base)
    files: list[SourceFile] = []
    skipped: list[Skipped] = []
    inside: dict[str, bool] = {}
    for path in sorted(_git_files(base) or _walk(base, skipped, everything=bool(wanted))):
        if not path.isprintable() and _unwritable(path):
            skipped.append(
                Skipped(path.encode("utf-8", "backslashreplace").decode(), "file name is not UTF-8")
            )
            continue
        if (wanted and not wanted.match_file(path)) or (unwanted and unwanted.match_file(path)):
            continue
        reason = skip_by_name(path)
        if reason and (not wanted or reason == "looks like credentials"):
            skipped.append(Skipped(path, reason))
            continue
        folder = path.rpartition("/")[0]
        if folder not in inside:
            inside[folder] = is_inside(os.path.realpath(base / folder), real)
        found = _examine(base, path, max_file_kb) if inside[folder] else Skipped(path, "outside the root")
        if isinstance(found, SourceFile):
            files.append(found)
        else:
            skipped.append(found)
    return files, skipped


def _unwritable(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return True
    return False


def is_inside(folder: str, root: str) -> bool:
    """Whether ``folder`` is ``root`` or below it; both with links resolved."""
    return folder == root or folder.startswith(root.rstrip(os.sep) + os.sep)


def _examine(base: Path, path: str, max_file_kb: int) -> SourceFile | Skipped:
    try:
        status = os.lstat(f"{base}/{path}")
    except OSError:
        return Skipped(path, "deleted")
    if stat.S_ISLNK(status.st_mode):
        return Skipped(path, "symbolic link")
    if stat.S_ISDIR(status.st_mode):
        return Skipped(path, "submodule")
    if not stat.S_ISREG(status.st_mode):
        return Skipped(path, "not a regular file")
    if status.st_size > max_file_kb * 1000:
        return Skipped(path, f"over {max_file_kb} kB")
    return SourceFile(path, status.st_size, status.st_mtime_ns)


def _git_files(base: Path) -> list[str] | None:
    """What git lists below ``base``; None without git or work tree, or where git ignores the folder."""
    if not shutil.which("git") or _run_git(base, "rev-parse", "--is-inside-work-tree").strip() != b"true":
        return None
    if _run_git(base, "rev-parse", "--show-prefix").strip() and _run_git(base, "check-ignore", "--", "."):
        return None
    output = _run_git(base, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate")
    names = {os.fsdecode(name) for name in output.split(b"\0") if name}
    return sorted(names)


def _run_git(base: Path, *arguments: str) -> bytes:
    """Standard output of a git command that only reads; b"" where it fails."""
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        environment.pop(name, None)
    command = [*_GIT, "-C", str(base), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, env=environment, check=False, timeout=120)
    except (OSError, subprocess.TimeoutExpired):
        return b""
    return done.stdout if done.returncode == 0 else b""


def _walk(base: Path, skipped: list[Skipped], *, everything: bool) -> Iterator[str]:
    """Relative paths of all files that no .gitignore leaves out.

    Folders of other people's code are not entered and put on ``skipped``, unless ``everything`` is wanted.
    """
    from pathspec import GitIgnoreSpec

    pending: list[tuple[str, tuple[tuple[str, GitIgnoreSpec], ...]]] = [("", ())]
    while pending:
        folder, rules = pending.pop()
        try:
            entries = {entry.name: entry for entry in os.scandir(base / folder)}
        except OSError as error:
            skipped.append(Skipped(folder, f"cannot be read: {error.strerror}"))
            continue
        if ".gitignore" in entries and entries[".gitignore"].is_file(follow_symlinks=False):
            text = (base / folder / ".gitignore").read_text("utf-8", "replace")
            rules = ((folder, GitIgnoreSpec.from_lines(text.splitlines())), *rules)
        for name, entry in entries.items():
            path = f"{folder}{name}"
            is_folder = entry.is_dir(follow_symlinks=False)
            if (is_folder and name in _CONTROL) or _ignored(f"{path}/" if is_folder else path, rules):
                continue
            if not is_folder:
                yield path
            elif not everything and (name in VENDORED or (base / path / "pyvenv.cfg").exists()):
                skipped.append(Skipped(f"{path}/", "vendored folder"))
            else:
                pending.append((f"{path}/", rules))


def _ignored(path: str, rules: tuple) -> bool:
    """The innermost .gitignore with an opinion decides."""
    for folder, spec in rules:
        verdict = spec.check_file(path[len(folder) :]).include
        if verdict is not None:
            return bool(verdict)
    return False
