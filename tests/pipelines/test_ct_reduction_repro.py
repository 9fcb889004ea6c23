"""The CT pipeline as users run it: `dvc repro` in a git clone, on a handful of generated patients."""

from __future__ import annotations

import json
import shutil

import pandas as pd
import pytest

from core.tracking.result import read_result

pytestmark = [pytest.mark.pipeline, pytest.mark.slow]

PIPELINE = "pipelines/ct_reduction/dvc.yaml"


@pytest.fixture(scope="module")
def finished(clone):
    """The clone after one whole run in the smallest size."""
    folder = clone.folder / "pipelines" / "ct_reduction"
    shutil.copyfile(folder / "params.smoke.yaml", folder / "params.yaml")
    clone.repro(PIPELINE)
    return clone


def test_one_run_writes_everything_and_a_second_nothing(finished):
    out = finished.folder / "outputs" / "ct_reduction"
    result = read_result(out / "metrics.json")
    assert result.demo
    assert result.primary.name == "auc_probe_reduced"
    assert {"auc_probe_full", "auc_finetuned_reduced", "kept_ratio", "labelled_removed"} <= set(
        result.metrics
    )
    assert all((out / figure.file).is_file() for figure in result.figures)
    assert "data:image/png" in (out / "evaluation" / "report.html").read_text()
    kept, removed = (pd.read_csv(out / "selection" / f"{name}.csv") for name in ("kept", "removed"))
    assert len(kept) + len(removed) == result.metrics["kept_ratio"].n
    assert set(removed["representative"]) <= set(kept["path"])
    rejected = set(pd.read_csv(out / "hashes" / "rejected.csv")["kind"])
    assert {"not_axial", "localizer", "no_rescale", "unreadable", "constant"} <= rejected
    registered = json.loads((out / "registered.json").read_text())
    config = json.loads((out / "pretrained_reduced" / "config.json").read_text())
    assert (registered["version"], registered["alias"]) == (1, "champion")
    assert registered["weights_sha256"] == config["weights_sha256"]
    assert "Running stage" not in finished.repro(PIPELINE)


def test_a_lost_cache_gives_the_same_numbers(finished):
    out = finished.folder / "outputs" / "ct_reduction"
    before = (out / "selection" / "kept.csv").read_bytes()
    digest = json.loads((out / "hashes" / "validation.json").read_text())["data_digest"]
    shutil.rmtree(finished.folder / ".kindred" / "ct_hashes")
    shutil.rmtree(finished.folder / ".kindred" / "demo")
    for stage in ("hash", "select"):
        done = finished.python(f"pipelines.ct_reduction.{stage}")
        assert done.returncode == 0, done.stdout
    assert (out / "selection" / "kept.csv").read_bytes() == before
    assert json.loads((out / "hashes" / "validation.json").read_text())["data_digest"] == digest
