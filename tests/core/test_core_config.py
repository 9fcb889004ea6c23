from __future__ import annotations

import pytest
from pydantic import Field, ValidationError

from core.config import Settings, load_settings, parse_settings
from core.errors import ConfigError


class Learning(Settings):
    rate: float = Field(0.1, gt=0)
    steps: int = 10


class Params(Settings):
    seed: int
    learning: Learning = Learning()
    other: Learning | None = None
    several: list[Learning] = Field(default_factory=list)


def load(tmp_path, text: str) -> Params:
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    return load_settings(path, Params)


def test_values_are_read_and_frozen(tmp_path):
    settings = load(tmp_path, "seed: 3\nlearning: {rate: 1.0e-3}\n")
    assert (settings.seed, settings.learning.rate, settings.learning.steps) == (3, 0.001, 10)
    with pytest.raises(ValidationError):
        settings.seed = 4


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("seed: 1\nlearnin: {}", ["learnin in", "did you mean 'learning'"]),
        ("seed: 1\nlearning: {rat: 1}", ["learning.rat in", "did you mean 'rate'"]),
        ("seed: 1\nother: {rat: 1}", ["did you mean 'rate'"]),
        ("seed: 1\nseveral: [{rat: 1}]", ["did you mean 'rate'"]),
        ("seed: 1\nlearning: {zzz: 1}", ["use one of: rate, steps"]),
        ("learning: {rate: 1}", ["seed in", "missing"]),
        ("seed: 1.5", ["seed in", "1.5", "integer"]),
        ("seed: yes", ["seed in", "True"]),
        ("seed: '1'", ["seed in", "'1'"]),
        ("seed: 1\nlearning: {rate: -1}", ["learning.rate in", "-1", "greater than 0"]),
        ("seed: 1\nlearning: {rate: .nan}", ["learning.rate in", "nan"]),
        ("seed: 1\nlearning: {rate: 1e-3}", ["YAML reads 1e-3 as text", "1.0e-3"]),
        ("seed: 1\nlearning: {rate: 1.e3}", ["YAML reads 1.e3 as text", "1.0e+3"]),
        ("seed: 1\nseed: 2", ["given twice"]),
        ("[1, 2]", ["mapping of sections"]),
        ("seed: [", ["is not YAML"]),
        ("seed: !!python/object/apply:os.system ['true']", ["is not YAML"]),
        ("", ["seed in", "missing"]),
    ],
)
def test_a_wrong_file_is_explained(tmp_path, text, told):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert "params.yaml" in str(caught.value)
    for words in told:
        assert words in str(caught.value)


@pytest.mark.parametrize("text", ["1e-3", "1.e3", "2E5", "-1.5e4", "+3e+2"])
def test_the_remedy_for_an_exponent_is_read_as_the_number(tmp_path, text):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, f"seed: 1\nlearning: {{rate: {text}}}")
    advised = str(caught.value).split("write ")[1].split(" or")[0]
    if float(text) > 0:
        assert load(tmp_path, f"seed: 1\nlearning: {{rate: {advised}}}").learning.rate == float(text)


def test_all_problems_are_listed_at_once():
    with pytest.raises(ConfigError, match=r"(?s)seed.*also.*learning\.steps"):
        parse_settings({"seed": "a", "learning": {"steps": "b"}}, Params, origin="here")


def test_a_missing_file_says_how_to_give_one(tmp_path):
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(ConfigError, match="--params"):
            load_settings(path, Params)


def test_a_file_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "params.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not YAML"):
        load_settings(tmp_path / "params.yaml", Params)
