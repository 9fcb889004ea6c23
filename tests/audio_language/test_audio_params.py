"""Every params file that is shipped is valid, and wrong values are refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from audio_language.settings import Params
from core.config import load_settings, parse_settings
from core.errors import ConfigError

FOLDER = Path(__file__).resolve().parents[2] / "pipelines" / "audio_temporal"
FILES = sorted(FOLDER.glob("params*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_shipped_file_is_valid_and_a_window_holds_two_demo_clips(file):
    params = load_settings(file, Params)
    assert file.read_text(encoding="utf-8").startswith("#"), "says what it is for"
    if params.data.source == "demo":
        assert params.model.front_end.seconds >= 2 * params.data.demo.seconds


def test_the_paper_settings_are_those_of_the_released_code():
    adapt = load_settings(FOLDER / "params.paper.yaml", Params).adapt
    assert (adapt.alpha_same, adapt.alpha_cross, adapt.beta, adapt.learning_rate) == (1, 1, 1, 1e-3)
    assert (adapt.text_layers, adapt.part, adapt.rehearsal, adapt.paraphrase) == (1, "post", 0, 0)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("data.source", "kaggle", "data.source"),
        ("data.source", "esc50", "data.root"),
        ("data.demo.classes", 99, "data.demo.classes"),
        ("data.folds", {"train": [1], "exam": [2]}, "data.folds"),
        ("model.head.segments", 1, "model.head.segments"),
        ("model.headd", None, "head"),
        ("pretrain.steps", -1, "pretrain.steps"),
        ("adapt.beta", -0.5, "adapt.beta"),
        ("adapt.learning_rate", "1e-3", "1.0e-3"),
        ("adapt.train_share", 0.97, "train_share"),
        ("adapt.part", "towers", "adapt.part"),
        ("evaluate.pairs", "many", "evaluate.pairs"),
    ],
)
def test_a_wrong_value_is_refused_by_name(path, value, words):
    raw = yaml.safe_load((FOLDER / "params.smoke.yaml").read_text())
    *parents, name = path.split(".")
    section = raw
    for parent in parents:
        section = section.setdefault(parent, {})
    section[name] = value
    with pytest.raises(ConfigError) as error:
        parse_settings(raw, Params, origin="params.yaml")
    assert words in str(error.value)
