from __future__ import annotations

import subprocess
import sys
import time

import pytest

from core.errors import ConfigError, KindredError
from core.locks import waiting_lock

HOLD = """
import sys, time
from core.locks import waiting_lock
with waiting_lock(sys.argv[1], what="x"):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def holder(path, seconds: float) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), str(seconds)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_waits_and_names_the_first(tmp_path):
    path, said = tmp_path / "a" / "x.lock", []
    process = holder(path, 1.0)
    with waiting_lock(path, what="the training", say=said.append):
        process.poll()
    process.wait()
    assert said == [
        f"waiting: process {process.pid} still works on the training (to stop it: kill {process.pid})"
    ]


def test_a_killed_holder_leaves_no_stale_lock(tmp_path):
    process = holder(tmp_path / "x.lock", 60)
    process.kill()
    process.wait()
    said: list[str] = []
    with waiting_lock(tmp_path / "x.lock", what="x", timeout=5, say=said.append):
        pass
    assert said == []


def test_a_wait_that_is_too_long_ends_with_the_holder_named(tmp_path):
    process = holder(tmp_path / "x.lock", 60)
    try:
        start = time.monotonic()
        with (
            pytest.raises(KindredError, match=f"process {process.pid} still works on y.*kill {process.pid}"),
            waiting_lock(tmp_path / "x.lock", what="y", timeout=0, say=lambda _: None),
        ):
            pytest.fail("the lock was given twice")
        assert time.monotonic() - start < 30
    finally:
        process.kill()
        process.wait()


def test_a_folder_that_cannot_be_written_is_explained(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(ConfigError, match="lock file"),
        waiting_lock(tmp_path / "file" / "x.lock", what="x"),
    ):
        pass


def test_it_is_free_again_after_an_error_in_the_block(tmp_path):
    with pytest.raises(RuntimeError), waiting_lock(tmp_path / "x.lock", what="x"):
        raise RuntimeError
    with waiting_lock(tmp_path / "x.lock", what="x", timeout=0):
        pass
