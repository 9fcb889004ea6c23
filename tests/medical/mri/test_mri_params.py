"""Every params file that is shipped is valid, and wrong values are refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from core.config import load_settings, parse_settings
from core.errors import ConfigError
from medical.mri.model import Architecture
from medical.mri.settings import Params

FOLDER = Path(__file__).resolve().parents[3] / "pipelines" / "mri_segmentation"
SHARES = {"train": 0.6, "valid": 0.1, "test": 0.3}
FILES = sorted(FOLDER.glob("params*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_shipped_file_is_valid_and_its_slices_fit_its_network(file):
    params = load_settings(file, Params)
    architecture = Architecture.of(params.prepare.size, 4, params.model.model_dump())
    assert params.pretrain_local.blocks <= architecture.blocks
    assert file.read_text(encoding="utf-8").startswith("#"), "says what it is for"


def test_the_paper_settings_are_those_of_the_paper():
    params = load_settings(FOLDER / "params.paper.yaml", Params)
    assert (params.prepare.spacing, params.prepare.size) == (1.36719, [192, 192])
    assert params.model.widths == [16, 32, 64, 128, 128, 128]
    assert (params.pretrain_global.steps, params.pretrain_local.blocks) == (10_001, 3)
    assert (params.finetune.loss, params.finetune.batch_size) == ("dice", 20)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("prepare.size", [64], "prepare.size"),
        ("pretrain_global.kind", "simclr", "pretrain_global.kind"),
        ("pretrain_global.temperature", 0, "temperature"),
        ("pretrain_local.kernel", 5, "kernel"),
        ("finetune.labelled", [], "finetune.labelled"),
        ("finetune.learning_rate", "1e-3", "1.0e-3"),
        ("finetune.step", 3, "steps"),
        ("data.source", "kaggle", "data.source"),
        ("data.source", "msd", "data.root"),
        ("data.fractions", {"train": 1.0}, "fractions"),
        ("data.channel", 0, "data.channel is of msd and manifest; demo"),
        ("data.official_split", True, "data.official_split is that of acdc; demo"),
        (
            "data",
            {"source": "acdc", "root": "x", "official_split": True, "fractions": SHARES},
            "one of the two",
        ),
        ("pretrain_global.base_temperature", 0.07, "is of kind pcl; gd"),
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
