"""Own data that changed since the last run are noticed, whatever way they changed; nothing else is."""

from __future__ import annotations

import os

import pytest

from core.cli.changes import changed_since, named_files, remember


@pytest.fixture
def scans(tmp_path, monkeypatch):
    """The folder of own data of a pipeline "toy", whose last run is remembered."""
    root, scans = tmp_path / "checkout", tmp_path / "my scäns"
    (root / "pipelines" / "toy").mkdir(parents=True)
    (scans / "p1").mkdir(parents=True)
    (scans / "manifest.csv").write_text("id,path\na,p1/a.bin\n")
    (scans / "p1" / "a.bin").write_bytes(b"one")
    text = f"data: {{root: '{scans}', manifest: '{scans}/manifest.csv', source: manifest}}\nkind: lr\n"
    (root / "pipelines" / "toy" / "params.yaml").write_text(text)
    monkeypatch.chdir(root)
    assert changed_since("toy")[0] == []  # nothing is remembered yet
    remember("toy", changed_since("toy")[1])
    return scans


def test_what_stayed_as_it_was_has_not_changed(scans):
    assert changed_since("toy")[0] == []
    (scans / ".cache").mkdir()
    (scans / ".cache" / "x").touch()
    assert changed_since("toy")[0] == []


def test_a_relabelled_manifest_a_replaced_a_new_and_a_missing_file_are_changes(scans):
    (scans / "manifest.csv").write_text("id,path\nb,p1/a.bin\n")
    assert changed_since("toy")[0] == [str(scans), str(scans / "manifest.csv")]
    for change in (
        lambda: (scans / "p1" / "a.bin").write_bytes(b"two"),
        lambda: (scans / "p1" / "b.bin").touch(),
        lambda: (scans / "p1" / "b.bin").unlink(),
        lambda: os.utime(scans / "p1" / "a.bin", ns=(1, 1)),
    ):
        remember("toy", changed_since("toy")[1])
        change()
        assert changed_since("toy")[0] == [str(scans)]


def test_other_data_are_left_to_dvc_which_sees_the_params(scans, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    params = tmp_path / "checkout" / "pipelines" / "toy" / "params.yaml"
    params.write_text(f"data: {{root: '{other}'}}")
    changed, state = changed_since("toy")
    assert changed == []
    assert list(state) == [str(other)]


def test_what_dvc_follows_and_what_is_no_path_is_left_out(scans):
    (scans.parent / "checkout" / "outputs").mkdir()
    assert (
        named_files({"a": "pipelines/toy/params.yaml", "b": ["outputs", "", "x" * 5000, "\0", 3, None]}) == {}
    )


def test_params_that_cannot_be_read_are_left_to_the_stage(scans):
    (scans.parent / "checkout" / "pipelines" / "toy" / "params.yaml").write_text("a: [")
    assert changed_since("toy") == ([], {})
    assert changed_since("none") == ([], {})
