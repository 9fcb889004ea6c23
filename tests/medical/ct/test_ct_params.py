"""Every params file that is shipped is valid, and wrong values are refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from core.config import load_settings, parse_settings
from core.errors import ConfigError
from medical.ct.settings import Params

FOLDER = Path(__file__).resolve().parents[3] / "pipelines" / "ct_reduction"


@pytest.mark.parametrize("file", sorted(FOLDER.glob("params*.yaml")), ids=lambda file: file.name)
def test_a_shipped_file_is_valid_and_says_what_it_is_for(file):
    load_settings(file, Params)
    assert file.read_text(encoding="utf-8").startswith("#")


def test_the_paper_settings_are_those_of_the_paper():
    params = load_settings(FOLDER / "params.paper.yaml", Params)
    assert (params.select.method, params.select.threshold, params.select.scope) == ("dhash", 6, "volume")
    assert params.data.window == "per_slice_minmax"
    pretrain = params.pretrain
    assert (pretrain.method, pretrain.epochs, pretrain.batch_size, pretrain.prototypes) == (
        "swav",
        800,
        128,
        500,
    )
    assert (pretrain.crop, pretrain.small_crop, pretrain.small_crops) == ([0.9, 1.0], [0.1, 0.33], 6)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("data.source", "kaggle", "data.source"),
        ("data.source", "lidc", "data.root"),
        ("data.window", "liver", "data.window"),
        ("hash.size", 12, "hash.size"),
        ("select.method", "phash", "select.method"),
        ("select.target_ratio", 0, "select.target_ratio"),
        ("pretrain.method", "byol", "pretrain.method"),
        ("pretrain.epoch", 3, "epochs"),
        ("pretrain.learning_rate", "1e-3", "1.0e-3"),
        ("registry.encoder", "best", "registry.encoder"),
    ],
)
def test_a_wrong_value_is_refused_by_name(path, value, words):
    raw = yaml.safe_load((FOLDER / "params.smoke.yaml").read_text())
    section, key = path.split(".")
    raw.setdefault(section, {})[key] = value
    with pytest.raises(ConfigError) as error:
        parse_settings(raw, Params, origin="params.yaml")
    assert words in str(error.value)
