"""The front end and the towers are transformers' own; the head changes nothing until it is trained."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import torch

from audio_language.embed import SoundModel
from audio_language.model.build import tiny_config
from audio_language.model.clap import TemporalClap
from audio_language.model.folder import load_model
from audio_language.model.frontend import FrontEnd, FrontEndSettings
from audio_language.model.tokenizer import CaptionTokenizer
from audio_language.prepared import with_head
from core.errors import CheckpointError, ConfigError, DataError

EXTRACTOR = {
    "feature_size": 64,
    "sampling_rate": 8000,
    "hop_length": 64,
    "max_length_s": 2,
    "fft_window_size": 256,
    "frequency_min": 50,
    "frequency_max": 3800,
}


@pytest.mark.parametrize("truncation", ["rand_trunc", "fusion"])
@pytest.mark.parametrize("seconds", [0.4, 2.0])
def test_spectrograms_are_those_of_the_extractor_of_transformers(truncation, seconds):
    from transformers import ClapFeatureExtractor

    theirs = ClapFeatureExtractor(**EXTRACTOR, truncation=truncation, padding="repeatpad")
    wave = 0.2 * np.random.default_rng(0).standard_normal(int(seconds * 8000)).astype(np.float32)
    expected = theirs(wave, sampling_rate=8000, return_tensors="pt")["input_features"][0, 0]
    front = FrontEnd(FrontEndSettings.from_transformers({**theirs.to_dict(), "truncation": truncation}))
    torch.testing.assert_close(front([wave])[0, 0], expected, atol=2e-3, rtol=0)


@pytest.fixture(scope="module")
def clap_folder(tmp_path_factory):
    """CLAP weights as transformers saves them, with a tokenizer."""
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel

    folder = tmp_path_factory.mktemp("clap")
    tokenizer = CaptionTokenizer.from_captions(["dog before siren", "this is a sound of rain"], length=20)
    torch.manual_seed(0)
    config = tiny_config(vocabulary=tokenizer.size, mels=64, spec_size=128, width=8, depths=(1, 1), dim=12)
    model = ClapModel(ClapConfig(**config)).eval()
    model.save_pretrained(folder)
    ClapFeatureExtractor(**EXTRACTOR, truncation="rand_trunc").save_pretrained(folder)
    tokenizer.save(folder)
    return folder, model


def test_local_weights_embed_as_in_transformers_and_the_head_starts_as_nothing(clap_folder):
    folder, theirs = clap_folder
    ours = load_model(folder)
    waves = [0.1 * np.random.default_rng(k).standard_normal(16000).astype(np.float32) for k in range(3)]
    mels = ours.front(waves)
    ids, mask = ours.tokenizer(["dog before siren", "rain"])
    with torch.no_grad():
        audio = theirs.get_audio_features(input_features=mels).pooler_output
        text = theirs.get_text_features(input_ids=ids, attention_mask=mask.long()).pooler_output
    np.testing.assert_allclose(ours.embed_waves(waves), audio.numpy(), atol=1e-6)
    np.testing.assert_allclose(ours.embed_texts(["dog before siren", "rain"]), text.numpy(), atol=1e-6)
    headed = with_head(ours, {"segments": 4, "inner": 16}, 0)
    np.testing.assert_allclose(headed.embed_waves(waves), ours.embed_waves(waves), atol=1e-6)
    assert ours.net.head is None


def test_a_folder_that_lacks_something_is_refused_by_name(clap_folder, tmp_path):
    import shutil

    for name in ("config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json"):
        copy = shutil.copytree(clap_folder[0], tmp_path / name)
        (copy / name).unlink()
        with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
            load_model(copy)


def test_a_model_survives_its_folder_and_damage_is_found(untrained, store, tmp_path):
    untrained.save(tmp_path / "model")
    again = load_model(tmp_path / "model")
    waves = [store[index] for index in range(4)]
    np.testing.assert_array_equal(again.embed_waves(waves), untrained.embed_waves(waves))
    assert (again.labels, again.prompt, again.digest) == (
        untrained.labels,
        untrained.prompt,
        untrained.digest,
    )
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(CheckpointError, match="SHA-256"):
        load_model(tmp_path / "model")


def test_only_what_post_training_trains_gets_gradients(untrained):
    net = with_head(untrained, {"segments": 4, "inner": 16}, 1).net
    net.trained("post")
    on = {name for name, p in net.named_parameters() if p.requires_grad}
    assert net.tower_is_frozen
    assert not any(name.startswith(("clap.audio_model", "clap.text_model.embeddings")) for name in on)
    assert not any("encoder.layer.0." in name or "logit_scale" in name for name in on)
    for part in ("encoder.layer.1.", "pooler", "text_projection", "audio_projection", "head."):
        assert any(part in name for name in on), part
    net.trained("post", text_layers=2)
    assert any(".encoder.layer.0." in name for name, p in net.named_parameters() if p.requires_grad)
    net.trained("post", text_embeddings=True)
    assert all(p.requires_grad for p in net.clap.text_model.embeddings.parameters())
    net.trained("all")
    assert not net.tower_is_frozen
    with pytest.raises(ConfigError, match="all or post"):
        net.trained("some")


def test_the_same_file_gives_the_same_embedding_and_batches_change_nothing(untrained, store, tmp_path):
    file = tmp_path / "a.wav"
    soundfile.write(file, np.tile(store[0], 9), store.rate)
    first, second = untrained.embed_file(file), untrained.embed_file(file)
    np.testing.assert_allclose(first, second, atol=1e-6)
    np.testing.assert_allclose(first, untrained.embed_wave(np.tile(store[0], 9), store.rate), atol=1e-4)
    alone = np.concatenate([untrained.embed_waves([store[index]]) for index in range(5)])
    np.testing.assert_allclose(untrained.embed_waves(store[index] for index in range(5)), alone, atol=1e-6)


def test_the_head_hears_order_and_the_average_alone_hardly(untrained):
    frames = torch.randn(1, 8, untrained.net.width)
    net = with_head(untrained, {"segments": 8, "inner": 16}, 2).net
    with torch.no_grad():
        same = net.embed_frames(frames) - net.embed_frames(frames.flip(1))
        assert float(same.abs().max()) < 1e-6
        net.head.leave[-1].weight.normal_()
        other = net.embed_frames(frames) - net.embed_frames(frames.flip(1))
    assert float(other.abs().max()) > 1e-2


def test_wrong_input_is_named(untrained):
    with pytest.raises(DataError, match="one channel"):
        untrained.embed_wave(np.zeros((2, 8000), np.float32), 8000)
    with pytest.raises(DataError, match="finite"):
        untrained.embed_wave(np.full(8000, np.nan, np.float32), 8000)
    with pytest.raises(DataError, match="none blank"):
        untrained.embed_texts(["dog", " "])
    with pytest.raises(DataError, match="spectrograms"):
        untrained.net.audio(torch.zeros(1, 1, 10, 7))
    front = FrontEnd(
        FrontEndSettings(sample_rate=8000, mels=32, window=256, hop=16, high=4000.0, seconds=9.0)
    )
    with pytest.raises(CheckpointError, match="lengthen the hop"):
        SoundModel(untrained.net, front, untrained.tokenizer)
    with pytest.raises(ConfigError, match="CLAP configuration"):
        TemporalClap({**untrained.net.config, "text_config": {"hidden_size": 10, "num_attention_heads": 3}})


def test_new_words_fall_back_to_letters_and_long_captions_are_cut():
    tokenizer = CaptionTokenizer.from_captions(["a dog"], length=6)
    ids, mask = tokenizer(["a dog", "owl", "Ä dog a dog a dog a dog"])
    assert mask.sum(dim=1).tolist() == [4, 5, 6]
    assert tokenizer.count("a dog a dog a dog") == 8
    unknown = tokenizer.tokenizer.token_to_id("<unk>")
    assert unknown not in ids.tolist()[1]
    assert ids[2, -1] == tokenizer.tokenizer.token_to_id("</s>")
