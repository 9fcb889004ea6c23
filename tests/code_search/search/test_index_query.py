"""Questions to an index: order, filters, limits, freshness, explanation, and an index that travels."""

from __future__ import annotations

import json

import numpy as np
import pytest

from code_search.index import build_index, export_snapshot, open_index
from code_search.index.ranking import Ranking
from core.errors import ConfigError, DataError


@pytest.fixture
def index(repository, encoder):
    build_index(repository, encoder=encoder)
    return open_index(repository, encoder=encoder)


def test_three_modes_agree_on_a_clear_question(index):
    for mode in ("hybrid", "dense", "lexical"):
        results = index.search("parse comma separated table", mode=mode)
        assert (results.mode, results.note) == (mode, "")
        first = results[0]
        assert (first.rank, first.name, first.place) == (1, "read_csv_file", "src/io/files.py:4-7")
        assert (first.lang, first.state) == ("python", "current")
        assert first.snippet.startswith("def read_csv_file(path")
        assert (first.score_dense is None) == (mode == "lexical")


def test_scores_fall_and_ranks_count_up(index):
    results = index.search("send a message to a host", top=50)
    assert [result.rank for result in results] == list(range(1, len(results) + 1))
    assert [result.score for result in results] == sorted((r.score for r in results), reverse=True)
    assert all(0 <= result.score <= 1 for result in results)


def test_words_only_returns_only_what_holds_a_word(index):
    results = index.search("recipient", mode="lexical")
    assert [result.name for result in results] == ["sendMessage"]
    assert index.search("xylophone", mode="lexical") == []


def test_the_snippet_starts_at_the_line_that_is_shown(index):
    first = index.search("delay callback calls arriving")[0]
    assert first.start_line == 2
    assert first.snippet.splitlines()[0] == "export const debounce = (callback, milliseconds) => {"


def test_equal_scores_are_ordered_by_path_and_line(tmp_path, encoder, add_files):
    same = "def same(value):\n    return value\n\n\n"
    add_files(tmp_path / "r", {"b.py": same + same, "a.py": same, "c/a.py": same})
    build_index(tmp_path / "r", encoder=encoder)
    opened = open_index(tmp_path / "r", encoder=encoder)
    for mode in ("hybrid", "dense", "lexical"):
        assert [r.place for r in opened.search("same value", mode=mode)] == [
            "a.py:1-2",
            "b.py:1-2",
            "b.py:5-6",
            "c/a.py:1-2",
        ]


@pytest.mark.parametrize(
    ("filters", "paths"),
    [
        ({"lang": "go"}, {"cmd/main.go"}),
        ({"lang": ["go", "ruby"]}, {"cmd/main.go", "lib/sorter.rb"}),
        ({"lang": "rb"}, {"lib/sorter.rb"}),
        ({"path": "lib"}, {"lib/mail.php", "lib/sorter.rb"}),
        ({"path": "lib/"}, {"lib/mail.php", "lib/sorter.rb"}),
        ({"path": "src/**/*.py"}, {"src/io/files.py"}),
        ({"path": "docs/a folder"}, {"docs/a folder/größe der welt.py"}),
        ({"path": "lib", "lang": "php"}, {"lib/mail.php"}),
        ({"path": "nowhere"}, set()),
    ],
)
def test_filters_by_language_and_path(index, filters, paths):
    for mode in ("hybrid", "dense"):
        assert {result.path for result in index.search("a", top=100, mode=mode, **filters)} == paths


@pytest.mark.parametrize("query", ["", "  \n\t", "\x00", "x" * 2001, None, 7, float("nan"), ["read"]])
def test_a_query_that_is_none_is_refused(index, query):
    with pytest.raises(DataError, match="query"):
        index.search(query)


@pytest.mark.parametrize(
    "query", ["\ud800", "🦜", "(((", "*", "def f(:", "-- [a", "the of", "a" * 2000, "\\"]
)
def test_an_odd_query_is_answered(index, query):
    for mode in ("hybrid", "dense", "lexical"):
        assert index.search(query, mode=mode) is not None


