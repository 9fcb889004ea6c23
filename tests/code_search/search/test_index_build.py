"""Making an index and keeping it up: what is read, embedded, carried over, refused."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from code_search.index import Options, build_index, open_index
from code_search.index.location import default_location
from code_search.index.store import Store
from core.errors import ConfigError, DataError


def places(index):
    snapshot = index.snapshot
    spans = [f"{start}-{end}" for _, start, end, _ in snapshot.rows]
    return {f"{snapshot.path(row)}:{span} {snapshot.names[row]}" for row, span in enumerate(spans)}


def assert_same_as_fresh(root, encoder, tmp_path):
    """The kept-up index holds what an index made from nothing holds, and ranks the same."""
    fresh = tmp_path / f"fresh-{time.monotonic_ns()}"
    build_index(root, index_dir=fresh, encoder=encoder)
    ours, theirs = open_index(root, encoder=encoder), open_index(index_dir=fresh, encoder=encoder)
    assert ours.snapshot.files == theirs.snapshot.files
    assert ours.snapshot.description.languages == theirs.snapshot.description.languages
    for name in ("rows", "keys", "vectors", "has_vector"):
        np.testing.assert_array_equal(getattr(ours.snapshot, name), getattr(theirs.snapshot, name))
    for row in range(len(theirs)):
        assert ours.snapshot.texts[row] == theirs.snapshot.texts[row]
        assert ours.snapshot.names[row] == theirs.snapshot.names[row]
    for query in ("read rows", "send message to a host", "reverse string"):
        assert list(ours.search(query)) == list(theirs.search(query))


def test_functions_of_six_languages_are_found_at_their_lines(repository, encoder):
    report = build_index(repository, encoder=encoder)
    index = open_index(repository, encoder=encoder)
    assert {
        "src/io/files.py:4-7 read_csv_file",
        "src/io/files.py:11-13 Writer.write_json",
        "web/debounce.js:2-5 debounce",
        "lib/sorter.rb:2-4 bubble_sort",
        "docs/a folder/größe der welt.py:1-3 planet_radius",
    } <= places(index)
    assert set(index.snapshot.description.languages) == {"python", "java", "javascript", "go", "php", "ruby"}
    assert report.functions == report.vectors == len(index)
    for query, name in (
        ("parse a comma separated table", "read_csv_file"),
        ("reverse the runes of a string", "ReverseString"),
        ("planet radius kilometres", "planet_radius"),
        ("connect to remote host", "Client.connectToHost"),
    ):
        assert index.search(query)[0].name == name


def test_unchanged_means_nothing_is_read_embedded_or_written(repository, encoder):
    build_index(repository, encoder=encoder)
    before = (open_index(repository).snapshot.folder, encoder.encoded)
    again = build_index(repository, encoder=encoder)
    assert (again.read, again.embedded, again.changed) == (0, 0, False)
    assert (open_index(repository).snapshot.folder, encoder.encoded) == before


def test_an_edit_embeds_only_what_changed(repository, encoder, tmp_path):
    build_index(repository, encoder=encoder)
    before = encoder.encoded
    path = repository / "src/io/files.py"
    path.write_text(path.read_text().replace("Serialise", "Marshal"))
    report = build_index(repository, encoder=encoder)
    assert (report.read, report.embedded, encoder.encoded - before) == (1, 1, 1)
    assert open_index(repository, encoder=encoder).search("marshal")[0].name == "Writer.write_json"
    assert_same_as_fresh(repository, encoder, tmp_path)


def test_a_renamed_file_keeps_its_vectors(repository, encoder, tmp_path):
    build_index(repository, encoder=encoder)
    before = encoder.encoded
    (repository / "src/io/files.py").rename(repository / "src/tables.py")
    report = build_index(repository, encoder=encoder)
    assert encoder.encoded == before
    assert report.embedded == 0
    assert open_index(repository, encoder=encoder).search("comma separated")[0].path == "src/tables.py"
    assert_same_as_fresh(repository, encoder, tmp_path)


def test_vanished_files_are_dropped_and_copies_embedded_once(repository, encoder, tmp_path):
    (repository / "copy.py").write_text((repository / "src/io/files.py").read_text())
    report = build_index(repository, encoder=encoder)
    assert report.embedded == report.functions - 2
    assert len({r.path for r in open_index(repository, encoder=encoder).search("comma separated", 2)}) == 2
    (repository / "src/io/files.py").unlink()
    (repository / "lib/mail.php").unlink()
    build_index(repository, encoder=encoder)
    assert "php" not in open_index(repository).snapshot.description.languages
    assert_same_as_fresh(repository, encoder, tmp_path)


def test_branches_switched_back_and_forth(repository, encoder, run_git, add_files, tmp_path):
    run_git(repository, "init", "-q", "-b", "main")
    run_git(repository, "add", "-A")
    run_git(repository, "commit", "-qm", "one")
    build_index(repository, encoder=encoder)
    run_git(repository, "checkout", "-qb", "other")
    add_files(repository, {"new/deep.py": "def depth_first(graph):\n    return walk(graph)\n"})
    (repository / "cmd/main.go").unlink()
    run_git(repository, "mv", "lib/sorter.rb", "lib/order.rb")
    run_git(repository, "add", "-A")
    run_git(repository, "commit", "-qm", "two")
    build_index(repository, encoder=encoder)
    assert_same_as_fresh(repository, encoder, tmp_path)
    run_git(repository, "checkout", "-q", "main")
    build_index(repository, encoder=encoder)
    assert_same_as_fresh(repository, encoder, tmp_path)


def test_a_touched_file_is_not_read_again_but_a_disguised_edit_is(repository, encoder):
    build_index(repository, encoder=encoder)
    path = repository / "lib/sorter.rb"
    stat = path.stat()
    os.utime(path, (stat.st_atime + 100, stat.st_mtime + 100))
    assert build_index(repository, encoder=encoder).read == 0
    text = path.read_text()
    path.write_text(text.replace("bubble", "barrel"))
    os.utime(path, (stat.st_atime + 100, stat.st_mtime + 100))
    assert build_index(repository, encoder=encoder).read == 1
    assert open_index(repository, encoder=encoder).search("barrel sort")[0].name == "barrel_sort"


def test_ignore_rules_and_patterns(repository, encoder, add_files):
    add_files(
        repository,
        {
            ".gitignore": "*.log.py\nbuild/\n",
            "web/.gitignore": "*.js\n!keep.js\n",
            "web/keep.js": "function kept() { return 1; }\n",
            "build/made.py": "def made():\n    return 1\n",
            "x.log.py": "def logged():\n    return 1\n",
        },
    )
    build_index(repository, encoder=encoder)
    paths = {place.split(":")[0] for place in places(open_index(repository))}
    assert "web/keep.js" in paths
    assert not paths & {"web/debounce.js", "build/made.py", "x.log.py"}
    report = build_index(
        repository, encoder=encoder, options=Options(include=["*.py", "*.rb"], exclude=["docs/"])
    )
    paths = {place.split(":")[0] for place in places(open_index(repository))}
    assert paths == {"src/io/files.py", "lib/sorter.rb"}
    assert build_index(repository, encoder=encoder).functions == report.functions  # remembered


def test_files_left_out_are_counted_by_reason(repository, encoder, add_files):
    add_files(
        repository,
        {"big.py": "x = 1\n" * 500, "node_modules/a/index.js": "function f() {}\n", "empty.py": ""},
    )
    (repository / "blob.bin").write_bytes(b"\x00\x01\x02")
    (repository / "loop").symlink_to(repository)
    report = build_index(repository, encoder=encoder, options=Options(max_file_kb=1))
    assert {"over 1 kB", "binary", "symbolic link", "empty"} <= set(report.skipped)
    with pytest.raises(ConfigError, match="max-file-kb"):
        Options(max_file_kb=0)


@pytest.mark.parametrize("with_git", [False, True])
def test_an_empty_repository_gives_an_empty_index(tmp_path, encoder, run_git, with_git):
    root = tmp_path / "empty"
    root.mkdir()
    if with_git:
        run_git(root, "init", "-q")
    report = build_index(root, encoder=encoder)
    assert (report.files, report.functions) == (0, 0)
    index = open_index(root, encoder=encoder)
    for mode in ("hybrid", "lexical", "dense"):
        assert index.search("anything", mode=mode) == []


def test_nothing_is_written_into_the_repository(repository, encoder):
    before = {path: path.stat().st_mtime_ns for path in repository.rglob("*")}
    build_index(repository, encoder=encoder)
    open_index(repository, encoder=encoder).search("read")
    assert {path: path.stat().st_mtime_ns for path in repository.rglob("*")} == before


def test_without_a_home_the_index_hides_in_the_repository(repository, encoder, run_git, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME")
    run_git(repository, "init", "-q")
    report = build_index(repository, encoder=encoder)
    assert report.folder == repository / ".kindred" / "index"
    assert build_index(repository, encoder=encoder).changed is False
    assert not any(".kindred" in place for place in places(open_index(repository / "src")))


def test_an_index_folder_inside_the_root_is_not_indexed(repository, encoder):
    build_index(repository, encoder=encoder, index_dir=repository / "idx")
    again = build_index(repository, encoder=encoder, index_dir=repository / "idx")
    assert again.changed is False
    assert not any(place.startswith("idx") for place in places(open_index(index_dir=repository / "idx")))


def test_wrong_places_are_refused_with_the_remedy(repository, encoder, tmp_path):
    with pytest.raises(DataError, match="nothing there"):
        build_index(tmp_path / "missing", encoder=encoder)
    with pytest.raises(DataError, match="a folder to index"):
        build_index(repository / "cmd/main.go", encoder=encoder)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="--index-dir"):
        build_index(repository, encoder=encoder, index_dir=tmp_path / "file" / "below")
    build_index(repository, encoder=encoder, index_dir=tmp_path / "taken")
    with pytest.raises(DataError, match="another --index-dir"):
        build_index(repository / "src", encoder=encoder, index_dir=tmp_path / "taken")
    with pytest.raises(DataError, match="no such folder"):
        build_index(repository, model=tmp_path / "no model")
    with pytest.raises(DataError, match=f"kindred index {tmp_path}"):
        open_index(tmp_path)


def test_two_roots_of_one_name_have_two_indexes(tmp_path):
    assert default_location(tmp_path / "a" / "repo") != default_location(tmp_path / "b" / "repo")


def test_another_model_makes_all_vectors_anew_and_is_refused_before(repository, encoder, make_encoder):
    build_index(repository, encoder=encoder)
    other = make_encoder("other")
    with pytest.raises(DataError, match=r"kindred index .* --model"):
        open_index(repository, encoder=other)
    report = build_index(repository, encoder=other)
    assert report.embedded == report.functions
    assert "another one" in report.notes[0]
    assert open_index(repository, encoder=other).search("comma separated").mode == "hybrid"


def test_model_none_keeps_the_words_only(repository, encoder):
    build_index(repository, encoder=encoder)
    build_index(repository, model="none")
    results = open_index(repository).search("comma separated")
    assert (results.mode, results[0].name) == ("lexical", "read_csv_file")
    assert "without a model" in results.note


def test_unusable_vectors_are_refused_and_the_words_stay(repository, make_encoder):
    broken = make_encoder()
    broken.encode_functions = lambda texts: np.full((len(texts), broken.dim), np.nan)
    with pytest.raises(DataError, match="finite"):
        build_index(repository, encoder=broken)
    assert open_index(repository).search("comma separated")[0].name == "read_csv_file"


def test_a_new_model_that_fails_leaves_the_vectors_of_the_old_one(repository, encoder, make_encoder):
    build_index(repository, encoder=encoder)
    broken = make_encoder("broken")
    broken.encode_functions = lambda texts: np.zeros((1, 3))
    with pytest.raises(DataError, match="vectors of the encoder"):
        build_index(repository, encoder=broken)
    assert open_index(repository, encoder=encoder).search("comma separated").mode == "hybrid"


def test_an_interrupted_embedding_goes_on_where_it_was(repository, encoder, monkeypatch):
    from code_search.index import embed

    monkeypatch.setattr(embed, "BATCH", 2)
    encode, calls = encoder.encode_functions, []

    def stop_after_two(texts):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(len(texts))
        return encode(texts)

    encoder.encode_functions = stop_after_two
    with pytest.raises(KeyboardInterrupt):
        build_index(repository, encoder=encoder)
    results = open_index(repository, encoder=encoder).search("reverse runes of a string", 20)
    assert f"4 of {len(results)} functions have a vector" in results.note
    assert sum(result.score_dense is not None for result in results) == 4
    encoder.encode_functions = encode
    assert build_index(repository, encoder=encoder).embedded == len(results) - 4


def test_while_files_are_read_what_is_read_can_be_searched(repository, encoder, add_files, monkeypatch):
    from code_search.index import files
    from code_search.index.progress import Pace

    monkeypatch.setattr(files, "_CHUNK", 1)
    monkeypatch.setattr(Pace, "due", True)
    seen = []

    def look(progress):
        if progress.what == "files" and 1 < progress.done < progress.total:
            results = open_index(repository).search("planet kilometres", mode="lexical")
            seen.append((len(results), results.note))

    build_index(repository, encoder=encoder, progress=look)
    assert seen[0][0] == 0
    assert "files are not indexed yet" in seen[0][1]
    assert seen[-1][0] == 1
    assert open_index(repository, encoder=encoder).search("planet").note == ""


def test_the_same_repository_gives_the_same_files_byte_for_byte(repository, encoder, tmp_path, monkeypatch):
    from code_search.index import export_snapshot, files
    from code_search.index.progress import Pace

    build_index(repository, encoder=encoder, index_dir=tmp_path / "one")
    monkeypatch.setattr(files, "_CHUNK", 1)
    monkeypatch.setattr(Pace, "due", True)
    build_index(repository, encoder=encoder, index_dir=tmp_path / "two")
    one, two = (export_snapshot(tmp_path / name, tmp_path / f"{name} out") for name in ("one", "two"))
    assert {path.name: path.read_bytes() for path in one.iterdir()} == {
        path.name: path.read_bytes() for path in two.iterdir()
    }


def test_older_snapshots_are_removed(repository, encoder, add_files):
    for number in range(4):
        add_files(repository, {"more.py": f"def more_{number}():\n    return {number}\n"})
        folder = build_index(repository, encoder=encoder).folder
    assert len(list(folder.glob("snapshot-*"))) == 2
    assert Store(folder).read().folder in set(Path(folder).iterdir())
