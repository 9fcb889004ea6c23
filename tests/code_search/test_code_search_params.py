"""Every params file that is shipped is valid, and wrong values are refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from code_search.settings import Params
from core.config import load_settings, parse_settings
from core.errors import ConfigError

FOLDER = Path(__file__).resolve().parents[2] / "pipelines" / "code_search"
FILES = sorted(FOLDER.glob("params*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_shipped_file_is_valid_and_its_queues_fit_its_batches(file):
    params = load_settings(file, Params)
    assert params.pretrain.queue_size % params.pretrain.batch_size == 0
    text = file.read_text(encoding="utf-8")
    assert text.startswith("#"), "says what it is for"


def test_the_paper_settings_are_those_of_the_paper():
    pretrain = load_settings(FOLDER / "params.paper.yaml", Params).pretrain
    assert (pretrain.batch_size, pretrain.queue_size, pretrain.steps) == (128, 1024, 100_000)
    assert (pretrain.momentum, pretrain.temperature, pretrain.learning_rate) == (0.999, 0.07, 2e-5)
    assert pretrain.hide_name == 0


@pytest.mark.parametrize(("key", "value"), [("valid_fraction", 0.2), ("scheduler", "local")])
def test_what_a_source_cannot_use_is_refused(key, value):
    raw = yaml.safe_load((FOLDER / "params.smoke.yaml").read_text())
    raw["data"] = {"source": "codesearchnet", "root": "data", key: value}
    with pytest.raises(ConfigError, match=f"data.{key}: .* leave it out"):
        parse_settings(raw, Params, origin="params.yaml")


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("pretrain.steps", 0, "pretrain.steps"),
        ("pretrain.momentum", 1.5, "pretrain.momentum"),
        ("pretrain.temperature", 0, "pretrain.temperature"),
        ("pretrain.learning_rate", "1e-3", "1.0e-3"),
        ("pretrain.queue", 128, "queue_size"),
        ("data.source", "kaggle", "data.source"),
        ("data.source", "manifest", "data.root"),
        ("data.languages", ["go"], "data.languages"),
        ("model.vocabulary", 10, "model.vocabulary"),
        ("evaluate.robustness.counts", ["some"], "counts"),
        ("trainer.precision", 32, "trainer.precision"),
        ("evidence.seeds", "five", "evidence.seeds"),
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
