"""`kindred index`, `search`, `status` and `explain` as a user types them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from code_search.cli import app
from code_search.index import build_index
from core.cli.exit_codes import NOTHING_FOUND
from core.errors import DataError, KindredError


@pytest.fixture
def kindred(repository, monkeypatch):
    """Runs a command in the repository; returns (exit status, stdout, stderr)."""
    monkeypatch.chdir(repository)

    def call(*arguments):
        result = CliRunner().invoke(app, list(map(str, arguments)))
        if isinstance(result.exception, KindredError):
            raise result.exception
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.stdout, result.stderr

    return call


@pytest.fixture
def indexed(kindred):
    kindred("index", ".", "--model", "none")
    return kindred


def test_index_says_what_it_did_and_what_it_left_out(kindred, repository):
    (repository / "a.bin").write_bytes(b"\x00")
    status, output, errors = kindred("index", ".", "--model", "none")
    assert status == 0
    assert "functions in 7 files" in output
    assert "left out 1 files: 1 binary" in output
    assert "can be searched now" in errors
    assert "read 0 files" in kindred("index")[1]


def test_piped_results_are_lines_that_tools_understand(indexed):
    status, output, errors = indexed("search", "comma separated table", "--top", 1)
    lines = output.splitlines()
    assert status == 0
    assert lines[0].startswith("src/io/files.py:4-7  read_csv_file  ")
    assert lines[1] == 'src/io/files.py:4:def read_csv_file(path, delimiter=","):'
    assert "\x1b" not in output
    assert "without a model" in errors
    assert len(indexed("search", "comma separated table", "--short")[1].splitlines()) == 1


def test_json_holds_everything(indexed, repository):
    output = json.loads(indexed("search", "send message", "--json", "--mode", "lexical")[1])
    assert (output["root"], output["query"], output["mode"]) == (str(repository), "send message", "lexical")
    first = output["results"][0]
    assert (first["path"], first["start_line"], first["end_line"], first["rank"]) == ("lib/mail.php", 3, 5, 1)
    assert {"score", "score_dense", "score_lexical", "name", "lang", "snippet", "state"} <= set(first)


@pytest.mark.parametrize("path", ["lib", "lib/", "./lib", "lib/mail.php", "*.php", "lib/**"])
def test_path_is_a_folder_a_file_or_a_pattern(indexed, path):
    output = indexed("search", "return value", "--path", path, "--short")[1]
    assert {line.split(":")[0].split("/")[0] for line in output.splitlines()} == {"lib"}


def test_path_means_the_index_around_it(indexed, repository, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    output = indexed("search", "numbers", "--path", repository / "lib", "--short")[1]
    assert output.startswith(f"{repository}/lib/sorter.rb:2-4  bubble_sort")
    monkeypatch.chdir(repository / "lib")
    assert indexed("search", "numbers", "--short")[1].startswith("sorter.rb:2-4")
    assert indexed("search", "runes", "--short")[1].startswith("../cmd/main.go:4")
    with pytest.raises(DataError, match="no index covers"):
        indexed("search", "numbers", "--path", tmp_path)


def test_nothing_found_has_its_own_exit_code(indexed):
    status, output, errors = indexed("search", "xylophone")
    assert (status, output) == (NOTHING_FOUND, "")
    assert "nothing found" in errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search", ""], "query"),
        (["search", "x" * 3000], "at most 2,000"),
        (["search", "x", "--top", "0"], "top"),
        (["search", "x", "--mode", "magic"], "mode"),
        (["search", "x", "--lang", "cobol"], "language"),
        (["search", "x", "--path", "../*"], "path"),
        (["search", "x", "--mode", "dense"], "--model"),
        (["explain", "comma", "--rank", "9"], "rank"),
        (["index", "nowhere"], "nothing there"),
        (["index", ".", "--max-file-kb", "0"], "max-file-kb"),
        (["index", ".", "--model", "nowhere"], "no such folder"),
    ],
)
def test_mistakes_are_named(indexed, arguments, message):
    with pytest.raises(KindredError, match=message):
        indexed(*arguments)


def test_options_are_remembered_and_cleared(indexed):
    indexed("index", ".", "--exclude", "lib/", "--exclude", "docs/")
    assert "functions in 4 files" in indexed("index")[1]
    assert "functions in 4 files" in indexed("index", ".", "--max-file-kb", 500)[1]
    assert "functions in 7 files" in indexed("index", ".", "--exclude", "")[1]


def test_status_counts_and_notices_changes(indexed, repository):
    (repository / "lib/mail.php").unlink()
    (repository / "web/new.js").write_text("function fresh() { return 1; }\n")
    path = repository / "cmd/main.go"
    path.write_text(path.read_text() + "\n")
    output = indexed("status")[1]
    assert f"index of      {repository}" in output
    assert "1 changed, 1 new, 1 gone: run kindred index" in output
    found = json.loads(indexed("status", "--json")[1])
    assert (found["changed"], found["new"], found["gone"]) == (
        ["cmd/main.go"],
        ["web/new.js"],
        ["lib/mail.php"],
    )
    indexed("index")
    assert "nothing changed" in indexed("status")[1]


def test_status_names_what_was_left_out(kindred, repository):
    (repository / "a.bin").write_bytes(b"\x00")
    (repository / "broken.py").write_text("def ok():\n    return 1\n\ndef (((\n")
    kindred("index", ".", "--model", "none")
    output = kindred("status", "--skipped")[1]
    assert "left out      1 binary\n                a.bin" in output
    assert "syntax errors 1 files" in output


def test_explain_names_the_words(indexed):
    output = indexed("explain", "comma separated")[1]
    assert output.startswith("src/io/files.py:4-7  read_csv_file")
    assert "comma" in output
    assert "separ" in output
    assert json.loads(indexed("explain", "comma separated", "--json")[1])["lexical"]["rank"] == 1


def test_results_that_changed_are_marked(indexed, repository):
    path = repository / "cmd/main.go"
    path.write_text(path.read_text().replace("opposite", "other"))
    assert "changed since" in indexed("search", "runes", "--short")[1]


def test_a_terminal_gets_colours_and_no_escape_codes_from_files(repository, encoder, capsys, monkeypatch):
    from code_search.index import open_index
    from code_search.index.printing import print_results

    (repository / "evil.py").write_text("def evil():\n    return '\x1b[2J\x07'\n")
    build_index(repository, encoder=encoder)
    results = open_index(repository, encoder=encoder).search("evil", 1)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    print_results(results, repository)
    output = capsys.readouterr().out
    assert "\x1b[35m" in output
    assert "\x1b[2J" not in output
    monkeypatch.setenv("NO_COLOR", "1")
    print_results(results, repository)
    assert "\x1b" not in capsys.readouterr().out


def test_the_command_itself_ends_with_one_sentence_and_status_two(repository):
    done = subprocess.run(
        [sys.executable, "-m", "core.cli", "search", "read"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "kindred index" in done.stderr
    assert "torch" not in done.stderr
