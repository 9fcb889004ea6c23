"""CodeSearchNet records: full rows, rows of tokens, and the benchmark with a separate codebase."""

from __future__ import annotations

import gzip
import json

import pytest

from code_search.data.codesearchnet import read_benchmark, read_training_rows, to_function
from core.errors import DataError

URL = "https://github.com/me/box/blob/0a1b/src/box.py#L{}-L{}"
ROW = {
    "repo": "me/box",
    "path": "src/box.py",
    "func_name": "Box.open",
    "original_string": "def open(self, key):\n    '''Open the box.'''\n    # turn\n    return self",
    "language": "python",
    "code": "def open(self, key): return self",
    "code_tokens": ["def", "open", "(", "self", ")"],
    "docstring": "Open the box.",
    "docstring_tokens": ["Open", "the", "box", "."],
    "sha": "0a1b",
    "partition": "train",
    "url": URL.format(7, 11),
}


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n")
    return path


def test_full_row():
    function = to_function(ROW)
    assert function.id == "src/box.py:7-11"
    assert function.group == "me/box"
    assert (function.name, function.qualified) == ("open", "Box.open")
    assert function.code == "def open(self, key):\n    return self"
    assert function.documentation == "Open the box ."


def test_code_that_does_not_parse_falls_back_to_its_tokens():
    row = {**ROW, "code": "def open(:", "original_string": "def open(:"}
    assert to_function(row).code == "def open ( self )"


def test_row_of_joined_tokens():
    tokens = [
        "def",
        "largest",
        "(",
        "a",
        ")",
        ":",
        '"""Find the largest row."""',
        "# note",
        "return",
        "<mask>",
        "(",
        "a",
        ")",
    ]
    row = {
        "language": "python",
        "code": " ".join(tokens),
        "code_tokens": tokens,
        "url": "python/maxmin-1",
        "docstring_tokens": ["Find", "the", "largest", "row", "."],
    }
    function = to_function(row)
    assert function.code == "def largest ( a ) :  return <mask> ( a )"
    assert function.name == "largest"
    assert function.id == "python/maxmin-1:1-1"


@pytest.mark.parametrize(
    "row", [{}, {"code": None, "url": None}, {"code_tokens": [1, 2], "language": "cobol"}]
)
def test_rows_with_missing_fields(row):
    assert to_function(row).documentation == ""


def test_benchmark_with_codebase(tmp_path):
    folder = tmp_path / "python"
    empty = {"code": "", "original_string": "", "code_tokens": []}
    bare = {"docstring": "", "docstring_tokens": []}
    others = [
        {**ROW, **bare, "url": URL.format(n, n + 1), "original_string": "", "code": f"def f{n}(): return {n}"}
        for n in range(20, 25)
    ]
    write(folder / "codebase.jsonl", [*others, {**ROW, **bare}, {**ROW, **bare}])
    write(
        folder / "test.jsonl",
        [{**ROW, **empty}, {**ROW, **empty, "url": "elsewhere"}, {**ROW, **empty, **bare}, "not json", "[1]"],
    )
    benchmark = read_benchmark(folder)
    assert benchmark.queries == ["Open the box ."]
    assert len(benchmark.candidates) == 6
    assert benchmark.candidates[benchmark.relevant[0]].qualified == "Box.open"
    assert benchmark.skipped == {
        "repeated url": 1,
        "query without its function": 1,
        "query without documentation": 1,
        "not JSON": 1,
        "not a JSON object": 1,
    }


def test_query_that_stands_in_its_function_is_left_out(tmp_path):
    leaky = {**ROW, "url": "a", "code": "def f():\n    return 'Open the box.'", "original_string": ""}
    write(tmp_path / "test.jsonl", [ROW, leaky])
    benchmark = read_benchmark(tmp_path)
    assert len(benchmark.queries) == 1
    assert len(benchmark.candidates) == 2
    assert benchmark.skipped == {"documentation occurs in the code": 1}


def test_benchmark_errors(tmp_path):
    with pytest.raises(DataError, match=r"test\.jsonl is missing"):
        read_benchmark(tmp_path)
    write(tmp_path / "test.jsonl", [{"url": "a"}])
    with pytest.raises(DataError, match="has no query with a candidate"):
        read_benchmark(tmp_path)


def test_training_rows_are_filtered_and_counted(tmp_path):
    rows = [
        ROW,
        {**ROW, "docstring_tokens": ["Short"]},
        {**ROW, "code": "", "original_string": "", "code_tokens": []},
    ]
    path = tmp_path / "python" / "train.jsonl.gz"
    path.parent.mkdir()
    with gzip.open(path, "wt") as stream:
        stream.write("\n".join([*(json.dumps(row) for row in rows), "{broken"]))
    found = read_training_rows(path)
    assert [f.id for f in found.functions] == ["src/box.py:7-11"]
    assert found.dropped == {"documentation under 3 words": 1, "no code": 1, "not JSON": 1}
    assert found.files[0].status == "partial"
    with pytest.raises(DataError, match="is missing"):
        read_training_rows(tmp_path / "none.jsonl")
