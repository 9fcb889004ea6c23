"""A lock that says whom it waits for: one writer at a time, even after a parent was killed."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from core.errors import ConfigError, KindredError
from core.files import atomic_write


@contextlib.contextmanager
def waiting_lock(
    path: str | os.PathLike[str],
    *,
    what: str,
    timeout: float | None = None,
    say: Callable[[str], None] | None = None,
) -> Iterator[None]:
    """Hold the lock file ``path`` for the block; where another process holds it, say so once and wait.

    The operating system frees the lock when its holder ends, however it ends: no stale lock is left behind.

    Args:
        what: what is being guarded, for the message.
        timeout: seconds to wait; None waits as long as it takes, 0 does not wait.
        say: takes the message; stderr by default.

    Raises:
        KindredError: after ``timeout``, naming the process that holds the lock.
        ConfigError: where the lock file cannot be made (a read-only folder).

    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> with waiting_lock(folder + "/x.lock", what="the demo"):
    ...     print(_holder(Path(folder + "/x.lock")) == os.getpid())
    True
    """
    from filelock import FileLock, Timeout

    target = Path(path)
    lock = FileLock(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            _wait(lock, target, what, timeout, say)
        atomic_write(_owner_file(target), f"{os.getpid()}\n")
    except OSError as error:
        lock.release()
        raise ConfigError(
            f"lock file {target} cannot be written: {error.strerror or error}",
            remedy="run in a folder that you may write to, and see that the disk is not full",
        ) from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            _owner_file(target).unlink()
        lock.release()


def _wait(lock: Any, path: Path, what: str, timeout: float | None, say: Callable[[str], None] | None) -> None:
    from filelock import Timeout

    pid = _holder(path)
    who = f"process {pid}" if pid else "another process"
    if timeout != 0:
        message = f"waiting: {who} still works on {what}" + (f" (to stop it: kill {pid})" if pid else "")
        (say or _to_stderr)(message)
    start = time.monotonic()
    try:
        lock.acquire(timeout=-1 if timeout is None else timeout, poll_interval=0.2)
    except Timeout:
        raise KindredError(
            f"{who} still works on {what}",
            seen=f"{time.monotonic() - start:.0f} s of waiting",
            remedy=f"wait for it to end{f', or stop it with kill {pid}' if pid else ''}, and run again",
        ) from None


def _owner_file(path: Path) -> Path:
    return path.with_name(path.name + ".pid")


def _holder(path: Path) -> int | None:
    try:
        return int(_owner_file(path).read_text())
    except (OSError, ValueError):
        return None


def _to_stderr(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
