"""The temporal audio pipeline as users run it: `dvc repro` in a git clone, on a handful of short sounds.

The tests run in their order and share one clone.
"""

from __future__ import annotations

import json
import shutil

import pytest

from core.tracking.result import read_result

pytestmark = [pytest.mark.pipeline, pytest.mark.slow]

PIPELINE = "pipelines/audio_temporal/dvc.yaml"
STAGES = ("validate", "prepare", "pretrain", "adapt", "evaluate", "register")


@pytest.fixture(scope="module")
def finished(clone):
    """The clone after one whole run in the smallest size."""
    folder = clone.folder / "pipelines" / "audio_temporal"
    shutil.copyfile(folder / "params.smoke.yaml", folder / "params.yaml")
    clone.repro(PIPELINE)
    return clone


def outputs(clone):
    return clone.folder / "outputs" / "audio_temporal"


def ran_at(clone):
    folder = clone.folder / ".kindred" / "stages" / "audio_temporal"
    return {stage: (folder / f"{stage}.json").stat().st_mtime_ns for stage in STAGES}


def test_one_run_writes_everything(finished):
    out = outputs(finished)
    result = read_result(out / "metrics.json")
    assert result.demo
    assert {"zste1", "zste5", "order_text", "before_order_text", "order_after"} <= set(result.metrics)
    assert all((out / figure.file).is_file() for figure in result.figures)
    for name in (
        "tags.csv",
        "retrieval.csv",
        "timeline.csv",
        "timeline.html",
        "zste.json",
        "embeddings/embeddings.npy",
    ):
        assert (out / "evaluation" / name).is_file(), name
    validation = json.loads((out / "validation.json").read_text())
    assert validation["data_digest"] == result.data_digest
    assert validation["clips"] == {"train": 36, "valid": 12, "test": 12}
    registered = json.loads((out / "registered.json").read_text())
    assert (registered["version"], registered["alias"]) == (1, "champion")
    config = json.loads((out / "model" / "config.json").read_text())
    assert registered["weights_sha256"] == config["weights_sha256"]


def test_a_second_run_runs_nothing_and_git_sees_only_the_lock_file(finished):
    before = ran_at(finished)
    assert "Running stage" not in finished.repro(PIPELINE)
    assert ran_at(finished) == before
    changed = {line[3:] for line in finished.git("status", "--porcelain").splitlines()}
    assert changed <= {"pipelines/audio_temporal/params.yaml", "pipelines/audio_temporal/dvc.lock"}


def test_killed_in_the_middle_of_stage_b_it_goes_on_to_the_same_weights(finished):
    out = outputs(finished)
    weights = (out / "model" / "model.safetensors").read_bytes()
    checkpoints = finished.folder / ".kindred" / "checkpoints" / "audio_temporal" / "adapt"
    finished.repro_and_kill(
        "-f", "-s", f"{PIPELINE}:adapt", when=lambda: any(checkpoints.rglob("step-0*12.ckpt"))
    )
    assert not (out / "model").exists()
    shutil.rmtree(finished.folder / ".dvc" / "cache")  # or DVC takes the weights of the first run from there
    done = finished.python("dvc", "repro", "-s", f"{PIPELINE}:adapt")
    assert done.returncode == 0, done.stdout[-3000:]
    assert "goes on from step" in done.stdout
    assert (out / "model" / "model.safetensors").read_bytes() == weights
