"""The Earth-observation pipeline as users run it: `dvc repro` in a git clone, on a few generated places.

The tests run in their order and share one clone.
"""

from __future__ import annotations

import json
import shutil

import pytest
import rasterio

from core.tracking.result import read_result

pytestmark = [pytest.mark.pipeline, pytest.mark.slow]

PIPELINE = "pipelines/eo_pretraining/dvc.yaml"


@pytest.fixture(scope="module")
def finished(clone):
    """The clone after one whole run in the smallest size."""
    folder = clone.folder / "pipelines" / "eo_pretraining"
    shutil.copyfile(folder / "params.smoke.yaml", folder / "params.yaml")
    clone.repro(PIPELINE)
    return clone


def test_one_run_writes_everything(finished):
    out = finished.folder / "outputs" / "eo_pretraining"
    result = read_result(out / "metrics.json")
    assert result.demo
    assert {"map_0.1", "random_map_0.1", "knn", "map_served", "map_miou"} <= set(result.metrics)
    assert all((out / figure.file).is_file() for figure in result.figures)
    validation = json.loads((out / "validation.json").read_text())
    assert validation["data_digest"] == result.data_digest
    registered = json.loads((out / "registered.json").read_text())
    assert (registered["version"], registered["alias"]) == (1, "champion")
    assert (
        registered["weights_sha256"]
        == json.loads((out / "model" / "config.json").read_text())["weights_sha256"]
    )
    with rasterio.open(out / "evaluation" / "scene" / "scene_landcover.tif") as cover:
        assert cover.crs.to_epsg() == 32631
        assert cover.shape == (48, 48)


def test_a_second_run_runs_nothing(finished):
    assert "Running stage" not in finished.repro(PIPELINE)
    changed = {line[3:] for line in finished.git("status", "--porcelain").splitlines()}
    assert changed <= {"pipelines/eo_pretraining/params.yaml", "pipelines/eo_pretraining/dvc.lock"}
