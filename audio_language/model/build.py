"""A model to start from: a small CLAP with random weights, or a local folder in transformers' layout."""

from __future__ import annotations

from typing import Any

from core.errors import ConfigError


def tiny_config(
    *,
    vocabulary: int,
    mels: int = 32,
    spec_size: int = 64,
    width: int = 24,
    depths: tuple[int, ...] = (1, 1, 1),
    heads: int = 4,
    dim: int = 64,
    text_width: int = 64,
    text_layers: int = 2,
    text_length: int = 24,
    dropout: float = 0.0,
) -> dict[str, Any]:
    """Fields of a small ``ClapConfig``: up to ``spec_size ** 2 / mels`` frames, dim-wide space.

    >>> tiny_config(vocabulary=50)["audio_config"]["hidden_size"]
    96
    """
    if spec_size % mels or text_width % 4:
        raise ConfigError(
            "(spec_size, mels, text_width)",
            seen=(spec_size, mels, text_width),
            expected="a spec_size that mels divide, and a text width in fours",
        )
    return {
        "text_config": {
            "vocab_size": vocabulary,
            "hidden_size": text_width,
            "num_hidden_layers": text_layers,
            "num_attention_heads": 4,
            "intermediate_size": 2 * text_width,
            "max_position_embeddings": text_length + 2,
            "hidden_dropout_prob": dropout,
            "attention_probs_dropout_prob": dropout,
            "projection_dim": dim,
        },
        "audio_config": {
            "spec_size": spec_size,
            "num_mel_bins": mels,
            "patch_size": 4,
            "patch_stride": [4, 4],
            "window_size": 4,
            "depths": list(depths),
            "num_attention_heads": [heads] * len(depths),
            "num_hidden_layers": len(depths),
            "patch_embeds_hidden_size": width,
            "hidden_size": width * 2 ** (len(depths) - 1),
            "hidden_dropout_prob": dropout,
            "attention_probs_dropout_prob": dropout,
            "drop_path_rate": 0.0,
            "projection_dim": dim,
        },
        "projection_dim": dim,
    }
