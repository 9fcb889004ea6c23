"""Reading sound files: every fault is named, nothing is flattened, cut or guessed in silence."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from audio_language.audio_file import AudioError, load_clip, read_audio, resample, stream, windows

RATE = 8000
TONE = (0.4 * np.sin(2 * np.pi * 440 * np.arange(2 * RATE) / RATE)).astype(np.float32)


def cut(path, share=0.5):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def fault(path):
    with pytest.raises(AudioError) as error:
        read_audio(path)
    assert str(path) in str(error.value)
    return error.value


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "aiff"])
def test_every_format_is_read(tmp_path, suffix):
    file = tmp_path / f"tone.{suffix}"
    soundfile.write(file, TONE, RATE)
    found = read_audio(file)
    assert (found.rate, found.channels, found.notes) == (RATE, 1, [])
    assert found.seconds == pytest.approx(2.0, abs=0.15)
    assert np.abs(found.wave).max() == pytest.approx(0.4, abs=0.05)


@pytest.mark.parametrize(
    ("suffix", "kind"),
    [
        ("wav", "truncated"),
        ("aiff", "truncated"),
        ("mp3", "truncated"),
        ("flac", "unreadable"),
        ("ogg", "truncated"),
    ],
)
def test_a_cut_file_is_refused(tmp_path, suffix, kind):
    file = tmp_path / f"tone.{suffix}"
    soundfile.write(file, np.tile(TONE, 10), RATE)
    cut(file)
    assert fault(file).kind == kind
    with pytest.raises(AudioError):
        list(stream(file, RATE))


def test_a_wav_that_was_streamed_has_no_length_in_its_header_and_is_read(tmp_path):
    file = tmp_path / "streamed.wav"
    soundfile.write(file, TONE, RATE)
    content = bytearray(file.read_bytes())
    content[4:8] = b"\xff\xff\xff\xff"
    file.write_bytes(content)
    assert len(read_audio(file).wave) == len(TONE)


@pytest.mark.parametrize(
    ("name", "content"), [("empty.wav", b""), ("text.wav", b"not a sound"), ("no.mp3", b"\0" * 99)]
)
def test_what_is_no_sound_is_unreadable(tmp_path, name, content):
    file = tmp_path / name
    file.write_bytes(content)
    assert fault(file).kind == "unreadable"


def test_missing_unsupported_empty_and_too_short(tmp_path):
    assert fault(tmp_path / "gone.wav").kind == "missing"
    (tmp_path / "a.m4a").write_bytes(b"x")
    found = fault(tmp_path / "a.m4a")
    assert found.kind == "unsupported"
    assert "convert it to wav or flac" in str(found)
    soundfile.write(tmp_path / "none.wav", TONE[:0], RATE)
    assert fault(tmp_path / "none.wav").kind == "empty"
    soundfile.write(tmp_path / "short.wav", TONE[:400], RATE)
    assert fault(tmp_path / "short.wav").kind == "too_short"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_are_refused(tmp_path, value):
    bad = TONE.copy()
    bad[100] = value
    soundfile.write(tmp_path / "bad.wav", bad, RATE, subtype="FLOAT")
    assert fault(tmp_path / "bad.wav").kind == "not_finite"
    with pytest.raises(AudioError, match="NaN"):
        list(stream(tmp_path / "bad.wav", RATE))


def test_channels_are_averaged_and_never_played_one_after_the_other(tmp_path):
    left, right = TONE, 0.5 * TONE[::-1]
    soundfile.write(tmp_path / "two.wav", np.stack([left, right], axis=1), RATE, subtype="FLOAT")
    found = read_audio(tmp_path / "two.wav")
    assert found.wave.shape == TONE.shape
    np.testing.assert_allclose(found.wave, (left + right) / 2, atol=1e-6)
    assert [kind for kind, _ in found.notes] == ["multichannel"]
    np.testing.assert_allclose(
        np.concatenate(list(stream(tmp_path / "two.wav", RATE))), found.wave, atol=1e-6
    )


def test_silence_and_clipping_are_warned_of(tmp_path):
    soundfile.write(tmp_path / "silent.wav", 1e-5 * TONE, RATE, subtype="FLOAT")
    assert [kind for kind, _ in read_audio(tmp_path / "silent.wav").notes] == ["silent"]
    soundfile.write(tmp_path / "loud.wav", (10 * TONE).clip(-1, 1), RATE)
    assert [kind for kind, _ in read_audio(tmp_path / "loud.wav").notes] == ["clipped"]


def test_integers_are_divided_by_full_scale(tmp_path):
    soundfile.write(tmp_path / "pcm.wav", np.full(RATE, 16384, np.int16), RATE, subtype="PCM_16")
    assert read_audio(tmp_path / "pcm.wav").wave[5] == 0.5


@pytest.mark.parametrize("rate", [8000, 11025, 44100, 48000, 44101])
def test_a_file_in_blocks_is_the_file_at_once(tmp_path, rate):
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "a.wav", 0.1 * rng.standard_normal(3 * rate + 77), rate, subtype="FLOAT")
    whole = load_clip(tmp_path / "a.wav", 16000)
    blocks = list(stream(tmp_path / "a.wav", 16000, block_seconds=0.4))
    assert len(blocks) > 3
    joined = np.concatenate(blocks)
    assert joined.shape == whole.shape
    np.testing.assert_allclose(joined, whole, atol=2e-6)


def test_resampling_keeps_the_pitch():
    rate, target = 44100, 16000
    tone = np.sin(2 * np.pi * 1000 * np.arange(rate) / rate).astype(np.float32)
    spectrum = np.abs(np.fft.rfft(resample(tone, rate, target)))
    assert abs(int(spectrum.argmax()) - 1000) <= 1


def test_windows_cover_everything_once_they_overlap():
    wave = np.arange(1000, dtype=np.float32)
    found = list(windows(iter(np.array_split(wave, 13)), 100, 50, least=25))
    assert [start for start, _ in found] == list(range(0, 901, 50))
    seen = np.unique(np.concatenate([one for _, one in found]))
    np.testing.assert_array_equal(seen, wave)
    assert [len(one) for _, one in windows(iter([wave[:30]]), 100, 50)] == [30]
