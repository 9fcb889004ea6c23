"""The slice encoder, and its folder: ``model.safetensors`` and ``config.json`` with the SHA-256."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from core.encoders import image_encoder
from core.files import atomic_directory
from core.tracking.model_folder import read_model, write_model
from medical.ct.augment import to_input

FORMAT = "kindred-ct-encoder/1"


class SliceEncoder:
    """An image encoder and what must be done to a slice before it sees it.

    Attributes:
        module: (B, 1, size, size) -> (B, dim).
        architecture: name and sizes, for `core.encoders.image_encoder`.
        window: by which Hounsfield units become grey values.
        size: side of its input.
        digest: SHA-256 of the weights, "" before they were saved.
    """

    def __init__(
        self, module: Any, *, architecture: Mapping[str, Any], window: str, size: int, digest: str = ""
    ) -> None:
        self.module = module
        self.architecture = dict(architecture)
        self.window, self.size, self.digest = window, size, digest

    @property
    def dim(self) -> int:
        """Width of the embedding."""
        return int(self.module.dim)

    @torch.no_grad()
    def embed(self, images: Any, batch_size: int = 256) -> np.ndarray:
        """(n, dim) float32 of slices (n, size, size) uint8; the batch size changes speed only."""
        self.module.eval()
        rows = torch.as_tensor(np.asarray(images))
        parts = [
            self.module(to_input(rows[start : start + batch_size]))
            for start in range(0, len(rows), batch_size)
        ]
        return torch.cat(parts).numpy() if parts else np.empty((0, self.dim), np.float32)

    def save(self, folder: str | os.PathLike[str]) -> str:
        """Write the folder, whole or not at all; returns the SHA-256 of the weights."""
        with atomic_directory(folder) as target:
            self.digest = write_model(
                target,
                FORMAT,
                self.module.state_dict(),
                architecture=self.architecture,
                window=self.window,
                size=self.size,
            )
        return self.digest


def new_encoder(*, encoder: str, window: str, size: int, seed: int, **sizes: Any) -> SliceEncoder:
    """An encoder with fresh weights, a function of the seed.

    Args:
        encoder: a name that `core.encoders.image_encoder` knows.
        **sizes: its options; those that are None are left to it.

    >>> new_encoder(encoder="resnet18", window="lung", size=32, seed=0, widths=[4, 4, 4, 8]).dim
    8
    """
    architecture = {"name": encoder, **{name: value for name, value in sizes.items() if value is not None}}
    if encoder.startswith("vit"):
        architecture["image_size"] = size
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = image_encoder(channels=1, **architecture)
    return SliceEncoder(module.eval(), architecture=architecture, window=window, size=size)


def load_encoder(folder: str | os.PathLike[str]) -> SliceEncoder:
    """Read an encoder's folder, in eval mode, on the CPU.

    Raises:
        CheckpointError: a file is missing, damaged, or not one of these.
    """
    with read_model(folder, FORMAT) as (config, state):
        module = image_encoder(channels=1, **config["architecture"])
        module.load_state_dict(state)
        return SliceEncoder(
            module.eval(), architecture=config["architecture"], window=config["window"], size=config["size"],
            digest=config["weights_sha256"],
        )  # fmt: skip
