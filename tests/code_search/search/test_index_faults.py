"""What must not hurt an index: damage, kill -9, two writers, readers while writing, odd files."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from code_search.index import build_index, open_index
from code_search.index.store import Store
from core.errors import DataError
from core.files import sha256_file

# Publishes after every file, with pauses in between, so that a kill meets every phase of the work.
SLOW_WRITER = """
import sys, time
from code_search.index import build_index, files, snapshot
from code_search.index.progress import Pace
files._CHUNK = 1
Pace.due = True
write = snapshot._write_json
def slowly(*arguments, **options):
    time.sleep(0.005)
    write(*arguments, **options)
snapshot._write_json = slowly
print("ready", flush=True)
build_index(sys.argv[1], index_dir=sys.argv[2], model="none")
print("done", flush=True)
"""


def start_writer(repository, folder):
    command = [sys.executable, "-c", SLOW_WRITER, str(repository), str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def assert_whole(repository, folder, tmp_path):
    fresh = tmp_path / f"fresh-{time.monotonic_ns()}"
    build_index(repository, index_dir=fresh, model="none")
    ours, theirs = open_index(index_dir=folder).snapshot, open_index(index_dir=fresh).snapshot
    assert ours.files == theirs.files
    np.testing.assert_array_equal(ours.rows, theirs.rows)
    np.testing.assert_array_equal(ours.keys, theirs.keys)
    assert [ours.texts[row] for row in range(len(ours))] == [theirs.texts[row] for row in range(len(theirs))]


def damage_flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def damage_cut(path):
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("damage", [damage_flip, damage_cut, os.unlink], ids=["flipped", "cut", "missing"])
def test_damage_to_any_file_is_found_and_mended(repository, encoder, tmp_path, damage):
    folder = build_index(repository, encoder=encoder).folder
    whole = Store(folder).read().folder
    for name in sorted(path.name for path in whole.iterdir()):
        copy = tmp_path / "copy"
        shutil.copytree(folder, copy)
        damage(copy / whole.name / name)
        with pytest.raises(DataError, match=r"damaged.*kindred index"):
            open_index(index_dir=copy)
        shutil.rmtree(copy)
    damage(whole / "texts.npy")
    report = build_index(repository, encoder=encoder)
    assert "made again" in report.notes[0]
    assert open_index(repository, encoder=encoder).search("comma separated")[0].name == "read_csv_file"


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"snapshot": "../../etc", "manifest_sha256": ""}', "null"]
)
def test_a_damaged_pointer_is_found_and_mended(repository, encoder, content):
    folder = build_index(repository, encoder=encoder).folder
    (folder / "kindred-index.json").write_text(content)
    with pytest.raises(DataError, match="damaged"):
        open_index(repository)
    build_index(repository, encoder=encoder)
    assert len(open_index(repository))


def test_a_snapshot_that_went_missing_is_named(repository, encoder):
    folder = build_index(repository, encoder=encoder).folder
    shutil.rmtree(Store(folder).read().folder)
    with pytest.raises(DataError, match="kindred index"):
        open_index(repository)
    build_index(repository, encoder=encoder)
    assert len(open_index(repository))


def test_a_pickle_in_an_array_is_not_loaded(repository, encoder, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "exploded"),))

    folder = Store(build_index(repository, encoder=encoder).folder).read().folder
    with open(folder / "rows.npy", "wb") as stream:
        np.save(stream, np.array([Bomb()], dtype=object), allow_pickle=True)
    manifest = json.loads((folder / "kindred-snapshot.json").read_text())
    manifest["files"]["rows.npy"] = {
        "bytes": (folder / "rows.npy").stat().st_size,
        "sha256": sha256_file(folder / "rows.npy"),
    }
    (folder / "kindred-snapshot.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match="damaged"):
        open_index(folder)
    assert not (tmp_path / "exploded").exists()


def test_a_damaged_memory_of_file_times_costs_time_only(repository, encoder):
    folder = build_index(repository, encoder=encoder).folder
    for content in ("", "[1]", '{"src/io/files.py": [1]}', '{"src/io/files.py": null}', "\x00"):
        (folder / "stat.json").write_text(content)
        assert build_index(repository, encoder=encoder).changed is False


@pytest.mark.parametrize("delay", [0.0, 0.1, 0.25])
def test_a_killed_indexer_leaves_a_whole_index_and_the_next_one_ends_the_work(repository, tmp_path, delay):
    folder = tmp_path / "index"
    process = start_writer(repository, folder)
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=20)
    if (folder / "kindred-index.json").exists():
        open_index(index_dir=folder).search("read", mode="lexical")
    build_index(repository, index_dir=folder, model="none")
    assert_whole(repository, folder, tmp_path)
    assert len(list(folder.glob("*snapshot-*"))) <= 2  # nothing half written stays


def test_a_full_disk_leaves_the_index_as_it_was(repository, encoder, monkeypatch):
    from code_search.index import snapshot

    folder = build_index(repository, encoder=encoder).folder
    before = {path.name for path in folder.iterdir()}
    (repository / "more.py").write_text("def more():\n    return 1\n")

    def full(stream):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(snapshot, "_flush", full)
    with pytest.raises(OSError, match="No space left"):
        build_index(repository, encoder=encoder)
    monkeypatch.undo()
    assert {path.name for path in folder.iterdir()} == before
    assert open_index(index_dir=folder, encoder=encoder).search("comma separated")[0].name == "read_csv_file"


def test_two_writers_at_once_take_turns(repository, tmp_path):
    folder = tmp_path / "index"
    writers = [start_writer(repository, folder) for _ in range(2)]
    for writer in writers:
        output, errors = writer.communicate(timeout=60)
        assert (writer.returncode, output) == (0, "done\n"), errors
    assert_whole(repository, folder, tmp_path)


def test_readers_see_a_whole_index_while_it_is_written(repository, encoder, add_files):
    build_index(repository, encoder=encoder)
    problems, counts, stop = [], set(), threading.Event()

    def read():
        while not stop.is_set():
            try:
                index = open_index(repository, encoder=encoder)
                counts.add(len(index))
                index.search("comma separated table")
            except Exception as error:
                problems.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(8):
        add_files(
            repository, {"grows.py": "".join(f"def f{i}():\n    return {i}\n" for i in range(number + 1))}
        )
        build_index(repository, encoder=encoder)
    stop.set()
    reader.join()
    assert problems == []
    assert len(counts) > 1


def test_an_open_index_outlives_its_files(repository, encoder, add_files):
    build_index(repository, encoder=encoder)
    index = open_index(repository, encoder=encoder)
    for number in range(3):
        add_files(repository, {"more.py": f"def more_{number}():\n    return {number}\n"})
        build_index(repository, encoder=encoder)
    assert not index.snapshot.folder.exists()
    assert index.search("comma separated table")[0].name == "read_csv_file"


def test_odd_file_names_and_links_do_no_harm(repository, encoder, tmp_path):
    outside = tmp_path / "outside.py"
    outside.write_text("def secret_outside():\n    return 1\n")
    (repository / "link.py").symlink_to(outside)
    (repository / "way_out").symlink_to(tmp_path)
    (repository / "circle").symlink_to(repository)
    (repository / "new\nline.py").write_text("def newline_name():\n    return 1\n")
    with open(os.fsencode(repository) + b"/latin-\xe9.py", "wb") as stream:
        stream.write("def café():\n    return 'é'\n".encode("latin-1"))
    os.mkfifo(repository / "pipe.py")
    build_index(repository, encoder=encoder)
    index = open_index(repository, encoder=encoder)
    assert index.search("secret outside", mode="lexical") == []
    assert index.search("newline name")[0].path == "new\nline.py"
    again = build_index(repository, encoder=encoder)
    assert again.changed is False
    assert again.skipped["file name is not UTF-8"] == 1


def test_a_file_that_cannot_be_parsed_or_vanishes_does_not_stop_the_others(repository, encoder, add_files):
    add_files(
        repository,
        {"broken.py": "def ok():\n    return 1\n\ndef (((\n", "old.py": "print 'two'\ndef two(): pass\n"},
    )
    build_index(
        repository, encoder=encoder, progress=lambda _: (repository / "lib/mail.php").unlink(missing_ok=True)
    )
    names = {
        result.name for result in open_index(repository, encoder=encoder).search("ok two return", top=50)
    }
    assert {"ok", "two", "bubble_sort"} <= names


def test_many_files_are_read_by_several_processes_alike(tmp_path, encoder, add_files):
    root = add_files(
        tmp_path / "many", {f"p{n % 7}/m{n}.py": f"def f{n}(x):\n    return x + {n}\n" for n in range(150)}
    )
    build_index(root, encoder=encoder, index_dir=tmp_path / "one", workers=1)
    build_index(root, encoder=encoder, index_dir=tmp_path / "two", workers=2)
    one, two = (open_index(index_dir=tmp_path / name).snapshot for name in ("one", "two"))
    assert one.files == two.files
    np.testing.assert_array_equal(one.keys, two.keys)