@pytest.mark.parametrize(
    "options",
    [
        {"top": 0},
        {"top": 1001},
        {"top": 2.5},
        {"top": True},
        {"mode": "magic"},
        {"path": "../secret"},
        {"path": "/etc"},
        {"path": "a/../../b"},
        {"lang": "cobol"},
    ],
)
def test_options_out_of_range_are_refused(index, options):
    with pytest.raises((ConfigError, DataError), match=next(iter(options)).replace("lang", "language")):
        index.search("read", **options)


def test_an_explanation_adds_up(index):
    first = index.search("parse comma separated table")[0]
    why = index.explain("parse comma separated table", 1)
    assert (why["place"], why["score"]) == (first.place, first.score)
    assert (why["dense"]["rank"], why["lexical"]["rank"]) == (1, 1)
    assert set(why["lexical"]["words"]) == {"pars", "comma", "separ", "tabl"}
    assert sum(why["lexical"]["words"].values()) == pytest.approx(why["lexical"]["score"], abs=0.01)
    json.dumps(why)
    with pytest.raises(DataError, match="rank"):
        index.explain("recipient", 2, mode="lexical")


def test_results_become_a_table(index):
    table = index.search("read", top=3).to_pandas()
    assert table.columns.tolist()[:4] == ["rank", "score", "score_dense", "score_lexical"]
    assert len(table) == 3
    assert index.search("read", path="nowhere").to_pandas().empty


def test_a_deleted_file_is_passed_over(index, repository):
    (repository / "src/io/files.py").unlink()
    results = index.search("parse comma separated table", top=3)
    assert "src/io/files.py" not in {result.path for result in results}
    assert [result.rank for result in results] == [1, 2, 3]


def test_a_function_that_moved_has_its_new_lines(index, repository):
    path = repository / "src/io/files.py"
    path.write_text("import os\n\n" + path.read_text())
    first = index.search("parse comma separated table")[0]
    assert (first.place, first.state) == ("src/io/files.py:6-9", "moved")


def test_a_function_that_changed_is_marked(index, repository):
    path = repository / "src/io/files.py"
    path.write_text(path.read_text().replace("Parse a comma", "Split a comma"))
    assert index.search("parse comma separated table")[0].state == "changed"
    assert index.search("serialise value on disk")[0].state == "current"


def test_a_file_replaced_by_a_link_or_folder_is_passed_over(index, repository):
    (repository / "lib/mail.php").unlink()
    (repository / "lib/mail.php").symlink_to("/etc/passwd")
    (repository / "lib/sorter.rb").unlink()
    (repository / "lib/sorter.rb").mkdir()
    assert not {"lib/mail.php", "lib/sorter.rb"} & {result.path for result in index.search("send", top=20)}


def test_an_exported_index_answers_without_the_repository(index, repository, encoder, tmp_path):
    expected = index.search("reverse runes of a string")
    folder = export_snapshot(index.snapshot.folder.parent, tmp_path / "travel")
    repository.rename(tmp_path / "gone")
    travelled = open_index(folder, encoder=encoder)
    found = travelled.search("reverse runes of a string")
    assert [(r.place, r.score, r.snippet) for r in found] == [(r.place, r.score, r.snippet) for r in expected]
    assert {result.state for result in found} == {"unchecked"}
    assert str(tmp_path) not in (folder / "kindred-snapshot.json").read_text()
    with pytest.raises(DataError, match="encoder"):
        open_index(folder).search("reverse")


def test_the_index_is_found_from_a_folder_below(index, repository, encoder):
    assert len(open_index(repository / "src" / "io", encoder=encoder)) == len(index)


def test_a_repository_with_files_named_like_ours_is_no_index(tmp_path, encoder, add_files):
    root = add_files(
        tmp_path / "web", {"manifest.json": "{}", "current.json": "{}", "a.py": "def a():\n    pass\n"}
    )
    build_index(root, encoder=encoder)
    assert {result.path for result in open_index(root, encoder=encoder).search("a")} >= {"a.py"}


@pytest.mark.parametrize("mode", ["hybrid", "lexical"])
def test_best_first_is_a_stable_sort(mode):
    rng = np.random.default_rng(0)
    for size in (0, 1, 127, 128, 5000):
        score = rng.integers(0, 40, size).astype(np.float32)
        ranking = Ranking(np.arange(size), score, None, score, mode, "")
        expected = np.argsort(-score, kind="stable")
        if mode == "lexical":
            expected = expected[score[expected] > 0]
        assert list(ranking.best_first()) == expected.tolist()
