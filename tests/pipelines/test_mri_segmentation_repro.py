"""The MRI pipeline as users run it: `dvc repro` in a git clone, on a few small generated hearts.

The tests run in their order and share one clone.
"""

from __future__ import annotations

import contextlib
import csv
import json
import shutil
import subprocess
import sys
import time

import psutil
import pytest
import yaml

from core.tracking.result import read_result

pytestmark = [pytest.mark.pipeline, pytest.mark.slow]

PIPELINE = "pipelines/mri_segmentation/dvc.yaml"
ENCODER = "pretrained_global/model.safetensors"


@pytest.fixture(scope="module")
def finished(clone):
    """The clone after one whole run in the smallest size, killed once in the first training."""
    folder = clone.folder / "pipelines" / "mri_segmentation"
    shutil.copyfile(folder / "params.smoke.yaml", folder / "params.yaml")
    checkpoints = clone.folder / ".kindred" / "checkpoints" / "mri_segmentation" / "pretrain_global"
    clone.repro_and_kill(PIPELINE, when=lambda: any(checkpoints.rglob("step-*.ckpt")))
    clone.said = clone.repro(PIPELINE)
    return clone


def outputs(clone):
    return clone.folder / "outputs" / "mri_segmentation"


def test_a_killed_run_goes_on_and_writes_everything(finished):
    out = outputs(finished)
    assert "goes on from step" in finished.said
    result = read_result(out / "metrics.json")
    assert result.demo
    assert result.score is not None
    assert {
        "dice_pretrained_1",
        "dice_random_2",
        "dice_self_training_2",
        "gain_1",
        "gain_self_training_2",
        "dice_LV",
    } <= set(result.metrics)
    assert all((out / figure.file).is_file() for figure in result.figures)
    validation = json.loads((out / "validation.json").read_text())
    assert validation["data_digest"] == result.data_digest
    assert validation["by_kind"].keys() >= {"unreadable", "non-finite voxels", "mask geometry"}
    with (out / "evaluation" / "patients.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    masks = {path.name.removesuffix(".nii.gz") for path in (out / "evaluation" / "masks").iterdir()}
    assert masks == {row["id"] for row in rows}
    registered = json.loads((out / "registered.json").read_text())
    assert (registered["version"], registered["alias"]) == (1, "champion")
    init, labelled = result.primary.name.removeprefix("dice_").rsplit("_", 1)
    assert (init, labelled) in (("pretrained", "2"), ("self_training", "2"))
    config = json.loads((out / "finetuned" / f"{init}-{labelled}" / "config.json").read_text())
    assert registered["weights_sha256"] == config["weights_sha256"]


def test_a_second_run_runs_nothing_and_git_sees_only_the_lock_file(finished):
    assert "Running stage" not in finished.repro(PIPELINE)
    changed = {line[3:] for line in finished.git("status", "--porcelain").splitlines()}
    known = {"params.yaml", "dvc.lock"}
    assert changed <= {f"pipelines/mri_segmentation/{name}" for name in known} | {"killed.log"}


def test_a_run_that_was_not_killed_has_the_same_weights(finished):
    file = outputs(finished) / ENCODER
    weights = file.read_bytes()
    file.unlink()
    done = finished.python("pipelines.mri_segmentation.pretrain_global")
    assert done.returncode == 0, done.stdout
    assert file.read_bytes() == weights


def test_a_stage_of_several_trainings_on_two_processes(finished):
    """Their number, the devices and the strategy are those of the params; only the first process writes."""
    params = yaml.safe_load((finished.folder / "pipelines/mri_segmentation/params.smoke.yaml").read_text())
    params["finetune"] |= {"labelled": [1], "steps": 4, "validate_every": 2}
    params["trainer"] |= {"devices": 2, "strategy": "ddp"}
    (finished.folder / "two.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    run = subprocess.Popen(
        [sys.executable, "-m", "pipelines.mri_segmentation.finetune", "--params", "two.yaml"],
        cwd=finished.folder, env=finished.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    process, helpers = psutil.Process(run.pid), set()
    while run.poll() is None:
        with contextlib.suppress(psutil.NoSuchProcess):
            helpers |= {one for one in process.children() if "two.yaml" in one.cmdline()}
        time.sleep(0.1)
    assert run.returncode == 0, run.stdout.read()[-3000:]
    runs = json.loads((outputs(finished) / "finetuned" / "runs.json").read_text())
    assert [one["name"] for one in runs] == ["pretrained-1", "random-1", "self_training-1"]
    assert [one["history"][-1]["step"] for one in runs] == [4, 4, 8]
    assert all("valid_dice" in one["history"][-1] for one in runs)
    assert len(helpers) == 1
    psutil.wait_procs(helpers, timeout=60)
    assert not any(one.is_running() for one in helpers)
    assert not list(outputs(finished).glob(".finetuned*"))
