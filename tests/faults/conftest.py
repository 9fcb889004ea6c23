"""A forked child process in which a test may be killed, run out of disk, or lose its rights."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import traceback
from collections.abc import Callable

import pytest


@pytest.fixture
def in_child() -> Callable[[Callable[[], object]], tuple[int, str]]:
    """Run a function in a fork of this process; returns its exit code (negative: the signal) and what it raised."""

    def run(function: Callable[[], object]) -> tuple[int, str]:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            code = 0
            try:
                function()
            except BaseException as error:
                code = 1
                os.write(
                    writer, f"{type(error).__name__}: {error}\n{traceback.format_exc()}".encode()[:60_000]
                )
            os._exit(code)
        os.close(writer)
        with os.fdopen(reader, "rb") as stream:
            said = stream.read().decode()
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said

    return run


@pytest.fixture
def small_disk() -> Callable[[int], None]:
    """Called in a child: no file may grow beyond so many bytes, as on a disk that is about to be full.

    A write beyond it fails with EFBIG as one on a full disk fails with ENOSPC; it needs no rights to set up.
    """

    def limit(size: int) -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    return limit


@pytest.fixture
def without_override() -> Callable[[], None]:
    """Called between fork and exec: even root then obeys the permissions of its own files."""

    def drop() -> None:
        for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH; 24 is PR_CAPBSET_DROP
            ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)

    return drop
