"""A file of rows through a model: everything is answered or listed, and a stopped call goes on."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from core.errors import DataError, ServingError
from core.tracking.batch import predict_file


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
