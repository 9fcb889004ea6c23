"""The encoder, the heads on it, and the folder in which their weights go from stage to stage."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.encoders.image import ResNetEncoder
from core.encoders.vit import VisionTransformer
from core.encoders.weights import WeightReport
from core.errors import ConfigError
from core.files import atomic_directory
from core.tracking.model_folder import read_model, write_model
from earth_observation.bands import Sensor
from earth_observation.data.items import sensor_of, table_of
from earth_observation.labels import ClassTable
from earth_observation.normalise import Normalisation

FORMAT = "kindred-land-cover/1"
Encoder = ResNetEncoder | VisionTransformer


def build_encoder(channels: int, architecture: Mapping[str, Any], *, size: int) -> Encoder:
    """A ResNet or a ViT for any number of bands.

    Args:
        architecture: ``backbone`` "resnet" with ``blocks``, ``widths``, ``bottleneck`` and ``small`` (stride 8
            instead of 32), or "vit" with ``patch``, ``dim``, ``depth`` and ``heads``.
        size: pixels that the ViT's positions are made for; other sizes are resampled.

    >>> build_encoder(13, {"backbone": "vit", "patch": 8, "dim": 16, "depth": 1, "heads": 2}, size=32).dim
    16
    """
    options = dict(architecture)
    backbone = options.pop("backbone")
    if backbone == "resnet":
        return ResNetEncoder(channels=channels, **options)
    if backbone != "vit":
        raise ConfigError("model.backbone", seen=backbone, expected="resnet or vit")
    if size % options["patch"]:
        raise ConfigError(
            "(crop, patch)", seen=(size, options["patch"]), expected="a crop that is a multiple of the patch"
        )
    return VisionTransformer(
        channels=channels, image_size=size, layer_scale=1e-5 if options["depth"] > 8 else 0.1, **options
    )


def start_from(encoder: Encoder, path: str, sensor: Sensor, input_init: str) -> WeightReport:
    """Continue from a local checkpoint (DINOv2, DINO, any of the architecture) of another number of bands.

    Args:
        input_init: what the first layer becomes: "random" keeps the encoder's own (which published notes find
            best), "inflate" spreads the mean of red, green and blue, "copy" gives red, green and blue bands
            their own weights and the others the mean.
    """
    copy = sensor.copy_map() if input_init == "copy" else None
    prefixes = ["module.", "base_encoder.", "encoder_q.", "backbone.", "encoder."]
    return encoder.load_weights(path, strip=prefixes, input_init=input_init, copy=copy)  # type: ignore[arg-type]


def stride_of(encoder: Encoder) -> int:
    """Pixels of the input a cell of `features`."""
    return encoder.patch if isinstance(encoder, VisionTransformer) else encoder.stride


class Decoder(nn.Module):
    """A small decoder: the encoder's map enlarged, joined with a shallow look at the pixels themselves.

    (B, dim, h, w) and (B, channels, H, W) -> (B, classes, H, W). The second path keeps edges sharp, whatever
    the encoder's stride is.
    """

    def __init__(self, dim: int, channels: int, classes: int, *, width: int = 32) -> None:
        super().__init__()
        self.coarse = nn.Sequential(nn.Conv2d(dim, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.fine = nn.Sequential(
            nn.Conv2d(channels, width // 2, 3, padding=1, padding_mode="reflect", bias=False),
            nn.BatchNorm2d(width // 2),
            nn.ReLU(),
        )
        self.mix = nn.Sequential(
            nn.Conv2d(width + width // 2, width, 3, padding=1, padding_mode="reflect", bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, classes, 1),
        )

    def forward(self, features: Tensor, x: Tensor) -> Tensor:
        """Logits at the resolution of the pixels."""
        large = F.interpolate(self.coarse(features), x.shape[2:], mode="bilinear", align_corners=False)
        out: Tensor = self.mix(torch.cat([large, self.fine(x)], dim=1))
        return out


class LandCover(nn.Module):
    """An encoder with what is needed to use it: its bands, normalisation and classes, and up to three heads.

    Attributes:
        encoder: maps (B, C, H, W) in [0, 1] to (B, dim). classify: (B, dim) -> class logits, or None.
        decoder: land cover of every pixel, or None. changes: change of every pixel of two dates, or None.

    All inputs are normalised bytes over 255 (`Normalisation`).
    """

    def __init__(
        self,
        architecture: Mapping[str, Any],
        sensor: Sensor,
        normalisation: Normalisation,
        table: ClassTable,
        *,
        size: int,
        heads: tuple[str, ...] = (),
        width: int = 32,
    ) -> None:
        super().__init__()
        self.architecture, self.sensor, self.normalisation = dict(architecture), sensor, normalisation
        self.table, self.size, self.width = table, size, width
        channels = len(sensor.bands)
        self.encoder = build_encoder(channels, architecture, size=size)
        self.classify: nn.Linear | None = None
        self.decoder: Decoder | None = None
        self.changes: Decoder | None = None
        for head in heads:
            self.add_head(head)

    @property
    def heads(self) -> tuple[str, ...]:
        """Names of the heads that are there."""
        return tuple(name for name in ("classify", "decoder", "changes") if getattr(self, name) is not None)

    def add_head(self, name: str) -> nn.Module:
        """Put a fresh head on: classify, decoder or changes."""
        channels, dim = len(self.sensor.bands), self.encoder.dim
        if name == "classify":
            head: nn.Module = nn.Linear(dim, len(self.table))
        elif name in ("decoder", "changes"):
            head = Decoder(dim, channels, len(self.table) if name == "decoder" else 2, width=self.width)
        else:
            raise ConfigError("head", seen=name, expected="classify, decoder or changes")
        setattr(self, name, head)
        return head

    def forward(self, x: Tensor) -> Tensor:
        """Embeddings (B, dim)."""
        out: Tensor = self.encoder(x)
        return out

    def map(self, x: Tensor) -> Tensor:
        """Land-cover logits (B, classes, H, W). Raises ConfigError without that head."""
        if self.decoder is None:
            raise ConfigError("model", seen="no map head", remedy="run adapt with map_steps > 0")
        out: Tensor = self.decoder(self.encoder.features(x), x)
        return out

    def change(self, before: Tensor, after: Tensor) -> Tensor:
        """Logits (B, 2, H, W) of no change and change between two dates."""
        if self.changes is None:
            raise ConfigError("model", seen="no change head", remedy="run adapt with change_steps > 0")
        features = (self.encoder.features(before) - self.encoder.features(after)).abs()
        out: Tensor = self.changes(features, (before - after).abs())
        return out

    def save(self, folder: str | os.PathLike[str], **facts: Any) -> str:
        """Write the model's folder, whole or not at all; returns the SHA-256 of its weights."""
        with atomic_directory(folder) as target:
            return write_model(
                target,
                FORMAT,
                self.state_dict(),
                architecture=self.architecture,
                sensor=asdict(self.sensor),
                normalisation=self.normalisation.to_json(),
                table=asdict(self.table),
                size=self.size,
                heads=list(self.heads),
                width=self.width,
                **facts,
            )


def load_model(folder: str | os.PathLike[str]) -> LandCover:
    """Read a model's folder, in eval mode.

    Raises:
        CheckpointError: missing, damaged, or of another format.
    """
    with read_model(folder, FORMAT) as (config, state):
        model = LandCover(
            config["architecture"],
            sensor_of(config["sensor"]),
            Normalisation.from_json(config["normalisation"]),
            table_of(config["table"]),
            size=config["size"],
            heads=tuple(config["heads"]),
            width=config["width"],
        )
        model.load_state_dict(state)
    return model.eval()
