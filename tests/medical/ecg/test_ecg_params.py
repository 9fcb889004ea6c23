"""Every params file that is shipped is valid, and wrong values are refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from core.config import load_settings, parse_settings
from core.errors import ConfigError
from medical.ecg.settings import Params

FOLDER = Path(__file__).resolve().parents[3] / "pipelines" / "ecg_prototypes"
FILES = sorted(FOLDER.glob("params*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_shipped_file_is_valid(file):
    load_settings(file, Params)
    stages = yaml.safe_load((FOLDER / "dvc.yaml").read_text())["stages"].values()
    named = {
        section for stage in stages for entry in stage["params"] for section in next(iter(entry.values()))
    }
    assert named <= set(yaml.safe_load(file.read_text())), "DVC wants every section that a stage names"
    assert file.read_text(encoding="utf-8").startswith("#"), "says what it is for"


def test_the_paper_settings_are_those_of_the_released_code():
    params = load_settings(FOLDER / "params.paper.yaml", Params)
    assert params.model.prototypes == {"rhythm": 5, "morphology": 18, "global": 7}
    assert params.model.widths == [64, 128, 256, 512]
    loss = params.joint.options["loss"]
    assert (loss.cluster, loss.separation, loss.sparsity, loss.diversity, loss.contrastive) == (
        0.004, 0.0004, 0.0, 250.0, 300.0,
    )  # fmt: skip
    assert (params.model.pool, params.model.classifier, params.project.distinct) == (
        "mean",
        "published",
        False,
    )


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("joint.steps", 0, "joint.steps"),
        ("joint.lambda_div", 1.0, "lambda_div"),
        ("model.pool", "median", "model.pool"),
        ("model.widths", [4, 4], "model.widths"),
        ("data.source", "ptbxl", "data.root"),
        ("data.source", "kaggle", "data.source"),
        ("data.labels", "everything", "data.labels"),
        ("data.folds", {"train": [1], "valid": [1], "test": [2]}, "two splits"),
        ("data.folds", {"train": [1], "test": [2]}, "train, valid and test"),
        ("training.precision", 32, "training.precision"),
        ("evaluate.threshold", 1.5, "evaluate.threshold"),
    ],
)
def test_a_wrong_value_is_refused_by_name(path, value, words):
    raw = yaml.safe_load((FOLDER / "params.smoke.yaml").read_text())
    *parents, key = path.split(".")
    section = raw
    for parent in parents:
        section = section.setdefault(parent, {})
    section[key] = value
    with pytest.raises(ConfigError) as error:
        parse_settings(raw, Params, origin="params.yaml")
    assert words in str(error.value)
