"""The params files are read by the settings, and mistakes in them are explained."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from core.config import load_settings, parse_settings
from core.errors import ConfigError
from earth_observation.ablation import ARMS, comparisons
from earth_observation.model import build_encoder
from earth_observation.settings import Params

FOLDER = Path(__file__).resolve().parents[2] / "pipelines" / "eo_pretraining"


@pytest.mark.parametrize("file", sorted(FOLDER.glob("params*.yaml")), ids=lambda file: file.name)
def test_every_params_file_is_valid_and_its_model_can_be_built(file):
    params = load_settings(file, Params)
    for backbone in ("resnet", "vit"):
        chosen = params.model.model_copy(update={"backbone": backbone})
        if params.model.dim <= 96:
            build_encoder(13, chosen.architecture, size=params.pretrain.crop)
    stride = params.model.patch if params.model.backbone == "vit" else 8 if params.model.small else 32
    assert params.scene.tile % stride == 0
    assert params.scene.stride % stride == 0


@pytest.mark.parametrize(
    ("section", "change", "words"),
    [
        ("data", {"source": "ssl4eo"}, "data.root"),
        ("data", {"source": "manifest", "root": "x", "sensor": "own"}, "data.bands"),
        ("data", {"demo": {"side": 50}}, "multiple of 6"),
        ("pretrain", {"steps": 1, "learning_rate": 0.1, "mask_ration": 0.5}, "mask_ratio"),
        ("prepare", {"min_fraction": 1.5}, "min_fraction"),
    ],
)
def test_mistakes_are_explained(section, change, words):
    raw = yaml.safe_load((FOLDER / "params.smoke.yaml").read_text())
    raw[section] = change
    with pytest.raises(ConfigError, match=words):
        parse_settings(raw, Params, origin="params.yaml")


def test_the_arms_of_the_evidence_change_what_they_name():
    assert {arm for pair in comparisons() for arm in pair} <= set(ARMS)
    assert comparisons(["SoftCon", "MoCo hard"]) == [("SoftCon", "MoCo hard")]
