"""Signal encoders in one dimension: residual networks (plain and xresnet form) and a transformer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import nn

from core.encoders.checks import check_input
from core.encoders.transformer import Blocks, init_transformer
from core.encoders.vit import Tokens
from core.encoders.weights import LocalWeights
from core.errors import ConfigError, DataError


def _conv(source: int, target: int, kernel: int, stride: int = 1, *, act: bool = True) -> nn.Sequential:
    layers: list[nn.Module] = [
        nn.Conv1d(source, target, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm1d(target),
    ]
    if act:
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


class ResidualBlock(nn.Module):
    """Residual block over (B, source, T) -> (B, target, ceil(T / stride)).

    With ``xresnet`` the shortcut halves time by averaging before its 1-wide convolution, so that no sample is
    skipped, and the last norm starts at zero, so that the block starts as the identity (He et al. 2019).
    """

    def __init__(
        self, source: int, width: int, *, kernel: int, stride: int, bottleneck: bool, xresnet: bool
    ) -> None:
        super().__init__()
        target = width * (4 if bottleneck else 1)
        if bottleneck:
            layers = [
                _conv(source, width, 1),
                _conv(width, width, kernel, stride),
                _conv(width, target, 1, act=False),
            ]
        else:
            layers = [_conv(source, width, kernel, stride), _conv(width, target, kernel, act=False)]
        self.branch = nn.Sequential(*layers)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or source != target:
            if xresnet and stride != 1:
                self.shortcut = nn.Sequential(
                    nn.AvgPool1d(stride, ceil_mode=True), _conv(source, target, 1, act=False)
                )
            else:
                self.shortcut = _conv(source, target, 1, stride, act=False)
        if xresnet:
            nn.init.zeros_(layers[-1][1].weight)  # type: ignore[arg-type]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.branch(x) + self.shortcut(x))


class SignalResNet(LocalWeights, nn.Module):
    """Residual network over multi-channel signals (He et al. 2016; xresnet form: He et al. 2019).

    ================  =======================  ====================================================
    call              input                    output
    ================  =======================  ====================================================
    ``forward(x)``    (B, channels, T)         (B, dim): pooled over time
    ``features(x)``   (B, channels, T)         (B, width, t); t = T / 32 rounded up: 1000 -> 32
    ================  =======================  ====================================================

    The stem (7 wide, stride 2, then a max pooling) and four stages of stride 1, 2, 2, 2 have the time
    arithmetic of the 2D networks that read an ECG as a one-channel image with a first kernel over all
    leads: there the height is 1 after the first layer, so ``features(x).unsqueeze(2)`` is the (B, width, 1,
    t) map of that form.

    Args:
        channels: signal channels (leads). blocks, widths: of the four stages.
        kernel: odd width of the residual convolutions.
        bottleneck: three-layer blocks, four times wider outside.
        xresnet: three 5-wide convolutions as stem, averaging shortcuts, zero-initialised last norms.
        pool: ``mean``, or ``mean_max`` for both side by side (dim = 2 * width).
        check_finite: refuse NaN and infinity in the input.

    Attributes:
        dim: width of the embedding. width: channels of the feature map. stride: samples a feature, 32.

    Raises:
        DataError: rank, channels or dtype differ, or NaN where ``check_finite`` is set.

    >>> net = SignalResNet(channels=12, blocks=(1, 1, 1, 1), widths=(4, 4, 8, 8))
    >>> net.features(torch.randn(2, 12, 1000)).shape, net(torch.randn(2, 12, 1000)).shape
    (torch.Size([2, 8, 32]), torch.Size([2, 8]))
    """

    input_key = "stem.0.0.weight"

    def __init__(
        self,
        *,
        channels: int = 12,
        blocks: Sequence[int] = (2, 2, 2, 2),
        widths: Sequence[int] = (64, 128, 256, 512),
        kernel: int = 3,
        bottleneck: bool = False,
        xresnet: bool = False,
        pool: Literal["mean", "mean_max"] = "mean",
        check_finite: bool = False,
    ) -> None:
        super().__init__()
        if len(blocks) != 4 or len(widths) != 4 or kernel % 2 == 0:
            raise ConfigError(
                "blocks, widths and kernel",
                seen=(list(blocks), list(widths), kernel),
                expected="four blocks, four widths and an odd kernel",
            )
        if pool not in ("mean", "mean_max"):
            raise ConfigError("pool", seen=pool, expected="mean or mean_max")
        self.channels, self.pool, self.check_finite = channels, pool, check_finite
        self.stride = 32
        first = widths[0]
        if xresnet:
            half = max(first // 2, 1)
            stem = [_conv(channels, half, 5, 2), _conv(half, half, 5), _conv(half, first, 5)]
        else:
            stem = [_conv(channels, first, 7, 2)]
        self.stem = nn.Sequential(*stem, nn.MaxPool1d(3, stride=2, padding=1))
        stages = []
        source = first
        for stage, (count, width) in enumerate(zip(blocks, widths, strict=True)):
            layers = []
            for block in range(count):
                stride = 2 if stage > 0 and block == 0 else 1
                layers.append(
                    ResidualBlock(
                        source, width, kernel=kernel, stride=stride, bottleneck=bottleneck, xresnet=xresnet
                    )
                )
                source = width * (4 if bottleneck else 1)
            stages.append(nn.Sequential(*layers))
        self.stages = nn.Sequential(*stages)
        self.width = source
        self.dim = source * (2 if pool == "mean_max" else 1)
        for module in self.modules():
            if isinstance(module, nn.Conv1d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """The feature map before pooling, (B, width, t)."""
        check_input(x, what="signals", layout="(B, C, T)", channels=self.channels, finite=self.check_finite)
        out: torch.Tensor = self.stages(self.stem(x))
        return out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The embedding, (B, dim)."""
        features = self.features(x)
        if self.pool == "mean":
            return features.mean(dim=2)
        return torch.cat([features.mean(dim=2), features.amax(dim=2)], dim=1)


