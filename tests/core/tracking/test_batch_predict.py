"""A file of rows through a model: everything is answered or listed, and a stopped call goes on."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from core.errors import ConfigError, DataError, ServingError
from core.tracking.batch import predict_file
from core.tracking.serving import Field, read_request


class Doubler:
    """Stands in for a loaded model with the columns text and times."""

    def __init__(self, stop_after: int = 10**9):
        self.asked = 0
        self.stop_after = stop_after
        columns = [
            SimpleNamespace(name="text", type=SimpleNamespace(name="string")),
            SimpleNamespace(name="times", type=SimpleNamespace(name="long")),
        ]
        schema = SimpleNamespace(has_input_names=lambda: True, inputs=columns)
        self.metadata = SimpleNamespace(get_input_schema=lambda: schema)

    def predict(self, frame):
        if self.asked >= self.stop_after:
            raise KeyboardInterrupt
        self.asked += len(frame)
        if "bad" in list(frame["text"]):
            raise ServingError("text in row 0: saw 'bad'", expected="something good")
        return [row["text"] * int(row.get("times", 1)) for row in frame.to_dict("records")]


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_csv_rows_are_answered_or_listed(tmp_path):
    source, output = tmp_path / "in.csv", tmp_path / "out" / "answers.jsonl"
    source.write_text('\ufefftext,times\nä,2\nbad,1\n"two\nlines",1\nx,many\nshort\n', encoding="utf-8")
    assert predict_file(Doubler(), source, output, label="m v1", batch=10) == (2, 3)
    assert lines(output) == [{"row": 0, "prediction": "ää"}, {"row": 2, "prediction": "two\nlines"}]
    errors = {row["row"]: row["error"] for row in lines(tmp_path / "out" / "answers.jsonl.errors.jsonl")}
    assert errors.keys() == {1, 3, 4}
    assert "text in row 1: saw 'bad'" in errors[1]
    assert "whole number" in errors[3]
    assert "cells" in errors[4]


def test_jsonl_rows_of_any_quality(tmp_path):
    source, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"text": "a", "times": 1}\n\nnot json\n[1]\n{"text": "b", "times": 1, "more": 1}\n')
    assert predict_file(Doubler(), source, output, label="m v1") == (1, 3)


def test_stopped_call_goes_on_where_it_stopped(tmp_path):
    source, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("".join(json.dumps({"text": f"r{row}", "times": 1}) + "\n" for row in range(20)))
    with pytest.raises(KeyboardInterrupt):
        predict_file(Doubler(stop_after=8), source, output, label="m v1", batch=4)
    # A line that was cut by the kill is answered again.
    with output.open("a") as stream:
        stream.write('{"row": 8, "pred')
    second = Doubler()
    assert predict_file(second, source, output, label="m v1", batch=4) == (20, 0)
    assert second.asked == 12
    assert sorted(row["row"] for row in lines(output)) == list(range(20))
    assert not (tmp_path / "out.jsonl.errors.jsonl").exists()


def test_output_of_another_input_or_model_is_not_mixed_up(tmp_path):
    source, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"text": "a", "times": 1}\n')
    predict_file(Doubler(), source, output, label="m v1")
    with pytest.raises(DataError, match="begun with another input or model"):
        predict_file(Doubler(), source, output, label="m v2")
    source.write_text('{"text": "b", "times": 1}\n')
    with pytest.raises(DataError, match="begun with another input or model"):
        predict_file(Doubler(), source, output, label="m v1")


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("in.txt", b"", "expected a .csv"),
        ("in.csv", b"text\n\xff\n", "not UTF-8"),
        ("gone.csv", None, "cannot be read"),
    ],
)
def test_unreadable_input_is_named(tmp_path, name, content, sentence):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=sentence):
        predict_file(Doubler(), tmp_path / name, tmp_path / "out.jsonl", label="m v1")
    assert not (tmp_path / "out.jsonl").exists()


def test_the_input_is_never_written_over(tmp_path):
    source = tmp_path / "predictions.jsonl"
    source.write_text('{"text": "a"}\n')
    link = tmp_path / "link.jsonl"
    link.symlink_to(source)
    errors = tmp_path / "a.jsonl.errors.jsonl"
    errors.write_text('{"text": "b"}\n')
    for given, output in ((source, source), (source, link), (errors, tmp_path / "a.jsonl")):
        before = given.read_bytes()
        with pytest.raises(ConfigError, match=r"would overwrite the input.*another output with -o"):
            predict_file(Doubler(), given, output, label="m v1")
        assert given.read_bytes() == before
    assert not list(tmp_path.glob("*.state.json"))


def test_a_file_that_no_call_has_begun_is_left_alone(tmp_path):
    source, output = tmp_path / "in.jsonl", tmp_path / "notes.jsonl"
    source.write_text('{"text": "a"}\n')
    output.write_text("mine\n")
    with pytest.raises(ConfigError, match=r"exists already.*5 bytes.*delete notes\.jsonl"):
        predict_file(Doubler(), source, output, label="m v1")
    assert output.read_text() == "mine\n"
    with pytest.raises(ConfigError, match="a folder"):
        predict_file(Doubler(), source, tmp_path, label="m v1")
    output.write_text("")
    assert predict_file(Doubler(), source, output, label="m v1") == (1, 0)
    assert predict_file(Doubler(), source, output, label="m v1") == (1, 0)


def test_refused_rows_are_asked_again_and_answers_are_not(tmp_path):
    source, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"text": "a"}\n{"text": "bad"}\n')
    assert predict_file(Doubler(), source, output, label="m v1") == (1, 1)
    kinder = Doubler()
    kinder.predict = lambda frame: list(frame["text"])
    assert predict_file(kinder, source, output, label="m v1") == (2, 0)
    assert [row["row"] for row in lines(output)] == [0, 1]
    assert not (tmp_path / "out.jsonl.errors.jsonl").exists()


def test_an_empty_cell_is_an_absent_value_of_every_type(tmp_path):
    class Served(Doubler):
        def predict(self, frame):
            fields = [
                Field("text", "text", required=False, default="none"),
                Field("times", "integer", False, 1),
            ]
            return [row["text"] * row["times"] for row in read_request(frame, fields)]

    source, output = tmp_path / "in.csv", tmp_path / "out.jsonl"
    source.write_text("text,times\n,2\nb,2\n,\n")
    assert predict_file(Served(), source, output, label="m v1") == (3, 0)
    # A whole number is given in all rows of a batch or in none, so that here each row went alone.
    assert [row["prediction"] for row in lines(output)] == ["nonenone", "bb", "none"]


def test_long_cells_are_read_and_endless_ones_are_refused_by_line(tmp_path, monkeypatch):
    source = tmp_path / "in.csv"
    source.write_text("text,times\nshort,1\n" + "x" * 300_000 + ",1\n")
    assert predict_file(Doubler(), source, tmp_path / "out.jsonl", label="m v1") == (2, 0)
    assert len(lines(tmp_path / "out.jsonl")[1]["prediction"]) == 300_000
    monkeypatch.setattr("core.tracking.inputs.CELL_LIMIT", 1000)
    with pytest.raises(DataError, match=r"in\.csv after line 2.*field larger.*FIELD_file"):
        predict_file(Doubler(), source, tmp_path / "other.jsonl", label="m v1")
    assert not (tmp_path / "other.jsonl").exists()


def test_half_a_surrogate_pair_is_recorded(tmp_path):
    source, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text(
        '{"text": "a\\ud800ä"}\n{"text": "b"}\n{"text": "bad", "times": "\\udcff"}\n', encoding="utf-8"
    )
    assert predict_file(Doubler(), source, output, label="m v1") == (1, 2)
    assert [row["prediction"] for row in lines(output)] == ["b"]
    errors = {row["row"]: row["input"] for row in lines(tmp_path / "out.jsonl.errors.jsonl")}
    assert errors == {0: {"text": "a\ud800ä"}, 2: {"text": "bad", "times": "\udcff"}}
