"""The networks of the three stages, and the folders in which their weights go from one to the next."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from core.encoders.heads import ProjectionHead
from core.encoders.unet import UNet
from core.errors import CheckpointError, ConfigError
from core.files import atomic_directory
from core.tracking.model_folder import read_model, write_model

FORMAT = "kindred-mri-unet/1"
PUBLISHED_WIDTHS = (16, 32, 64, 128, 128, 128)


@dataclass(frozen=True)
class Architecture:
    """What decides the shapes of all weights.

    Attributes:
        size: (H, W) of the slices, multiples of 2 ** (levels - 1).
        classes: with the background.
        widths: channels of the levels, the finest first; six as published.
        head: ``flatten`` as published, which ties the weights to ``size``; ``mean`` pools the coarsest map.
        head_hidden, head_dim: widths of the global head.
        momentum: of the running statistics of batch norm; 0.01 as published suits 10,000 steps, not 200.
    """

    size: tuple[int, int]
    classes: int
    widths: tuple[int, ...] = PUBLISHED_WIDTHS
    head: str = "flatten"
    head_hidden: int = 1024
    head_dim: int = 128
    momentum: float = 0.01

    def __post_init__(self) -> None:
        stride = 2 ** (len(self.widths) - 1)
        if any(side < stride or side % stride for side in self.size):
            raise ConfigError(
                "model size",
                seen=self.size,
                expected=f"multiples of {stride} (2 to the number of levels - 1)",
                remedy="change prepare.size, or the number of model.widths",
            )
        if self.head not in ("flatten", "mean") or self.classes < 2:
            raise ConfigError(
                "(head, classes)", seen=(self.head, self.classes), expected="flatten or mean; two or more"
            )

    @classmethod
    def of(cls, size: Sequence[int], classes: int, settings: Mapping[str, Any]) -> Architecture:
        """From the size and the classes of prepared slices, and the other attributes by name."""
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()
        }
        return cls((int(size[0]), int(size[1])), classes, **values)

    @property
    def blocks(self) -> int:
        """Number of decoder blocks."""
        return len(self.widths) - 1


def build_unet(architecture: Architecture) -> UNet:
    """The U-Net, with the momentum of the architecture in its batch norms."""
    net = UNet(channels=1, classes=architecture.classes, widths=architecture.widths)
    # on a CPU a step takes two thirds of the time in this layout
    return _with_momentum(net, architecture.momentum).to(memory_format=torch.channels_last)


def global_head(architecture: Architecture) -> nn.Sequential:
    """g1: the coarsest map (B, C, h, w) -> (B, head_dim), two dense layers without bias."""
    stride = 2 ** (len(architecture.widths) - 1)
    cells = (architecture.size[0] // stride) * (architecture.size[1] // stride)
    flat = architecture.head == "flatten"
    pool: list[nn.Module] = [] if flat else [nn.AdaptiveAvgPool2d(1)]
    source = architecture.widths[-1] * (cells if flat else 1)
    dense = ProjectionHead(source, architecture.head_dim, hidden=[architecture.head_hidden], bias=False)
    return nn.Sequential(*pool, nn.Flatten(), dense)


def local_head(architecture: Architecture, blocks: int) -> nn.Module:
    """g2: the map after ``blocks`` decoder blocks, two 1 x 1 convolutions of its own width without bias."""
    if not 1 <= blocks <= architecture.blocks:
        raise ConfigError("decoder blocks", seen=blocks, expected=f"1 to {architecture.blocks}")
    width = architecture.widths[-1 - blocks]
    head = ProjectionHead(width, width, hidden=[width], norm="batch", bias=False, spatial=2)
    for layer in head:
        if isinstance(layer, nn.BatchNorm2d):
            layer.eps = 1e-3
    return _with_momentum(head, architecture.momentum)


def map_size(architecture: Architecture, blocks: int) -> tuple[int, int]:
    """(h, w) of the map after ``blocks`` decoder blocks.

    >>> map_size(Architecture((192, 192), 4), 3)
    (48, 48)
    """
    shrink = 2 ** (architecture.blocks - blocks)
    return architecture.size[0] // shrink, architecture.size[1] // shrink


def _with_momentum(module: Any, momentum: float) -> Any:
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = momentum
    return module


def save_model(
    net: UNet, architecture: Architecture, folder: str | os.PathLike[str], *, stage: str, **facts: Any
) -> str:
    """Write the network's folder, whole or not at all; returns the SHA-256 of its weights.

    Args:
        stage: global, local or finetuned: what the weights have been through.
        facts: plain values to keep beside them (structures, spacing).
    """
    with atomic_directory(folder) as target:
        return write_model(
            target, FORMAT, net.state_dict(), stage=stage, architecture=asdict(architecture), **facts
        )


def load_model(
    folder: str | os.PathLike[str],
    *,
    size: Sequence[int] | None = None,
    classes: int | None = None,
    stages: Sequence[str] = (),
) -> tuple[UNet, Architecture, dict[str, Any]]:
    """Read a network's folder: (network in eval mode, its architecture, its whole config).

    Args:
        size, classes, stages: what the network must have been made for, where given.

    Raises:
        CheckpointError: damaged or missing, or made for other images, classes or another stage.
    """
    with read_model(folder, FORMAT) as (config, state):
        raw = dict(config["architecture"])
        architecture = Architecture.of(raw.pop("size"), raw.pop("classes"), raw)
        wanted = (
            ("image size", architecture.size, tuple(size) if size is not None else architecture.size),
            ("classes", architecture.classes, architecture.classes if classes is None else classes),
        )
        for what, seen, expected in wanted:
            if seen != expected:
                raise CheckpointError(
                    f"{folder}: {what} of the network",
                    seen=seen,
                    expected=str(expected),
                    remedy="pretrain again with these settings",
                )
        if stages and config["stage"] not in stages:
            raise CheckpointError(
                f"{folder}: stage", seen=config["stage"], expected=f"one of {', '.join(stages)}"
            )
        net = build_unet(architecture)
        net.load_state_dict(state)
    return net.eval(), architecture, config
