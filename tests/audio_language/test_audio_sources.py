"""Readers of the public layouts and of own data; what cannot be used is listed with its reason."""

from __future__ import annotations

import csv
import shutil
from collections import Counter

import numpy as np
import pytest
import soundfile

from audio_language.data.clip import clause, labels_of, load_clips, meaning, save_clips
from audio_language.data.sources import check_enough, inspect, read_clips
from audio_language.data.store import open_store, write_store
from audio_language.demo import write_demo
from core.data.checks import Quarantine
from core.errors import ConfigError, DataError

RATE = 8000


def sound(path, seed=0, seconds=0.3, rate=RATE):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.2 * np.random.default_rng(seed).standard_normal(int(seconds * rate)), rate)


def table(path, header, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([header, *rows])


def kinds(quarantine):
    return Counter(finding.kind for finding in quarantine.offenders)


def test_the_demo_is_the_same_every_time_and_read_as_esc50(demo_folder, tmp_path):
    again = write_demo(tmp_path / "again", classes=8, clips=2, seconds=0.5, rate=RATE)
    files = sorted(path.relative_to(again) for path in again.rglob("*.*"))
    assert len(files) == 81
    assert all((again / file).read_bytes() == (demo_folder / file).read_bytes() for file in files)
    clips = read_clips("demo", demo_folder, Quarantine())
    assert Counter(clip.split for clip in clips) == {"train": 48, "valid": 16, "test": 16}
    assert len(labels_of(clips)) == 8


def test_esc50_rows_that_cannot_be_used_are_listed(demo_folder, tmp_path):
    root = shutil.copytree(demo_folder, tmp_path / "esc")
    meta = root / "meta" / "esc50.csv"
    lines = meta.read_text().splitlines()
    lines[1] = lines[1].replace(",1,0,", ",one,0,")
    lines[2] = "../../secret.wav,1,0,dog,True,5,A"
    lines[3] = lines[3].replace("siren", "")
    (root / "audio" / lines[4].split(",")[0]).unlink()
    meta.write_text("\n".join([*lines, lines[5], ""]))
    quarantine = Quarantine()
    clips = read_clips("esc50", root, quarantine)
    assert kinds(quarantine) == {"invalid": 3, "duplicate_path": 1}
    usable, facts = inspect(clips, quarantine, model_rate=RATE)
    assert kinds(quarantine)["missing"] == 1
    assert len(usable) == 76
    assert sum(facts["clips"].values()) == 76


def test_esc50_folds_are_chosen_and_checked(demo_folder):
    clips = read_clips("esc50", demo_folder, Quarantine(), folds={"train": [1], "valid": [2], "test": [3]})
    assert len(clips) == 48
    with pytest.raises(ConfigError, match="each fold in one split"):
        read_clips("esc50", demo_folder, Quarantine(), folds={"train": [1], "test": [1]})
    with pytest.raises(DataError, match=r"esc50.csv is missing"):
        read_clips("esc50", demo_folder / "audio", Quarantine())


def test_a_source_recording_in_two_splits_is_refused(demo_folder, tmp_path):
    root = shutil.copytree(demo_folder, tmp_path / "esc")
    meta = root / "meta" / "esc50.csv"
    rows = list(csv.reader(meta.open()))
    rows[-1][5] = rows[1][5]
    table(meta, rows[0], rows[1:])
    with pytest.raises(DataError, match="more than one split"):
        read_clips("esc50", root, Quarantine())


def test_audiocaps(tmp_path):
    sound(tmp_path / "train" / "Yabc_30.wav", 1)
    sound(tmp_path / "audio" / "test" / "xyz.flac", 2)
    header = ["audiocap_id", "youtube_id", "start_time", "caption"]
    table(tmp_path / "train.csv", header, [[1, "abc", 30, "A dog barks."], [2, "gone", 10, "Rain falls"]])
    table(
        tmp_path / "test.csv",
        header,
        [[3, "xyz", 0, "A bell"], [4, "xyz", 0, "A church bell rings"], [5, "xyz", 0, " ! "]],
    )
    quarantine = Quarantine()
    first, second = read_clips("audiocaps", tmp_path, quarantine)
    assert (first.split, first.captions, first.group) == ("train", ["A dog barks."], "abc")
    assert (second.split, len(second.captions)) == ("test", 2)
    assert kinds(quarantine) == {"missing": 1, "blank_caption": 1}


def test_clotho(tmp_path):
    sound(tmp_path / "development" / "one.wav")
    header = ["file_name", *[f"caption_{k}" for k in range(1, 6)]]
    table(tmp_path / "clotho_captions_development.csv", header, [["one.wav", *"abcd", "A."]])
    quarantine = Quarantine()
    (clip,) = read_clips("clotho", tmp_path, quarantine)
    assert (clip.split, clip.captions) == ("train", list("abcd"))
    assert kinds(quarantine) == {"duplicate_row": 1}


def test_an_own_folder_with_captions(tmp_path):
    for number in range(6):
        sound(tmp_path / f"{number}.wav", number)
    sound(tmp_path / "forgotten.wav", 9)
    rows = [[f"{number}.wav", f"sound number {number}"] for number in range(6)]
    rows += [
        ["0.wav", "another sentence"],
        ["0.wav", "Another sentence!"],
        ["1.wav", " "],
        ["../x.wav", "outside"],
    ]
    table(tmp_path / "captions.csv", ["file", "caption"], rows)
    quarantine = Quarantine()
    clips = read_clips("captions", tmp_path, quarantine)
    assert len(clips) == 6
    assert clips[0].captions == ["sound number 0", "another sentence"]
    assert {clip.split for clip in clips} == {"train", "valid", "test"}
    assert kinds(quarantine) == {"duplicate_row": 1, "blank_caption": 1, "invalid": 1, "uncaptioned": 1}


def test_a_manifest(tmp_path):
    for number in range(3):
        sound(tmp_path / f"{number}.wav", number)
    rows = [
        [f"i{n}", f"{n}.wav", f"g{n}", split, "dog", f"dog {n}"]
        for n, split in enumerate(("train", "valid", "test"))
    ]
    table(tmp_path / "manifest.csv", ["id", "path", "group", "split", "label", "caption"], rows)
    clips = read_clips("manifest", tmp_path, Quarantine())
    assert (clips[0].split, clips[0].label, clips[0].captions) == ("train", "dog", ["dog 0"])
    with pytest.raises(DataError, match="usable clips of split train"):
        check_enough(clips)


def test_what_is_worth_knowing_is_warned_of(tmp_path):
    sound(tmp_path / "a.wav", 1)
    shutil.copyfile(tmp_path / "a.wav", tmp_path / "b.wav")
    rows = [["a.wav", "one two three four"], ["b.wav", "One, two, three four"]]
    table(tmp_path / "captions.csv", ["file", "caption", "split"], [[*row, "train"] for row in rows])
    quarantine = Quarantine()
    clips = read_clips("captions", tmp_path, quarantine)
    _, facts = inspect(
        clips, quarantine, model_rate=48_000, count_tokens=lambda text: len(text.split()), token_limit=3
    )
    assert Counter(f.kind for f in quarantine.findings) == {
        "low_rate": 2,
        "long_caption": 2,
        "duplicate_content": 1,
    }
    assert facts["captions_that_several_clips_share"] == 1
    assert not quarantine.offenders


def test_clips_and_samples_survive_the_disk(store, tmp_path):
    save_clips(store.clips, tmp_path / "clips.json")
    assert load_clips(tmp_path / "clips.json") == store.clips
    again = write_store(store.clips[:3], tmp_path, RATE, longest_seconds=0.25)
    opened = open_store(tmp_path)
    assert len(opened[1]) == 2000
    np.testing.assert_array_equal(opened[1], again[1])
    np.testing.assert_allclose(opened[1], store[1][:2000], atol=1 / 32768)
    (tmp_path / "audio.i16").write_bytes(b"")
    with pytest.raises(DataError, match="damaged"):
        open_store(tmp_path)


def test_captions_become_parts_of_sentences():
    assert clause("A dog barks.") == "a dog barks"
    assert clause("DJ plays a record") == "DJ plays a record"
    assert meaning("A dog, barks!") == "a dog barks"
