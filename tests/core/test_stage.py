from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from core.config import Settings
from core.errors import DataError
from core.stage import Stage, first_process, peak_mib, run_stage, stage_costs


class Params(Settings):
    seed: int = 0
    threads: int | None = None


@pytest.fixture(autouse=True)
def _at(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    for key in ("RANK", "LOCAL_RANK", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.delenv(key, raising=False)
    (tmp_path / "p.yaml").write_text("seed: 5\n")


def run(main, text: str | None = None) -> None:
    main.__module__ = "pipelines.demo.work"
    if text is not None:
        Path("p.yaml").write_text(text)
    run_stage(main, Params, argv=["--params", "p.yaml"])


def test_main_gets_settings_and_stage_and_its_cost_is_kept():
    seen = []
    run(lambda settings, stage: seen.append((settings, stage)))
    assert seen == [(Params(seed=5), Stage("demo", "work", Path("p.yaml")))]
    costs = stage_costs("demo")
    assert costs["seconds"]["work"] >= 0
    assert costs["peak_mib"]["work"] > 10


def test_seeds_are_set_from_params():
    drawn = []
    for _ in range(2):
        run(lambda *_: drawn.append((random.random(), float(np.random.rand()))))  # noqa: NPY002
    run(lambda *_: drawn.append((random.random(), float(np.random.rand()))), "seed: 6")  # noqa: NPY002
    assert drawn[0] == drawn[1] != drawn[2]


def test_torch_is_seeded_where_it_is_imported():
    import torch

    drawn = []
    for _ in range(2):
        run(lambda *_: drawn.append(torch.rand(3).tolist()))
    assert drawn[0] == drawn[1]


def test_environment_is_quiet_and_what_the_user_set_stays():
    seen = {}
    run(lambda *_: seen.update(os.environ), "threads: 1")
    assert seen["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert seen["HF_HUB_OFFLINE"] == "0"
    assert seen["OMP_NUM_THREADS"] == "1"


def test_a_users_mistake_is_one_line_and_exit_2(capsys):
    def main(settings, stage):
        raise DataError("a.csv", seen="x\ny", expected="one\ntwo", remedy="mend it")

    with pytest.raises(SystemExit) as caught:
        run(main)
    err = capsys.readouterr().err
    assert caught.value.code == 2
    assert err.count("\n") == 1
    assert err.startswith("error in demo/work: a.csv")
    assert stage_costs("demo")["seconds"] == {}


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "out/x"), 2, "the disk is full: out/x"),
        (OSError(errno.EROFS, "Read-only", "out/x"), 2, "read-only"),
        (MemoryError("alloc"), 2, "out of memory"),
        (KeyboardInterrupt(), 130, "run it again to go on"),
    ],
)
def test_trouble_with_the_machine_is_told_in_a_line(capsys, error, code, told):
    def main(settings, stage):
        raise error

    with pytest.raises(SystemExit) as caught:
        run(main)
    assert caught.value.code == code
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("error", [RuntimeError("bug"), OSError(errno.EIO, "odd")])
def test_a_defect_keeps_its_traceback(error):
    def main(settings, stage):
        raise error

    with pytest.raises(type(error)):
        run(main)


@pytest.mark.parametrize(
    ("text", "told"), [("sed: 1", "did you mean 'seed'"), ("threads: 0", ">= 1"), ("threads: x", "threads")]
)
def test_wrong_params_are_told_in_a_line(capsys, text, told):
    with pytest.raises(SystemExit) as caught:
        run(lambda *_: None, text)
    assert caught.value.code == 2
    assert told in capsys.readouterr().err


def test_checkpoints_go_when_the_stage_ends_well_and_stay_when_not():
    def main(settings, stage):
        stage.checkpoints.mkdir(parents=True)
        if settings.seed == 1:
            raise DataError("x")

    with pytest.raises(SystemExit):
        run(main, "seed: 1")
    folder = Stage("demo", "work", Path()).checkpoints
    assert folder.is_dir()
    folder.rmdir()
    run(main, "seed: 2")
    assert not folder.exists()


def test_helper_processes_of_a_training_take_no_lock_and_write_no_cost(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert not first_process()
    run(lambda *_: None)
    assert not Path(".kindred").exists()


def test_peak_memory_is_that_of_the_process():
    assert 10 < peak_mib() < 100_000


SCRIPT = """
import sys, time
from pathlib import Path
from core.config import Settings
from core.stage import Stage, run_stage

class Params(Settings):
    seconds: float = 0

def main(settings: Params, stage: Stage) -> None:
    with Path("log").open("a") as log:
        log.write("start\\n")
        log.flush()
        time.sleep(settings.seconds)
        while Path("hold").exists():
            time.sleep(0.02)
        log.write("end\\n")
    assert "torch" not in sys.modules and "lightning" not in sys.modules

if __name__ == "__main__":
    run_stage(main, Params)
"""


def script(folder: Path, seconds: float) -> list[str]:
    home = folder / "pipelines" / "demo"
    home.mkdir(parents=True, exist_ok=True)
    (home / "slow.py").write_text(SCRIPT)
    (folder / f"{seconds}.yaml").write_text(f"seconds: {seconds}\n")
    return [sys.executable, "-m", "pipelines.demo.slow", "--params", f"{seconds}.yaml"]


def until(condition, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def test_a_rerun_waits_for_an_orphan_and_then_goes_on(tmp_path):
    log, hold = tmp_path / "log", tmp_path / "hold"
    hold.touch()
    orphan = subprocess.Popen(script(tmp_path, 0), cwd=tmp_path)
    until(lambda: log.exists() and log.read_text())
    rerun = subprocess.Popen(script(tmp_path, 0), cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert rerun.stderr is not None
    said = rerun.stderr.readline()
    hold.unlink()
    assert (orphan.wait(90), rerun.wait(90)) == (0, 0)
    assert f"process {orphan.pid} still works on demo/slow" in said
    assert log.read_text().split() == ["start", "end", "start", "end"]
    assert json.loads((tmp_path / ".kindred/stages/demo/slow.json").read_text())["seconds"] >= 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent ended")
def test_a_stage_ends_when_its_parent_is_killed(tmp_path):
    launcher = textwrap.dedent(
        f"""
        import signal, subprocess, time
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup, which is inherited
        process = subprocess.Popen({script(tmp_path, 300)!r})
        print(process.pid, flush=True)
        time.sleep(300)
        """
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", launcher], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    stage = int(parent.stdout.readline())
    until(lambda: (tmp_path / "log").exists() and (tmp_path / "log").read_text())
    parent.send_signal(signal.SIGKILL)
    parent.wait()

    def gone() -> bool:
        try:
            return Path(f"/proc/{stage}/stat").read_text().split()[2] == "Z"
        except OSError:
            return True

    until(gone)


def test_the_output_of_the_demo_is_never_empty(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outputs" / "toy" / "demo" / "old").mkdir(parents=True)
    Stage("toy", "validate", tmp_path / "params.yaml").without_demo()
    assert [path.name for path in (tmp_path / "outputs" / "toy" / "demo").iterdir()] == ["README"]
