"""The mel front end against transformers' extractor, and the audio encoders."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.encoders.audio import TINY_CLAP, AudioCNN, ClapAudio
from core.encoders.mel import LogMel, fit_length
from core.errors import CheckpointError, ConfigError, DataError

RATES = {
    "48k": {"sampling_rate": 48_000, "max_length_s": 1, "frequency_min": 50, "frequency_max": 14_000},
    "8k": {
        "sampling_rate": 8_000,
        "max_length_s": 2,
        "frequency_min": 50,
        "frequency_max": 3_800,
        "hop_length": 64,
        "fft_window_size": 256,
    },
}


def _sound(kind: str, samples: int, rate: int) -> np.ndarray:
    time = np.arange(samples) / rate
    if kind == "tone":
        return (0.8 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)
    if kind == "noise":
        return (0.3 * np.random.default_rng(0).standard_normal(samples)).astype(np.float32)
    if kind == "sweep":
        return (np.sin(2 * np.pi * (100 + 200 * time) * time) * np.exp(-5 * (time % 0.5))).astype(np.float32)
    return np.zeros(samples, dtype=np.float32)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize(("truncation", "filters"), [("rand_trunc", "slaney"), ("fusion", "htk")])
@pytest.mark.parametrize("padding", ["repeatpad", "repeat", "pad"])
def test_equals_the_extractor_of_transformers(rate, truncation, filters, padding):
    from transformers import ClapFeatureExtractor

    theirs = ClapFeatureExtractor(truncation=truncation, padding=padding, **RATES[rate])
    ours = LogMel(
        sample_rate=theirs.sampling_rate,
        window=theirs.fft_window_size,
        hop=theirs.hop_length,
        low=theirs.frequency_min,
        high=theirs.frequency_max,
        filters=filters,
    )
    for kind in ("tone", "noise", "sweep", "silence"):
        for share in (1.0, 0.37):
            sound = _sound(kind, int(theirs.nb_max_samples * share), theirs.sampling_rate)
            expected = theirs(sound, sampling_rate=theirs.sampling_rate)["input_features"][0]
            mel = ours(fit_length(torch.from_numpy(sound), theirs.nb_max_samples, padding)[None])
            assert mel.shape == (1, 1, ours.frames(theirs.nb_max_samples), 64)
            np.testing.assert_allclose(mel[0].numpy(), expected[:1], atol=2e-3, rtol=0)  # decibels


def test_spectrogram_is_the_same_alone_in_a_batch_under_autocast_and_twice():
    mel = LogMel(sample_rate=8000, mels=16, window=256, hop=64, low=0, high=4000)
    waves = torch.randn(3, 4000, generator=torch.Generator().manual_seed(0))
    first = mel(waves)
    assert first.dtype == torch.float32
    assert torch.equal(first, mel(waves))
    torch.testing.assert_close(first[1:2], mel(waves[1:2]), atol=1e-4, rtol=0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(mel(waves), first)


def test_a_pure_tone_lights_its_band():
    mel = LogMel(sample_rate=8000, mels=40, window=512, hop=128, low=0, high=4000, filters="htk")
    wave = torch.sin(2 * torch.pi * 1000 * torch.arange(8000) / 8000)
    band = int(mel(wave[None]).mean(dim=2).argmax())
    edges = 2595 * np.log10(1 + 4000 / 700) * np.arange(42) / 41
    centres = 700 * (10 ** (edges / 2595) - 1)
    assert abs(band + 1 - np.abs(centres - 1000).argmin()) <= 1


def test_front_end_mistakes_are_named():
    mel = LogMel(sample_rate=8000, mels=16, window=256, hop=64, low=50, high=3800)
    with pytest.raises(DataError, match="more than 128 samples"):
        mel(torch.zeros(1, 100))
    with pytest.raises(DataError, match="NaN"):
        mel(torch.full((1, 1000), float("nan")))
    with pytest.raises(DataError, match=r"\(B, T\)"):
        mel(torch.zeros(1, 2, 1000))
    with pytest.raises(DataError, match="floating"):
        mel(torch.zeros(1, 1000, dtype=torch.int16))
    with pytest.raises(ConfigError, match="4000 Hz"):
        LogMel(sample_rate=8000)
    with pytest.raises(ConfigError, match="slaney or htk"):
        LogMel(filters="bark")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="0 samples"):
        fit_length(torch.zeros(0), 5)
    with pytest.raises(ConfigError, match="padding"):
        fit_length(torch.zeros(3), 5, "mirror")  # type: ignore[arg-type]


@pytest.fixture(params=[False, True], ids=["plain", "fusion"])
def clap_folder(request, tmp_path):
    from transformers import ClapConfig, ClapModel

    torch.manual_seed(0)
    extra = {"enable_fusion": True, "fusion_type": "aff_2d"} if request.param else {}
    text = {
        "vocab_size": 32,
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "intermediate_size": 8,
        "max_position_embeddings": 16,
    }
    model = ClapModel(
        ClapConfig(text_config=text, audio_config={**TINY_CLAP, **extra}, projection_dim=12)
    ).eval()
    model.save_pretrained(tmp_path)
    return tmp_path, model, request.param


def test_tower_from_a_folder_embeds_as_the_whole_model(clap_folder):
    folder, model, fusion = clap_folder
    tower = ClapAudio.from_folder(folder).eval()
    mel = torch.randn(3, 1, 251, 64) * 10 - 30
    with torch.no_grad():
        theirs = model.get_audio_features(
            input_features=mel.expand(-1, 4, -1, -1) if fusion else mel,
            is_longer=torch.zeros(3, 1, dtype=torch.bool),
        ).pooler_output
        ours = torch.nn.functional.normalize(tower(mel), dim=-1)
        projected = tower.net.audio_projection(tower.frames(mel).mean(dim=1))
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(projected, tower(mel), atol=1e-5, rtol=1e-4)


def test_a_folder_that_lacks_a_file_or_weights_is_named(clap_folder):
    folder, _, _ = clap_folder
    (folder / "config.json").rename(folder / "kept.json")
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        ClapAudio.from_folder(folder)
    (folder / "kept.json").rename(folder / "config.json")
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"no model\.safetensors"):
        ClapAudio.from_folder(folder)


@pytest.mark.parametrize("build", [lambda: ClapAudio(), lambda: AudioCNN(mels=64, widths=(4, 4, 4))])
def test_frames_come_in_order_of_time(build):
    torch.manual_seed(0)
    net = build().eval()
    quiet = torch.full((1, 1, 256, 64), -60.0)
    moved = []
    for start in (16, 112, 208):
        loud = quiet.clone()
        loud[:, :, start : start + 32] = 0.0
        with torch.no_grad():
            change = (net.frames(loud) - net.frames(quiet)).norm(dim=2)[0]
        moved.append(float((change * torch.arange(len(change))).sum() / change.sum() / len(change)))
    assert moved[0] < moved[1] < moved[2]


def test_encoder_mistakes_are_named():
    with pytest.raises(DataError, match="at most 256 frames"):
        ClapAudio()(torch.zeros(1, 1, 300, 64))
    with pytest.raises(DataError, match="64 mels"):
        ClapAudio()(torch.zeros(1, 1, 200, 32))
    with pytest.raises(ConfigError, match="hidden_size"):
        ClapAudio({**TINY_CLAP, "hidden_size": 10})
    with pytest.raises(DataError, match="at least 4 frames"):
        AudioCNN(mels=16, widths=(4, 4))(torch.zeros(1, 1, 3, 16))
    with pytest.raises(ConfigError, match="mels"):
        AudioCNN(mels=4, widths=(4, 4, 4))
