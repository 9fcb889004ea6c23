"""The X-ray, ECG and report pipeline as users run it: `dvc repro` in a git clone, on a few generated studies.

The tests run in their order and share one clone.
"""

from __future__ import annotations

import json
import shutil

import pytest

from core.tracking.result import read_result

pytestmark = [pytest.mark.pipeline, pytest.mark.slow]

PIPELINE = "pipelines/xray_ecg_report/dvc.yaml"
WEIGHTS = "pretrained/model.safetensors"


@pytest.fixture(scope="module")
def finished(clone):
    """The clone after one whole run in the smallest size, killed once in the training."""
    folder = clone.folder / "pipelines" / "xray_ecg_report"
    shutil.copyfile(folder / "params.smoke.yaml", folder / "params.yaml")
    checkpoints = clone.folder / ".kindred" / "checkpoints" / "xray_ecg_report" / "pretrain"
    clone.repro_and_kill(PIPELINE, when=lambda: any(checkpoints.rglob("step-*.ckpt")))
    clone.said = clone.repro(PIPELINE)
    return clone


def outputs(clone):
    return clone.folder / "outputs" / "xray_ecg_report"


def test_a_killed_run_goes_on_and_writes_everything(finished):
    out = outputs(finished)
    assert "goes on from step" in finished.said
    assert "parameters are trained" in finished.said
    result = read_result(out / "metrics.json")
    assert result.demo
    assert result.score is not None
    assert {"r5_xray_to_text", "r5_text_to_ecg", "zero_shot_xray", "probe_fused", "pointing"} <= set(
        result.metrics
    )
    assert all((out / figure.file).is_file() for figure in result.figures)
    validation = json.loads((out / "validation.json").read_text())
    assert validation["data_digest"] == result.data_digest
    assert sum(validation["patterns"].values()) == sum(validation["items"].values())
    registered = json.loads((out / "registered.json").read_text())
    assert (registered["version"], registered["alias"]) == (1, "champion")
    config = json.loads((out / "model" / "config.json").read_text())
    assert registered["weights_sha256"] == config["weights_sha256"]
    assert (out / "model" / "adapters" / "adapter_model.safetensors").is_file()


def test_a_second_run_runs_nothing_and_git_sees_only_the_lock_file(finished):
    assert "Running stage" not in finished.repro(PIPELINE)
    changed = {line[3:] for line in finished.git("status", "--porcelain").splitlines()}
    known = {"params.yaml", "dvc.lock"}
    assert changed <= {f"pipelines/xray_ecg_report/{name}" for name in known} | {"killed.log"}


def test_a_run_that_was_not_killed_has_the_same_weights(finished):
    file = outputs(finished) / WEIGHTS
    weights = file.read_bytes()
    file.unlink()
    done = finished.python("pipelines.xray_ecg_report.pretrain")
    assert done.returncode == 0, done.stdout
    assert file.read_bytes() == weights