class SignalTransformer(LocalWeights, nn.Module):
    """Transformer over multi-channel signals of one length: the ECG branch of MoRE (Thapa et al. 2024).

    Two convolutions make the tokens: ``patch`` samples wide and as far apart, then ``window`` such patches
    wide and one patch apart. Token i sees samples ``patch * i`` to ``patch * (i + window) - 1`` of all
    channels together. With samples = 1000, patch = window = 5 there are n = 196 tokens.

    ================  =========================  ====================================================
    call              input                      output
    ================  =========================  ====================================================
    ``forward(x)``    (B, channels, samples)     (B, dim), normed CLS token
    ``tokens(x)``     (B, channels, samples)     cls (B, dim), patches (B, n, dim), normed
    ``features(x)``   (B, channels, samples)     (B, dim, n)
    ================  =========================  ====================================================

    Args:
        stem: channels between the two convolutions. dim, depth, heads, mlp_ratio: of the transformer.
        attention_drop: rate of attention entries dropped in training, one for all blocks or one a block;
            change it later with ``blocks.set_drop(drop_schedule(0.2, 0.0, depth))``.
        check_finite: refuse NaN and infinity in the input.

    Attributes:
        dim: width of the output. ``blocks.checkpointing = True`` trades time for memory.

    >>> net = SignalTransformer(channels=12, samples=100, stem=8, dim=16, depth=1, heads=2)
    >>> net(torch.randn(2, 12, 100)).shape, net.centres()[:3].tolist()
    (torch.Size([2, 16]), [12.0, 17.0, 22.0])
    """

    input_key = "embed.0.weight"

    def __init__(
        self,
        *,
        channels: int = 12,
        samples: int = 1000,
        patch: int = 5,
        window: int = 5,
        stem: int = 256,
        dim: int = 768,
        depth: int = 12,
        heads: int = 12,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = False,
        attention_drop: float | Sequence[float] = 0.0,
        check_finite: bool = False,
    ) -> None:
        super().__init__()
        count = samples // patch - window + 1
        if samples % patch or count < 1:
            raise ConfigError(
                "samples", seen=samples, expected=f"a multiple of {patch}, at least {patch * window}"
            )
        self.channels, self.samples, self.patch, self.window = channels, samples, patch, window
        self.dim, self.check_finite = dim, check_finite
        self.embed = nn.Sequential(
            nn.Conv1d(channels, stem, patch, stride=patch),
            nn.ReLU(),
            nn.BatchNorm1d(stem),
            nn.Conv1d(stem, dim, window),
            nn.ReLU(),
            nn.BatchNorm1d(dim),
        )
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + count, dim))
        self.blocks = Blocks(
            depth, dim, heads, mlp_ratio=mlp_ratio, qkv_bias=qkv_bias, layer_scale=None, drop=attention_drop
        )
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        init_transformer(self)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        nn.init.trunc_normal_(self.cls_token, std=0.02)

    def tokens(self, x: torch.Tensor) -> Tokens:
        """All normed output tokens."""
        check_input(x, what="signals", layout="(B, C, T)", channels=self.channels, finite=self.check_finite)
        if x.shape[2] != self.samples:
            raise DataError(
                "length of signals",
                seen=x.shape[2],
                expected=f"{self.samples} samples",
                remedy="resample, crop or pad, or build the encoder for this length",
            )
        patches = self.embed(x).transpose(1, 2)
        cls = self.cls_token.to(patches.dtype).expand(len(patches), -1, -1)
        tokens = torch.cat([cls, patches], dim=1) + self.pos_embed.to(patches.dtype)
        tokens = self.norm(self.blocks(tokens))
        return Tokens(tokens[:, 0], tokens[:, 1:])

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Normed tokens as a map over time, (B, dim, n)."""
        return self.tokens(x).patches.transpose(1, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The normed CLS token, (B, dim)."""
        return self.tokens(x).cls

    def centres(self) -> torch.Tensor:
        """The sample in the middle of what each token sees, (n,); divide by the rate for seconds."""
        count = self.pos_embed.shape[1] - 1
        return torch.arange(count) * float(self.patch) + (self.patch * self.window - 1) / 2


_NAMED: dict[str, dict[str, Any]] = {
    "resnet18": {"blocks": (2, 2, 2, 2)},
    "resnet34": {"blocks": (3, 4, 6, 3)},
    "resnet50": {"blocks": (3, 4, 6, 3), "bottleneck": True},
    "xresnet50": {"blocks": (3, 4, 6, 3), "bottleneck": True, "xresnet": True, "kernel": 5},
    "xresnet101": {"blocks": (3, 4, 23, 3), "bottleneck": True, "xresnet": True, "kernel": 5},
}


def signal_resnet(name: str, *, channels: int = 12, **options: Any) -> SignalResNet:
    """Build a :class:`SignalResNet` by its usual name; ``options`` replace single sizes.

    Names: resnet18, resnet34, resnet50, xresnet50, xresnet101.

    >>> signal_resnet("resnet18", channels=2, widths=(4, 4, 4, 4)).dim
    4
    """
    if name not in _NAMED:
        raise ConfigError("signal encoder", seen=name, expected=f"one of {', '.join(_NAMED)}")
    return SignalResNet(channels=channels, **{**_NAMED[name], **options})
