"""A folder of files, or a table that names files, through a model: content is sent, names come back."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from core.errors import ConfigError, DataError
from core.tracking.batch import _assignments, predict_file

COLUMNS = {"sound": "string", "header": "string", "pixels": "array", "top": "long"}


class Reader:
    """Stands in for a model: says what arrived; refuses a file that holds the word bad."""

    def __init__(self, stop_after: int = 10**9) -> None:
        columns = [SimpleNamespace(name=n, type=SimpleNamespace(name=kind)) for n, kind in COLUMNS.items()]
        schema = SimpleNamespace(has_input_names=lambda: True, inputs=columns)
        self.metadata = SimpleNamespace(get_input_schema=lambda: schema)
        self.calls: list[int] = []
        self.stop_after = stop_after

    def predict(self, frame):
        if sum(self.calls) >= self.stop_after:
            raise KeyboardInterrupt
        self.calls.append(len(frame))
        answers = []
        for row in frame.to_dict("records"):
            if isinstance(row.get("sound"), str):
                row["sound"] = base64.b64decode(row["sound"], validate=True).decode()
                if "bad" in row["sound"]:
                    raise ValueError("a bad sound")
            answers.append({name: value for name, value in row.items() if value is not None})
        return answers


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def folder(tmp_path) -> Path:
    home = tmp_path / "söunds 1"
    (home / "b").mkdir(parents=True)
    for name, text in {"a.wav": "A", "b/c.wav": "C", "d.wav": "bad", ".hidden": "x", "e.md": "E"}.items():
        (home / name).write_text(text)
    (home / "out.wav").symlink_to("/etc/hostname")
    return home


def test_each_file_of_a_folder_is_a_row_and_a_stopped_call_goes_on(folder):
    output = folder / "answers.jsonl"  # in the folder itself: it must not become an input
    options = {"label": "m v1", "column": "sound", "values": {"top": "3"}, "pattern": "*.wav", "batch": 2}
    with pytest.raises(KeyboardInterrupt):
        predict_file(Reader(stop_after=2), folder, output, **options)
    assert predict_file(Reader(), folder, output, **options) == (2, 2)
    assert lines(output) == [
        {"row": 0, "file": "a.wav", "prediction": {"sound": "A", "top": 3}},
        {"row": 1, "file": "b/c.wav", "prediction": {"sound": "C", "top": 3}},
    ]
    errors = {row["file"]: row["error"] for row in lines(folder / "answers.jsonl.errors.jsonl")}
    assert errors["d.wav"] == "a bad sound"
    assert "leaves the data root" in errors["out.wav"]
    assert predict_file(Reader(), folder, output, **options) == (2, 2)
    (folder / "new.wav").write_text("N")
    with pytest.raises(DataError, match="begun with another input"):
        predict_file(Reader(), folder, output, **options)


def test_a_table_names_files_as_text_base64_or_numbers(tmp_path):
    (tmp_path / "a.hea").write_text("a 1 500\n")
    (tmp_path / "a.dat").write_bytes(b"raw")
    np.save(tmp_path / "a.npy", np.arange(4.0).reshape(2, 2))
    np.save(tmp_path / "o.npy", np.array([{"an": "object"}], dtype=object))
    source = tmp_path / "in.csv"
    source.write_text(
        "header_file,sound_file,pixels_file,top\na.hea,a.dat,a.npy,1\n,,o.npy,1\n,../x.wav,,1\n,gone.wav,,1\n"
        ",,a.hea,1\n"
    )
    assert predict_file(Reader(), source, tmp_path / "out.jsonl", label="m") == (1, 4)
    (answer,) = lines(tmp_path / "out.jsonl")
    assert answer["file"] == ["a.hea", "a.dat", "a.npy"]
    assert answer["prediction"] == {
        "header": "a 1 500\n",
        "sound": "raw",
        "pixels": [[0, 1], [2, 3]],
        "top": 1,
    }
    told = [row["error"] for row in lines(tmp_path / "out.jsonl.errors.jsonl")]
    for words, error in zip(["as numbers", "leaves the data root", "is not a file", "holds no array"], told):
        assert words in error


def test_large_files_go_to_the_model_in_small_groups(tmp_path, monkeypatch):
    monkeypatch.setattr("core.tracking.batch.GROUP_BYTES", 100)
    for name in range(4):
        (tmp_path / f"{name}.wav").write_text("x" * 60)
    model = Reader()
    predict_file(model, tmp_path, tmp_path / "out.jsonl", label="m", column="sound")
    assert model.calls == [2, 2]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "--column, the field for its files: one of sound, header"),
        ({"column": "audio"}, "saw 'audio', expected one of sound"),
        ({"column": "sound", "values": {"tops": "1"}}, "saw 'tops'"),
        ({"column": "sound", "pattern": "*.flac"}, "holds no file"),
    ],
)
def test_what_is_missing_for_a_folder_is_said(folder, options, words):
    with pytest.raises(DataError, match=words.replace("*", r"\*")):
        predict_file(Reader(), folder, folder / "out.jsonl", label="m", **options)


def test_options_of_a_folder_are_refused_with_a_table(tmp_path):
    (tmp_path / "in.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match="with a folder only"):
        predict_file(Reader(), tmp_path / "in.jsonl", tmp_path / "out.jsonl", label="m", column="sound")
    with pytest.raises(ConfigError, match="FIELD=VALUE"):
        _assignments(["top"])
    assert _assignments(["labels=a=b"]) == {"labels": "a=b"}


def test_a_mended_file_of_a_table_makes_it_another_input(tmp_path):
    (tmp_path / "a.wav").write_text("bad")
    source, output = tmp_path / "in.csv", tmp_path / "out.jsonl"
    source.write_text("sound_file\na.wav\ngone.wav\n")
    assert predict_file(Reader(), source, output, label="m") == (0, 2)
    assert predict_file(Reader(), source, output, label="m") == (
        0,
        2,
    )  # nothing changed: the rest is asked again
    (tmp_path / "a.wav").write_text("good")
    with pytest.raises(DataError, match=r"another input .*delete out\.jsonl, out\.jsonl\.errors\.jsonl, out"):
        predict_file(Reader(), source, output, label="m")
    assert predict_file(Reader(), source, tmp_path / "new.jsonl", label="m") == (1, 1)
    (tmp_path / "gone.wav").write_text("found")
    with pytest.raises(DataError, match="another input"):
        predict_file(Reader(), source, tmp_path / "new.jsonl", label="m")


@pytest.mark.parametrize("pattern", ["/x/*.wav", "**.wav"])
def test_a_pattern_that_is_none_is_said(folder, pattern):
    with pytest.raises(ConfigError, match=r"--pattern .*'\*\.wav'"):
        predict_file(Reader(), folder, folder / "o.jsonl", label="m", column="sound", pattern=pattern)


def test_names_that_are_no_utf8_and_no_path_are_recorded(tmp_path):
    home = tmp_path / "sounds"
    home.mkdir()
    try:
        Path(os.fsdecode(bytes(home) + b"/caf\xe9.wav")).write_text("A")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    output = tmp_path / "out.jsonl"
    assert predict_file(Reader(), home, output, label="m", column="sound") == (1, 0)
    assert lines(output)[0]["file"] == "caf\udce9.wav"
    table = tmp_path / "in.jsonl"
    table.write_text('{"sound_file": "a\\ud800.wav"}\n{"sound_file": "a\\u0000.wav"}\n')
    assert predict_file(Reader(), table, tmp_path / "table.jsonl", label="m") == (0, 2)
