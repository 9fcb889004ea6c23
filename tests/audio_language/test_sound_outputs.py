"""Tags, search, timelines and the served model, on an untrained model: what is written, and what is refused."""

from __future__ import annotations

import base64
import csv
import io
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from audio_language import serve
from audio_language.cli import app
from audio_language.collection import (
    embed_folder,
    load_collection,
    save_collection,
    search_rows,
    sound_files,
    tag_rows,
)
from audio_language.timeline import join_events, timeline, timeline_html
from core.data.checks import Quarantine
from core.errors import DataError, KindredError

RUN = CliRunner()


@pytest.fixture(scope="module")
def recordings(store, tmp_path_factory):
    """Four recordings, one in a sub-folder, and three files that cannot be used."""
    folder = tmp_path_factory.mktemp("recordings")
    (folder / "more").mkdir()
    for number, name in enumerate(("a.wav", "b.flac", "more/c.ogg")):
        soundfile.write(folder / name, np.tile(store[5 * number], 2 + number), store.rate)
    soundfile.write(folder / "long.wav", np.tile(store[3], 130), store.rate)
    (folder / "bad.wav").write_bytes(b"no sound")
    (folder / "phone.m4a").write_bytes(b"x")
    soundfile.write(folder / "nan.wav", np.full(store.rate, np.nan), store.rate, subtype="FLOAT")
    (folder / "notes.txt").write_text("no sound at all")
    return folder


@pytest.fixture(scope="module")
def model_folder(untrained, tmp_path_factory):
    """The untrained model on disk."""
    folder = tmp_path_factory.mktemp("model") / "model"
    untrained.save(folder)
    return folder


