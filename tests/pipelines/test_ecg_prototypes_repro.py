"""The ECG pipeline as users run it: `dvc repro` in a git clone, on few generated recordings.

The tests run in their order and share one clone.
"""

from __future__ import annotations

import json
import shutil

import pytest

from core.tracking.result import read_result

pytestmark = [pytest.mark.pipeline, pytest.mark.slow]

PIPELINE = "pipelines/ecg_prototypes/dvc.yaml"


@pytest.fixture(scope="module")
def finished(clone):
    """The clone after one whole run in the smallest size."""
    folder = clone.folder / "pipelines" / "ecg_prototypes"
    shutil.copyfile(folder / "params.smoke.yaml", folder / "params.yaml")
    clone.first_output = clone.repro(PIPELINE)
    return clone


def test_one_run_writes_everything(finished):
    out = finished.folder / "outputs" / "ecg_prototypes"
    result = read_result(out / "metrics.json")
    assert result.demo
    assert {"auroc_prototypes", "auroc_black_box", "auroc_logistic"} <= set(result.metrics)
    assert result.metrics["sum_error"].value < 1e-5
    assert all((out / figure.file).is_file() for figure in result.figures)
    registered = json.loads((out / "registered.json").read_text())
    assert (registered["version"], registered["alias"]) == (1, "champion")
    config = json.loads((out / "model" / "config.json").read_text())
    assert registered["weights_sha256"] == config["weights_sha256"]


def test_a_second_run_runs_nothing(finished):
    assert "Running stage" not in finished.repro(PIPELINE)
