"""Image encoders in two and three dimensions on MONAI's networks: ResNet, DenseNet, ViT."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from core.encoders.checks import check_input
from core.encoders.monai_nets import monai_net
from core.encoders.weights import LocalWeights
from core.errors import ConfigError

_AXES = {2: "H, W", 3: "H, W, D"}


class ImageEncoder(LocalWeights, nn.Module):
    """What the three encoders share: a MONAI network in ``net``, a feature map, its mean as the embedding.

    =================  ==============================  ================================================
    call               input                           output
    =================  ==============================  ================================================
    ``forward(x)``     (B, channels, H, W[, D])        (B, dim), mean of the feature map
    ``features(x)``    (B, channels, H, W[, D])        (B, dim, h, w[, d]); h = H / ``stride``
    =================  ==============================  ================================================

    Sides that ``stride`` does not divide are rounded up (ResNet) or down (DenseNet); a ViT takes its
    ``image_size`` only. ``load_weights`` reads keys as MONAI names them; those of :class:`ResNetEncoder` in
    two dimensions are torchvision's too.

    Attributes:
        dim: width of the embedding. channels, dimensions: of the input. stride: input pixels a feature.

    Raises:
        DataError: rank, number of channels or dtype differ, or NaN where ``check_finite`` is set.
    """

    inner = "net"
    stride: int

    def __init__(
        self, net: nn.Module, *, dim: int, channels: int, dimensions: int, check_finite: bool
    ) -> None:
        super().__init__()
        self.net = net
        self.dim, self.channels, self.dimensions = dim, channels, dimensions
        self.check_finite = check_finite

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """The feature map before pooling."""
        layout = f"(B, C, {_AXES[self.dimensions]})"
        what = f"images of {type(self).__name__}"
        check_input(x, what=what, layout=layout, channels=self.channels, finite=self.check_finite)
        return self._map(x)

    def _map(self, x: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The mean over the feature map, (B, dim)."""
        return self.features(x).flatten(2).mean(dim=2)


class ResNetEncoder(ImageEncoder):
    """ResNet (He et al. 2016): a 7-wide convolution and a max pooling, then four stages; stride 32.

    Args:
        channels: input channels. dimensions: 2 or 3.
        blocks: residual blocks of the four stages; (2, 2, 2, 2) with basic blocks is ResNet-18.
        widths: channels of the stages; bottleneck blocks put out four times as many.
        bottleneck: three-layer blocks as in ResNet-50.
        small: stem of stride 1 without pooling, total stride 8, for images of about 32 pixels.

    >>> net = ResNetEncoder(channels=2, blocks=(1, 1, 1, 1), widths=(4, 4, 8, 8))
    >>> net.features(torch.randn(1, 2, 64, 48)).shape, net.dim
    (torch.Size([1, 8, 2, 2]), 8)
    """

    input_key = "conv1.weight"

    def __init__(
        self,
        *,
        channels: int = 3,
        dimensions: int = 2,
        blocks: Sequence[int] = (2, 2, 2, 2),
        widths: Sequence[int] = (64, 128, 256, 512),
        bottleneck: bool = False,
        small: bool = False,
        check_finite: bool = False,
    ) -> None:
        _check_dimensions(dimensions)
        if len(blocks) != 4 or len(widths) != 4:
            raise ConfigError(
                "ResNet stages", seen=(list(blocks), list(widths)), expected="four blocks and four widths"
            )
        net = monai_net("resnet", "ResNet")(
            "bottleneck" if bottleneck else "basic",
            list(blocks),
            list(widths),
            spatial_dims=dimensions,
            n_input_channels=channels,
            conv1_t_size=3 if small else 7,
            conv1_t_stride=1 if small else 2,
            no_max_pool=small,
            feed_forward=False,
            bias_downsample=False,
        )
        dim = widths[-1] * (4 if bottleneck else 1)
        super().__init__(net, dim=dim, channels=channels, dimensions=dimensions, check_finite=check_finite)
        self.stride = 8 if small else 32

    def _map(self, x: torch.Tensor) -> torch.Tensor:
        net: Any = self.net
        x = net.act(net.bn1(net.conv1(x)))
        if not net.no_max_pool:
            x = net.maxpool(x)
        out: torch.Tensor = net.layer4(net.layer3(net.layer2(net.layer1(x))))
        return out


