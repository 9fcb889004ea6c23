"""One branch: a residual network over the leads, add-on layers, prototypes, and a linear layer on similarities."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from core.encoders.signal import SignalResNet
from core.errors import CheckpointError, ConfigError
from medical.ecg.losses import prototype_identity
from medical.ecg.model.similarity import Pool, cosine, default_scale, pool_windows, window_cosine


@dataclass(frozen=True)
class Backbone:
    """Sizes of a residual network; `core.encoders.signal.SignalResNet` has the time arithmetic of the published
    one- and two-dimensional networks, which differ in nothing once the first kernel spans all leads.

    ``resnet18`` is blocks (2, 2, 2, 2), widths (64, 128, 256, 512).
    """

    blocks: tuple[int, ...] = (2, 2, 2, 2)
    widths: tuple[int, ...] = (64, 128, 256, 512)
    bottleneck: bool = False
    dropout: float = 0.0

    def build(self) -> SignalResNet:
        """The network with random weights."""
        return SignalResNet(channels=12, blocks=self.blocks, widths=self.widths, bottleneck=self.bottleneck)

    @property
    def receptive_field(self) -> int:
        """Samples that one feature step sees, of which those in the middle weigh most."""
        field_, jump = 7, 2
        field_, jump = field_ + 2 * jump, jump * 2
        for stage, count in enumerate(self.blocks):
            for block in range(count):
                stride = 2 if stage > 0 and block == 0 else 1
                field_ += 2 * jump  # the first (or only) convolution of width 3
                jump *= stride
                field_ += 0 if self.bottleneck else 2 * jump
        return field_


@dataclass(frozen=True)
class BranchConfig:
    """What a branch is made of.

    Attributes:
        name: rhythm, morphology or global.
        labels: its labels, in order.
        counts: prototypes of each label. pairs: prototypes of each pair of labels.
        window: feature steps of a prototype; 0: one vector for the whole recording (after pooling over time);
            -1: a map of all steps.
        samples: length of the input.
        pool: over windows. scale: of the cosine; None is the published one (1, 13 and 4 for resnet18).
        addon: ``linear`` (two layers and a sigmoid) or ``identity``.
        classifier: fixed weights of the joint training. ``published``: +1 to the prototypes of the class, -0.5 to
            all others, no bias; with few or narrow prototypes its logits lie far below 0 for every input.
            ``balanced``: the mean over the class's less the mean over the others, times `GAIN`, and a bias that
            is trained.
        head: what the plain head of `PrototypeBranch.extract` reads, pooled over time; ``mean_max`` sees single
            beats that a mean over ten seconds drowns.
    """

    name: str
    labels: tuple[str, ...]
    counts: tuple[int, ...]
    window: int
    samples: int = 1000
    pairs: int = 0
    pool: Pool = "mean"
    scale: float | None = None
    addon: Literal["linear", "identity"] = "linear"
    classifier: Literal["published", "balanced"] = "published"
    head: Literal["mean", "mean_max"] = "mean"
    backbone: Backbone = field(default_factory=Backbone)

    def __post_init__(self) -> None:
        if len(self.labels) != len(self.counts) or not self.labels or min(self.counts) < 1:
            raise ConfigError(
                f"prototypes of branch {self.name}", seen=self.counts, expected="one or more for each label"
            )

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> BranchConfig:
        """Back from ``dataclasses.asdict`` and JSON."""
        backbone: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in raw["backbone"].items()
        }
        plain: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in raw.items() if k != "backbone"
        }
        return cls(**plain, backbone=Backbone(**backbone))

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


GAIN = 16.0
"""Logit of a cosine difference of 1 between own and other prototypes, with the ``balanced`` classifier."""


class Similar(NamedTuple):
    """``pooled``: (B, P). ``windows``: (B, P, windows) before pooling, None where prototypes are vectors."""

    pooled: Tensor
    windows: Tensor | None


class PrototypeBranch(nn.Module):
    """(B, 12, T) -> similarities (B, P) -> logits (B, C).

    ``head`` on the pooled features is what the backbone is first trained through, and nothing else. The
    ``projected`` flag says whether every prototype is the feature of a real recording; `require_projected`
    refuses otherwise, and the weights of the linear layer mean nothing before.

    >>> config = BranchConfig("morphology", ("PVC", "INVT"), (2, 2), window=3,
    ...                       backbone=Backbone((1, 1, 1, 1), (4, 4, 4, 8)))
    >>> branch = PrototypeBranch(config)
    >>> found = branch.similar(torch.randn(3, 12, 1000))
    >>> found.pooled.shape, found.windows.shape, branch.logits(found.pooled).shape
    (torch.Size([3, 4]), torch.Size([3, 4, 30]), torch.Size([3, 2]))
    """

    prototypes: Tensor
    identity: Tensor
    projected: Tensor

    def __init__(self, config: BranchConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = config.backbone.build()
        self.dropout = nn.Dropout(config.backbone.dropout)
        dim = self.backbone.width
        self.steps = -(-config.samples // self.backbone.stride)
        self.length = {0: 0, -1: self.steps}.get(config.window, config.window)
        if not 0 <= self.length <= self.steps:
            raise ConfigError(
                f"window of branch {config.name}", seen=config.window, expected=f"1 to {self.steps}"
            )
        self.addon: nn.Module = nn.Identity()
        if config.addon == "linear":
            first, second = nn.Conv1d(dim, dim, 1), nn.Conv1d(dim, dim, 1)
            self.addon = nn.Sequential(first, nn.ReLU(), second, nn.Sigmoid())
        identity = prototype_identity(config.counts, config.pairs)
        self.register_buffer("identity", identity)
        shape = (len(identity), dim, self.length) if self.length else (len(identity), dim)
        self.prototypes = nn.Parameter(torch.randn(shape))
        published = default_scale(dim, self.length) if self.length else 1.0
        self.scale = published if config.scale is None else config.scale
        self.classifier = nn.Parameter(self._fixed_weights(identity))
        self.bias = nn.Parameter(
            torch.zeros(len(config.labels)), requires_grad=config.classifier == "balanced"
        )
        self.head = nn.Linear(dim * (2 if config.head == "mean_max" else 1), len(config.labels))
        self.register_buffer("projected", torch.zeros((), dtype=torch.bool))

    def _fixed_weights(self, identity: Tensor) -> Tensor:
        if self.config.classifier == "published":
            return 1.5 * identity.T - 0.5
        own, other = identity.T, 1 - identity.T
        mean_own = own / own.sum(1, keepdim=True)
        return GAIN / self.scale * (mean_own - other / other.sum(1, keepdim=True).clamp_min(1))

    @property
    def count(self) -> int:
        """Number of prototypes."""
        return len(self.identity)

    def maps(self, x: Tensor) -> Tensor:
        """Feature map of the backbone, (B, D, steps), with dropout before the last stage."""
        net = self.backbone
        out = net.stem(x)
        for stage in net.stages[:-1]:
            out = stage(out)
        return net.stages[-1](self.dropout(out))  # type: ignore[no-any-return]

    def extract(self, x: Tensor) -> Tensor:
        """Logits of the plain head, (B, C): the feature extractor before there are prototypes."""
        maps = self.maps(x)
        pooled = maps.mean(2)
        if self.config.head == "mean_max":
            pooled = torch.cat([pooled, maps.amax(2)], dim=1)
        return self.head(pooled)  # type: ignore[no-any-return]

    def features(self, x: Tensor) -> Tensor:
        """What prototypes are compared with: (B, D), or (B, D, steps) where they are windows."""
        maps = self.maps(x)
        if self.length:
            return self.addon(maps)  # type: ignore[no-any-return]
        return self.addon(maps.mean(2, keepdim=True)).squeeze(2)  # type: ignore[no-any-return]

    def activations(self, features: Tensor) -> Tensor:
        """Scaled cosines, (B, P) or (B, P, windows)."""
        if not self.length:
            return self.scale * cosine(features, self.prototypes)
        return window_cosine(features, self.prototypes, scale=self.scale)

    def similar(self, x: Tensor) -> Similar:
        """Similarities of inputs to all prototypes."""
        found = self.activations(self.features(x))
        if not self.length:
            return Similar(found, None)
        return Similar(pool_windows(found, self.config.pool), found)

    def logits(self, pooled: Tensor) -> Tensor:
        """(B, P) -> (B, C): each logit is the sum of weight times similarity (and the bias, 0 as published)."""
        return pooled @ self.classifier.T + self.bias

    def require_projected(self) -> PrototypeBranch:
        """Itself; raises CheckpointError where the prototypes are no real recordings yet."""
        if not bool(self.projected):
            raise CheckpointError(
                f"prototypes of branch {self.config.name} are not projected on training recordings",
                expected="a branch that went through medical.ecg.learn.project.project_branch",
                remedy="run the project stage before training or using a classifier",
            )
        return self
