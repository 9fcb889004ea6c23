"""The code search pipeline as users run it: `dvc repro` in a git clone, on a corner of the real corpus.

The tests run in their order and share one clone.
"""

from __future__ import annotations

import contextlib
import json
import math
import shutil
import subprocess
import sys
import time

import psutil
import pytest
import yaml

from core.tracking.result import read_result

pytestmark = [pytest.mark.pipeline, pytest.mark.slow]

PIPELINE = "pipelines/code_search/dvc.yaml"
STAGES = ("validate", "prepare", "pretrain", "adapt", "evaluate", "register")
WEIGHTS = ("pretrained/model.safetensors", "model/model.safetensors")


@pytest.fixture(scope="module")
def finished(clone):
    """The clone after one whole run in the smallest size."""
    folder = clone.folder / "pipelines" / "code_search"
    shutil.copyfile(folder / "params.smoke.yaml", folder / "params.yaml")
    clone.first_output = clone.repro(PIPELINE)
    return clone


def outputs(clone):
    return clone.folder / "outputs" / "code_search"


def ran_at(clone):
    """When each stage last ended: the time of the file in which it notes its cost."""
    folder = clone.folder / ".kindred" / "stages" / "code_search"
    return {stage: (folder / f"{stage}.json").stat().st_mtime_ns for stage in STAGES}


def test_one_run_writes_everything(finished):
    out = outputs(finished)
    result = read_result(out / "metrics.json")
    assert result.score is not None
    assert {"mrr_bm25_shown", "mrr_dense_hidden", "mrr_hybrid_full", "gain_full"} <= set(result.metrics)
    assert all((out / figure.file).is_file() for figure in result.figures)
    validation = json.loads((out / "validation.json").read_text())
    assert validation["data_digest"] == result.data_digest
    assert validation["pairs"]["train"] > 300
    registered = json.loads((out / "registered.json").read_text())
    assert (registered["version"], registered["alias"]) == (1, "champion")
    config = json.loads((out / "model" / "config.json").read_text())
    assert registered["weights_sha256"] == config["weights_sha256"]
    assert set(config["ranker"]["all"]) == {"dense", "bm25", "translation"}


def test_only_the_lock_file_is_new_to_git(finished):
    changed = {line[3:] for line in finished.git("status", "--porcelain").splitlines()}
    assert changed <= {"pipelines/code_search/params.yaml", "pipelines/code_search/dvc.lock", "killed.log"}


def test_a_second_run_runs_nothing(finished):
    before = ran_at(finished)
    said = finished.repro(PIPELINE)
    assert "Running stage" not in said
    assert ran_at(finished) == before


def test_killed_in_the_middle_of_training_it_goes_on_to_the_same_weights_and_metrics(finished):
    out, checkpoints = (
        outputs(finished),
        finished.folder / ".kindred" / "checkpoints" / "code_search" / "pretrain",
    )
    weights = {name: (out / name).read_bytes() for name in WEIGHTS}
    before = read_result(out / "metrics.json").metrics
    finished.repro_and_kill(
        "-f", "-s", f"{PIPELINE}:pretrain", when=lambda: any(checkpoints.rglob("step-*.ckpt"))
    )
    assert not (out / "pretrained").exists()
    # The finished run left the same weights in DVC's cache, from where they would be taken without training.
    shutil.rmtree(finished.folder / ".dvc" / "cache")
    said = finished.repro(PIPELINE)
    assert "goes on from step" in said
    assert {name: (out / name).read_bytes() for name in WEIGHTS} == weights
    assert not checkpoints.exists()
    finished.repro("-f", "-s", f"{PIPELINE}:adapt", f"{PIPELINE}:evaluate")
    assert (out / WEIGHTS[1]).read_bytes() == weights[WEIGHTS[1]]
    assert read_result(out / "metrics.json").metrics == before


def test_registering_the_same_again_makes_no_new_version(finished):
    finished.repro("-f", "-s", f"{PIPELINE}:register")
    registered = json.loads((outputs(finished) / "registered.json").read_text())
    assert (registered["version"], registered["alias"]) == (1, "champion")


def test_a_changed_parameter_of_the_evaluation_trains_nothing(finished):
    file = finished.folder / "pipelines" / "code_search" / "params.yaml"
    before = ran_at(finished)
    params = yaml.safe_load(file.read_text())
    params["evaluate"]["queries"] = 150
    file.write_text(yaml.safe_dump(params))
    finished.repro(f"{PIPELINE}:evaluate")
    after = ran_at(finished)
    assert [stage for stage in STAGES if after[stage] != before[stage]] == ["evaluate"]


@pytest.mark.parametrize(
    ("section", "key", "value", "words"),
    [
        ("pretrain", "steps", 0, "pretrain.steps"),
        ("pretrain", "que_size", 64, "queue_size"),
        ("data", "source", "codesearchnet", "data.root"),
        ("evaluate", "queries", "many", "evaluate.queries"),
    ],
)
def test_a_mistake_in_the_parameters_is_one_line_and_exit_2(finished, section, key, value, words):
    params = yaml.safe_load((finished.folder / "pipelines/code_search/params.smoke.yaml").read_text())
    params[section][key] = value
    file = finished.folder / "mistake.yaml"
    file.write_text(yaml.safe_dump(params))
    done = finished.python("pipelines.code_search.validate", "--params", "mistake.yaml")
    file.unlink()
    assert done.returncode == 2
    assert len(done.stdout.strip().splitlines()) == 1
    assert words in done.stdout


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent to notice does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_two_processes_through_the_pipelines_own_params(finished):
    params = yaml.safe_load((finished.folder / "pipelines/code_search/params.smoke.yaml").read_text())
    params["pretrain"] |= {"steps": 8, "validation_queries": 10, "every_n_steps": None}
    params["trainer"] |= {"devices": 2, "strategy": "ddp"}
    (finished.folder / "two.yaml").write_text(yaml.safe_dump(params))
    run = subprocess.Popen(
        [sys.executable, "-m", "pipelines.code_search.pretrain", "--params", "two.yaml"],
        cwd=finished.folder, env=finished.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    process, helpers = psutil.Process(run.pid), set()
    while run.poll() is None:
        with contextlib.suppress(psutil.NoSuchProcess):
            helpers |= {one.pid for one in process.children() if "two.yaml" in one.cmdline()}
        time.sleep(0.1)
    assert run.returncode == 0, run.stdout.read()[-3000:]
    assert len(helpers) == 1
    history = json.loads((outputs(finished) / "pretrain_history.json").read_text())
    assert [record["step"] for record in history] == list(range(1, 9))
    assert all(math.isfinite(record["loss"]) for record in history)
    end = time.monotonic() + 60  # the helper may take a moment longer to end
    while any(alive(pid) for pid in helpers):
        assert time.monotonic() < end
        time.sleep(0.1)
