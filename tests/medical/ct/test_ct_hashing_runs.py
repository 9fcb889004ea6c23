"""Hashing a data set: the cache, what a change re-hashes, kill -9 and resume, two Dask workers, the commands."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from core.cli.exit_codes import NOTHING_FOUND
from core.data.parallel import parallel_map
from medical.ct.cli import app
from medical.ct.data.layouts import read_source
from medical.ct.data.series import slice_table
from medical.ct.hashing import dhash, from_hex, to_hex
from medical.ct.images import load_images
from medical.ct.select import select
from medical.ct.selection import slices_of, with_selection
from medical.ct.store import hash_slices


def table_of(folder):
    return slice_table(read_source("dicom", folder).series)


@pytest.fixture
def data(tmp_path, write_series):
    """Three series of twelve slices."""
    for number in range(3):
        write_series(
            tmp_path / "data" / str(number), series=f"1.2.{number}", patient=f"p{number}", start=3 * number
        )
    return tmp_path / "data"


def test_only_what_is_new_or_changed_is_hashed_again(data, tmp_path, write_series):
    cache = tmp_path / "cache"
    first = hash_slices(data, table_of(data), window="chest", cache=cache)
    assert (first.computed, len(first.table), first.problems) == (3, 36, [])
    again = hash_slices(data, table_of(data), window="chest", cache=cache)
    assert (again.computed, again.digest) == (0, first.digest)
    pd.testing.assert_frame_equal(again.table, first.table)
    for file in data.rglob("*.dcm"):
        os.utime(file, ns=(1, 1))
    assert hash_slices(data, table_of(data), window="chest", cache=cache).computed == 0, "same content"
    write_series(data / "3", series="1.2.3", patient="p3")
    assert hash_slices(data, table_of(data), window="chest", cache=cache).computed == 1
    assert hash_slices(data, table_of(data), window="lung", cache=cache).computed == 4
    write_series(data / "0", series="1.2.0", patient="p0", start=9)
    changed = hash_slices(data, table_of(data), window="chest", cache=cache)
    assert changed.computed == 1
    assert changed.digest != first.digest


def test_a_slice_that_cannot_be_read_is_listed_and_tried_again(data, tmp_path):
    file = sorted(data.rglob("*.dcm"))[0]
    whole = file.read_bytes()
    file.write_bytes(whole[:-500])
    table = table_of(data)
    found = hash_slices(data, table, window="chest", cache=tmp_path / "cache")
    assert [problem.kind for problem in found.problems] == ["unreadable"]
    assert len(found.table) == 35
    file.write_bytes(whole)
    mended = hash_slices(data, table, window="chest", cache=tmp_path / "cache")
    assert (mended.computed, len(mended.table), mended.problems) == (1, 36, [])


def test_hashes_go_to_text_and_back():
    codes = np.random.default_rng(0).integers(0, 256, (5, 8), dtype=np.uint8)
    np.testing.assert_array_equal(from_hex([to_hex(code) for code in codes]), codes)


@pytest.mark.slow
def test_two_dask_workers_give_the_identical_keep_list(data, tmp_path):
    found = {}
    for scheduler in ("serial", "local"):
        hashed = hash_slices(
            data, table_of(data), window="chest", cache=tmp_path / scheduler, scheduler=scheduler, workers=2
        )
        selection = select(slices_of(hashed.table), method="dhash", threshold=3)
        found[scheduler] = (hashed.computed, hashed.digest, with_selection(hashed.table, selection))
    assert found["serial"][:2] == found["local"][:2]
    pd.testing.assert_frame_equal(found["serial"][2], found["local"][2])
    assert 0 < found["serial"][2]["kept"].sum() < 36


@pytest.mark.slow
def test_killed_in_the_middle_it_hashes_only_what_is_missing(data, tmp_path):
    cache, script = tmp_path / "cache", Path(__file__).with_name("ct_hash_script.py")
    process = subprocess.Popen([sys.executable, str(script), str(data), str(cache), "0.1"])
    entries = lambda: [file for file in cache.rglob("*.json") if "seen" not in file.parts]  # noqa: E731
    end = time.monotonic() + 120
    while not entries():
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = len(entries())
    assert 1 <= done < 3
    found = hash_slices(data, table_of(data), window="chest", cache=cache)
    assert found.computed == 3 - done
    fresh = hash_slices(data, table_of(data), window="chest", cache=tmp_path / "other")
    pd.testing.assert_frame_equal(found.table, fresh.table)


def test_small_images_come_in_the_order_of_the_table(data):
    table = table_of(data).sample(frac=1, random_state=0)
    images = load_images(data, table, window="chest", size=16)
    assert images.shape == (36, 16, 16)
    alone = load_images(data, table.iloc[[7]], window="chest", size=16)
    np.testing.assert_array_equal(images[7], alone[0])


def test_the_commands_from_a_folder_to_an_answer(data, tmp_path):
    runner, out = CliRunner(), str(tmp_path / "out")
    said = runner.invoke(app, ["ct", "hash", str(data), "--out", out, "--scheduler", "serial"])
    assert said.exit_code == 0, said.output
    assert "36 slices of 3 series" in said.output
    assert (tmp_path / "out" / "rejected.csv").is_file()
    said = runner.invoke(app, ["ct", "select", "--out", out, "--threshold", "3"])
    assert said.exit_code == 0, said.output
    kept = pd.read_csv(tmp_path / "out" / "selection" / "kept.csv")
    removed = pd.read_csv(tmp_path / "out" / "selection" / "removed.csv")
    assert len(kept) + len(removed) == 36
    assert set(removed["representative"]) <= set(kept["path"])
    assert removed["distance"].max() <= 3
    said = runner.invoke(
        app, ["ct", "query", "--out", out, "--new", str(data / removed["path"].iloc[0]), "--json"]
    )
    assert said.exit_code == NOTHING_FOUND
    (answer,) = json.loads(said.output)
    assert answer["duplicate"]
    assert answer["distance"] <= 3
    (tmp_path / "some").mkdir()
    shutil.copy(data / removed["path"].iloc[0], tmp_path / "some")
    (tmp_path / "some" / "broken.dcm").write_bytes(b"no DICOM")
    said = runner.invoke(app, ["ct", "query", "--out", out, "--new", str(tmp_path / "some"), "--json"])
    assert len(json.loads(said.stdout)) == 1, "a slice left out is not said among the JSON"
    assert "broken.dcm: left out" in said.stderr
    noise = np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "new.png")
    said = runner.invoke(app, ["ct", "query", "--out", out, "--new", str(tmp_path / "new.png")])
    assert said.exit_code == 0, said.output
    assert said.output.startswith("new")


def test_hashing_runs_on_the_adapter_item_by_item():
    images = list(np.random.default_rng(1).integers(0, 256, (4, 20, 20), dtype=np.uint8))
    np.testing.assert_array_equal(parallel_map(dhash, images), [dhash(image) for image in images])
