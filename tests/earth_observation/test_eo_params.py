"""The params files are read by the settings, and mistakes in them are explained."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from core.config import load_settings, parse_settings
from core.errors import ConfigError
from earth_observation.ablation import ARMS, comparisons
from earth_observation.model import build_encoder, stride_of
from earth_observation.settings import Params

FOLDER = Path(__file__).resolve().parents[2] / "pipelines" / "eo_pretraining"


@pytest.mark.parametrize("file", sorted(FOLDER.glob("params*.yaml")), ids=lambda file: file.name)
def test_every_params_file_is_valid_and_its_model_can_be_built(file):
    params = load_settings(file, Params)
    for backbone in ("resnet", "vit"):
        chosen = params.model.model_copy(update={"backbone": backbone})
        if params.model.dim <= 96:
            build_encoder(13, chosen.architecture, size=params.pretrain.crop)
    chosen = params.model.model_copy(update={"depth": 1, "widths": [8, 8, 8, 8], "blocks": [1, 1, 1, 1]})
    encoder = build_encoder(3, chosen.architecture, size=params.pretrain.crop).eval()
    assert stride_of(encoder) == params.model.stride
    # whole chips and tiles go through the encoder: 264 pixels do not through patches of 14
    for size in (params.prepare.size, params.scene.tile):
        with torch.no_grad():
            assert encoder(torch.zeros(1, 3, size, size)).shape == (1, encoder.dim)


@pytest.mark.parametrize(
    ("section", "change", "words"),
    [
        ("data", {"source": "ssl4eo"}, "data.root"),
        ("data", {"source": "manifest", "root": "x", "sensor": "own"}, "data.bands"),
        ("data", {"demo": {"side": 50}}, "multiple of 6"),
        ("pretrain", {"steps": 1, "learning_rate": 0.1, "mask_ration": 0.5}, "mask_ratio"),
        ("prepare", {"min_fraction": 1.5}, "min_fraction"),
        ("prepare", {"size": 24, "statistics": "ssl4eo_50K"}, "statistics"),
        ("prepare", {"size": 20}, "prepare.size: 20 is no multiple of 8.*16 or 24"),
        ("scene", {"tile": 30, "stride": 20}, r"scene.tile: 30.*also scene.stride"),
        ("scene", {"tile": 16, "stride": 24}, "leaves gaps"),
        ("scene", {"tile": 24, "stride": 16, "mask": "scl.tif"}, "scene.path"),
        ("model", {"backbone": "resnet", "small": False}, "no multiple of 32"),
    ],
)
def test_mistakes_are_explained(section, change, words):
    raw = yaml.safe_load((FOLDER / "params.smoke.yaml").read_text())
    raw[section] = change
    with pytest.raises(ConfigError, match=words):
        parse_settings(raw, Params, origin="params.yaml")


def test_a_setting_that_a_resnet_would_not_use_is_refused():
    raw = yaml.safe_load((FOLDER / "params.smoke.yaml").read_text())
    raw["model"] = {"backbone": "resnet"}
    raw["pretrain"]["mask_mode"] = "token"
    with pytest.raises(ConfigError, match="mask_mode"):
        parse_settings(raw, Params, origin="params.yaml")


def test_the_arms_of_the_evidence_change_what_they_name():
    assert {arm for pair in comparisons() for arm in pair} <= set(ARMS)
    assert comparisons(["SoftCon", "MoCo hard"]) == [("SoftCon", "MoCo hard")]


def test_the_example_of_another_sensor_on_the_page_can_be_read():
    page = (FOLDER.parents[1] / "docs" / "pipelines" / "eo_pretraining.md").read_text(encoding="utf-8")
    changes = yaml.safe_load(page.split("```yaml\n")[1].split("```")[0])
    raw = yaml.safe_load((FOLDER / "params.yaml").read_text())
    for section, values in changes.items():
        raw[section] = {**raw[section], **values}
    params = parse_settings(raw, Params, origin="the page")
    assert params.data.own["bands"] == ["10", "20", "30", "40", "50", "70"]
