"""Encoders for images, signals, text and audio, and the heads and weight files that go with them.

Names are imported when first used, so that ``import core.encoders`` costs nothing: MONAI, torchaudio and
transformers load only with the encoder that needs them.

>>> import core.encoders
>>> core.encoders.ProjectionHead(4, 2).dim
2
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "AudioCNN": "audio",
    "ClapAudio": "audio",
    "DenseNetEncoder": "image",
    "ImageEncoder": "image",
    "LogMel": "mel",
    "PretrainedText": "text",
    "ProjectionHead": "heads",
    "ResNetEncoder": "image",
    "ResidualHead": "heads",
    "SignalResNet": "signal",
    "SignalTransformer": "signal",
    "StaticText": "static_text",
    "TextEncoder": "text",
    "Tokens": "vit",
    "TransformerText": "text",
    "UNet": "unet",
    "ViTEncoder": "image",
    "VisionTransformer": "vit",
    "WeightReport": "weights",
    "adapt_channels": "channels",
    "drop_schedule": "transformer",
    "fit_length": "mel",
    "image_encoder": "image",
    "load_state": "weights",
    "masked_mean": "text",
    "random_mask": "vit",
    "read_state": "weight_files",
    "recorded_attention": "transformer",
    "signal_resnet": "signal",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