class DenseNetEncoder(ImageEncoder):
    """DenseNet (Huang et al. 2017): stem of stride 4, dense blocks with transitions between.

    Args:
        channels: input channels. dimensions: 2 or 3.
        blocks: layers of each dense block; (6, 12, 24, 16) is DenseNet-121.
        growth: channels that each layer adds. first: channels after the stem.

    >>> net = DenseNetEncoder(channels=1, blocks=(1, 1), growth=4, first=8)
    >>> net(torch.randn(2, 1, 32, 32)).shape == (2, net.dim)
    True
    """

    input_key = "features.conv0.weight"

    def __init__(
        self,
        *,
        channels: int = 3,
        dimensions: int = 2,
        blocks: Sequence[int] = (6, 12, 24, 16),
        growth: int = 32,
        first: int = 64,
        check_finite: bool = False,
    ) -> None:
        _check_dimensions(dimensions)
        net = monai_net("densenet", "DenseNet")(
            dimensions, channels, 1, init_features=first, growth_rate=growth, block_config=tuple(blocks)
        )
        dim = net.class_layers.out.in_features
        del net.class_layers  # a classifier nobody reads would be a parameter without gradient
        super().__init__(net, dim=dim, channels=channels, dimensions=dimensions, check_finite=check_finite)
        self.stride = 2 ** (len(blocks) + 1)

    def _map(self, x: torch.Tensor) -> torch.Tensor:
        net: Any = self.net
        return torch.relu(net.features(x))


class ViTEncoder(ImageEncoder):
    """MONAI's ViT in two or three dimensions, for one fixed image size; the embedding is the mean token.

    For 2D images of varying size, masking or DINOv2 weights use ``core.encoders.vit.VisionTransformer``.

    Args:
        channels: input channels. dimensions: 2 or 3.
        image_size: sides of the input, one for all axes or one an axis, multiples of ``patch``.
        patch: side of a patch. dim, depth, heads, mlp_ratio: of the transformer.

    >>> net = ViTEncoder(channels=1, dimensions=3, image_size=8, patch=4, dim=12, depth=1, heads=2)
    >>> net.features(torch.randn(1, 1, 8, 8, 8)).shape
    torch.Size([1, 12, 2, 2, 2])
    """

    input_key = "patch_embedding.patch_embeddings.weight"

    def __init__(
        self,
        *,
        channels: int = 3,
        dimensions: int = 2,
        image_size: int | Sequence[int] = 224,
        patch: int = 16,
        dim: int = 768,
        depth: int = 12,
        heads: int = 12,
        mlp_ratio: float = 4.0,
        check_finite: bool = False,
    ) -> None:
        _check_dimensions(dimensions)
        sides = [image_size] * dimensions if isinstance(image_size, int) else list(image_size)
        if len(sides) != dimensions or any(side < patch or side % patch for side in sides):
            raise ConfigError(
                "image_size",
                seen=image_size,
                expected=f"{dimensions} sides, each a multiple of the patch {patch}",
            )
        if dim % heads:
            raise ConfigError("heads", seen=heads, expected=f"a divisor of the width {dim}")
        net = monai_net("vit", "ViT")(
            channels,
            tuple(sides),
            patch,
            hidden_size=dim,
            mlp_dim=int(dim * mlp_ratio),
            num_layers=depth,
            num_heads=heads,
            spatial_dims=dimensions,
            qkv_bias=True,
        )
        for (
            block
        ) in net.blocks:  # MONAI keeps the norm of a cross attention that is off: no gradient reaches it
            del block.norm_cross_attn
        super().__init__(net, dim=dim, channels=channels, dimensions=dimensions, check_finite=check_finite)
        self.sides, self.stride = tuple(sides), patch

    def _map(self, x: torch.Tensor) -> torch.Tensor:
        if tuple(x.shape[2:]) != self.sides:
            raise ConfigError(
                "sides of images",
                seen=tuple(x.shape[2:]),
                expected=str(self.sides),
                remedy="resize or crop them",
            )
        tokens, _ = self.net(x)
        out: torch.Tensor = tokens.transpose(1, 2).unflatten(2, [side // self.stride for side in self.sides])
        return out


def _check_dimensions(dimensions: int) -> None:
    if dimensions not in _AXES:
        raise ConfigError("dimensions", seen=dimensions, expected="2 or 3")


_NAMED: dict[str, dict[str, Any]] = {
    "resnet18": {"blocks": (2, 2, 2, 2)},
    "resnet34": {"blocks": (3, 4, 6, 3)},
    "resnet50": {"blocks": (3, 4, 6, 3), "bottleneck": True},
    "densenet121": {"blocks": (6, 12, 24, 16)},
    "vit_small": {"dim": 384, "depth": 12, "heads": 6},
    "vit_base": {"dim": 768, "depth": 12, "heads": 12},
}


def image_encoder(name: str, *, channels: int = 3, dimensions: int = 2, **options: Any) -> ImageEncoder:
    """Build an image encoder by its usual name; ``options`` replace single sizes.

    Names: resnet18, resnet34, resnet50, densenet121, vit_small, vit_base.

    >>> image_encoder("resnet18", channels=1, widths=(4, 4, 4, 4)).dim
    4
    """
    if name not in _NAMED:
        raise ConfigError("image encoder", seen=name, expected=f"one of {', '.join(_NAMED)}")
    kinds: dict[str, type[ImageEncoder]] = {
        "resnet": ResNetEncoder, "densenet": DenseNetEncoder, "vit": ViTEncoder
    }  # fmt: skip
    kind = next(kind for start, kind in kinds.items() if name.startswith(start))
    return kind(channels=channels, dimensions=dimensions, **{**_NAMED[name], **options})  # type: ignore[call-arg]