def rows_of(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_folder_is_embedded_and_what_cannot_be_used_is_listed(untrained, recordings, tmp_path):
    quarantine = Quarantine()
    found = embed_folder(untrained, recordings, quarantine)
    assert found.files == ["a.wav", "b.flac", "long.wav", "more/c.ogg"]
    assert {f.file: f.kind for f in quarantine.offenders} == {
        "bad.wav": "unreadable",
        "nan.wav": "not_finite",
        "phone.m4a": "unsupported",
    }
    np.testing.assert_allclose(np.linalg.norm(found.rows, axis=1), 1, atol=1e-5)
    save_collection(found, tmp_path / "kept")
    again = load_collection(tmp_path / "kept")
    np.testing.assert_array_equal(again.rows, found.rows)
    assert again.files == found.files
    tags = tag_rows(untrained, found, labels=["dog", "rain", "a kettle"], top=2)
    assert [row["rank"] for row in tags] == [1, 2] * 4
    assert tags[0]["score"] >= tags[1]["score"]
    assert len(search_rows(untrained, found, ["dog", "rain"], top=3)) == 6
    with pytest.raises(DataError, match="no audio file"):
        sound_files(tmp_path / "kept")


def test_windows_of_one_label_become_one_event():
    labels = ["dog", "rain"]
    starts = np.arange(6.0)
    scores = np.array([[0.9, 0.1], [0.8, 0.2], [0.2, 0.2], [0.1, 0.9], [0.1, 0.8], [0.7, 0.3]])
    events = join_events(scores, starts, starts + 1, labels, 0.5)
    assert [(e.start, e.end, e.label) for e in events] == [(0, 2, "dog"), (3, 5, "rain"), (5, 6, "dog")]
    assert events[0].score == pytest.approx(0.85)
    assert join_events(scores, starts, starts + 1, labels, 0.95) == []


def test_a_timeline_of_a_file_is_that_of_its_samples(untrained, store, recordings):
    wave = np.tile(store[3], 130)
    by_file = timeline(untrained, recordings / "long.wav")
    by_wave = timeline(untrained, wave, rate=store.rate)
    assert by_file.seconds == pytest.approx(65.0)
    np.testing.assert_allclose(by_file.scores, by_wave.scores, atol=1e-2)
    np.testing.assert_allclose(by_file.scores.sum(axis=1), 1, atol=1e-5)
    quiet = timeline(untrained, np.zeros(4 * store.rate, np.float32), rate=store.rate, threshold=0.0)
    assert all(event.score == 0 for event in quiet.events) or not quiet.events
    with pytest.raises(KindredError, match="window"):
        timeline(untrained, wave, rate=store.rate, window=99.0)


def test_names_are_escaped_in_the_page(untrained, store):
    found = timeline(untrained, store[0], rate=store.rate, labels=["<b>dog</b>"], threshold=0.0)
    page = timeline_html("<script>.wav", found)
    assert "<script>" not in page
    assert "<b>dog" not in page


def test_tag_find_and_timeline_on_the_command_line(recordings, model_folder, tmp_path):
    common = ["--model", str(model_folder), "--out", str(tmp_path)]
    done = RUN.invoke(app, ["tag", str(recordings), *common])
    assert done.exit_code == 0, done.output
    assert {row["file"] for row in rows_of(tmp_path / "tags.csv")} == {
        "a.wav",
        "b.flac",
        "long.wav",
        "more/c.ogg",
    }
    assert len(rows_of(tmp_path / "report.csv")) >= 3
    assert np.load(tmp_path / "embeddings" / "embeddings.npy").shape == (4, 16)
    kept = (tmp_path / "embeddings" / "embeddings.npy").stat().st_mtime_ns
    done = RUN.invoke(
        app, ["find-sound", "a dog before rain", "--in", str(recordings), "--top", "2", *common]
    )
    assert done.exit_code == 0, done.output
    assert [row["rank"] for row in rows_of(tmp_path / "retrieval.csv")] == ["1", "2"]
    assert (tmp_path / "embeddings" / "embeddings.npy").stat().st_mtime_ns == kept, "used again"
    done = RUN.invoke(app, ["timeline", str(recordings / "a.wav"), "--threshold", "0.05", *common])
    assert done.exit_code == 0, done.output
    assert rows_of(tmp_path / "timeline.csv")[0]["file"] == "a.wav"
    assert (tmp_path / "a.wav.timeline.png").read_bytes().startswith(b"\x89PNG")
    assert "<table>" in (tmp_path / "a.wav.timeline.html").read_text()


def test_a_search_reads_again_only_what_changed(untrained, store, tmp_path, monkeypatch):
    from audio_language import collection

    folder = tmp_path / "sounds"
    (folder / "more").mkdir(parents=True)
    for number, name in enumerate(("a.wav", "b.wav", "more/c.wav")):
        soundfile.write(folder / name, store[5 * number], store.rate)
    (folder / "bad.wav").write_bytes(b"no sound")
    untrained.save(tmp_path / "model")
    read: list[str] = []
    embed = collection._embed
    monkeypatch.setattr(
        collection,
        "_embed",
        lambda model, path, name, *rest: read.append(name) or embed(model, path, name, *rest),
    )

    def search():
        read.clear()
        arguments = ["--in", str(folder), "--model", str(tmp_path / "model"), "--out", str(tmp_path / "out")]
        done = RUN.invoke(app, ["find-sound", "a dog", *arguments])
        assert done.exit_code == 0, done.output
        listed = {
            row["file"] for row in rows_of(tmp_path / "out" / "report.csv") if row["level"] == "quarantined"
        }
        return (
            list(read),
            {row["file"] for row in rows_of(tmp_path / "out" / "retrieval.csv")},
            listed,
            done.output,
        )

    everything = {"a.wav", "b.wav", "more/c.wav"}
    assert search()[:3] == (["a.wav", "b.wav", "bad.wav", "more/c.wav"], everything, {"bad.wav"})
    assert search()[:3] == ([], everything, {"bad.wav"})
    soundfile.write(folder / "new.wav", store[15], store.rate)
    soundfile.write(folder / "b.wav", np.tile(store[20], 2), store.rate)  # another sound under an old name
    (folder / "worse.wav").write_bytes(b"no sound either")
    (folder / "a.wav").unlink()
    again, found, listed, output = search()
    assert again == ["b.wav", "new.wav", "worse.wav"]
    assert found == {"b.wav", "more/c.wav", "new.wav"}
    assert listed == {"bad.wav", "worse.wav"}
    assert "2 file(s) newly embedded, 1 used again" in output
    kept, fresh = (
        load_collection(tmp_path / "out" / "embeddings"),
        embed_folder(untrained, folder, Quarantine()),
    )
    assert kept.files == fresh.files
    assert kept.seen == fresh.seen
    np.testing.assert_allclose(kept.rows, fresh.rows, atol=1e-6)
    soundfile.write(folder / "bad.wav", store[0], store.rate)  # mended
    assert search()[:3] == (["bad.wav"], {"b.wav", "bad.wav", "more/c.wav", "new.wav"}, {"worse.wav"})
    (folder / "new.wav").unlink()
    assert search()[:2] == ([], {"b.wav", "bad.wav", "more/c.wav"})
    assert "new.wav" not in load_collection(tmp_path / "out" / "embeddings").files


def test_embeddings_of_another_model_folder_or_older_layout_are_not_used(untrained, store, tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        soundfile.write(tmp_path / name / "a.wav", store[0], store.rate)
    found = embed_folder(untrained, tmp_path / "one", Quarantine())
    for kept, fresh in (
        (found, 0),
        (replace(found, digest="another"), 1),
        (replace(found, root=tmp_path / "other"), 1),
        (replace(found, seen={}), 1),
    ):
        assert embed_folder(untrained, tmp_path / "one", Quarantine(), kept=kept).fresh == fresh


def test_timelines_of_equal_names_in_two_folders_stay_apart(store, model_folder, tmp_path):
    for number, site in enumerate(("site1", "site2")):
        (tmp_path / "in" / site).mkdir(parents=True)
        soundfile.write(tmp_path / "in" / site / "x.wav", np.tile(store[5 * number], 2 + number), store.rate)
    out = tmp_path / "out"
    arguments = ["--threshold", "0.01", "--model", str(model_folder), "--out", str(out)]
    done = RUN.invoke(app, ["timeline", str(tmp_path / "in"), *arguments])
    assert done.exit_code == 0, done.output
    assert {row["file"] for row in rows_of(out / "timeline.csv")} == {"site1/x.wav", "site2/x.wav"}
    for site in ("site1", "site2"):
        assert (out / site / "x.wav.timeline.png").is_file()
        assert f"<h1>{site}/x.wav</h1>" in (out / site / "x.wav.timeline.html").read_text()


def test_a_mistake_on_the_command_line_is_a_sentence(recordings, model_folder, tmp_path):
    for arguments, words in (
        (["tag", str(tmp_path / "gone"), "--model", str(model_folder)], "nothing there"),
        (["tag", str(recordings), "--model", str(tmp_path)], "config.json"),
        (
            ["timeline", str(recordings / "bad.wav"), "--model", str(model_folder)],
            "unreadable|no sound|Format",
        ),
        (["tag", str(recordings), "--model", str(model_folder), "--prompt", "no place"], "one {} where"),
    ):
        done = RUN.invoke(app, [*arguments, "--out", str(tmp_path / "out")])
        assert isinstance(done.exception, KindredError)
        assert any(word in str(done.exception) for word in words.split("|")), done.exception


def encoded(wave, rate, suffix="wav", **options):
    out = io.BytesIO()
    soundfile.write(out, wave, rate, format=suffix, **options)
    return base64.b64encode(out.getvalue()).decode()


def test_the_service_answers_files_samples_and_texts_alike(untrained, store):
    service = serve.SoundService(untrained)
    wave = store[0]
    by_file, by_samples = (
        service.predict(None, [row])[0]
        for row in (
            {"audio": encoded(wave, store.rate, subtype="FLOAT"), "top": 2, "timeline": True},
            {"samples": wave.tolist(), "sample_rate": store.rate, "top": 2},
        )
    )
    np.testing.assert_allclose(by_file["embedding"], by_samples["embedding"], atol=1e-6)
    assert by_file["tags"] == by_samples["tags"]
    assert len(by_file["tags"]) == 2
    assert by_samples["timeline"] == []
    np.testing.assert_allclose(by_file["embedding"], untrained.embed_wave(wave, store.rate), atol=1e-6)
    (text,) = service.predict(None, [{"text": "a dog before rain"}])
    assert text["kind"] == "text"
    np.testing.assert_allclose(np.linalg.norm(text["embedding"]), 1, atol=1e-5)
    (own,) = service.predict(None, [{"audio": encoded(wave, store.rate), "labels": "a kettle | a saw"}])
    assert {tag["label"] for tag in own["tags"]} == {"a kettle", "a saw"}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({}, "exactly one of"),
        ({"text": "dog", "audio": "AAAA"}, "exactly one of"),
        ({"audio": "/etc/passwd"}, "base64"),
        ({"audio": base64.b64encode(b"no sound").decode()}, "audio file in row 0"),
        ({"samples": [0.0] * 800}, "sample_rate"),
        ({"samples": [0.0, float("nan")] * 800, "sample_rate": 8000}, "NaN"),
        ({"samples": [0.0] * 10, "sample_rate": 8000}, "0.1 to 600 s"),
        ({"samples": [20000.0] * 8000, "sample_rate": 8000}, "divide 16-bit integers"),
        ({"samples": [[0.0] * 800] * 2, "sample_rate": 8000}, "shape of samples"),
        ({"samples": "sound.wav", "sample_rate": 8000}, "opens no file"),
        ({"text": " "}, "empty"),
        ({"text": "dog", "path": "x"}, "unknown field"),
    ],
)
def test_the_service_refuses_with_a_sentence(untrained, row, words):
    from mlflow.exceptions import MlflowException

    with pytest.raises(MlflowException, match=words) as error:
        serve.SoundService(untrained).predict(None, [row])
    assert error.value.get_http_status_code() == 400
    assert "/tmp" not in str(error.value)


def test_a_short_file_that_unpacks_to_hours_is_refused_before_it_is_decoded(untrained):
    hours = encoded(np.zeros(8000 * 700, np.int16), 8000, "flac")
    assert len(hours) < 1_000_000
    with pytest.raises(Exception, match="at most 600 s"):
        serve.SoundService(untrained).predict(None, [{"audio": hours}])


def test_the_example_fits_the_signature(untrained):
    example = serve.input_example()
    assert len(example) >= 2
    assert {field.name for field in serve.signature().inputs} == {field.name for field in serve.FIELDS}
    answers = serve.SoundService(untrained).predict(None, example)
    assert [answer["kind"] for answer in answers] == ["audio", "audio"]
