"""A 2D U-Net with named levels and blocks, whose encoder and decoder can be pretrained one by one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from core.encoders.checks import check_input
from core.encoders.weights import LocalWeights
from core.errors import ConfigError, DataError


def _conv(source: int, target: int, kernel: int = 3) -> list[nn.Module]:
    # the eps and momentum are those of the published network (decay 0.99)
    return [
        nn.Conv2d(source, target, kernel, padding=kernel // 2 if kernel % 2 else 0, bias=False),
        nn.BatchNorm2d(target, eps=1e-3, momentum=0.01),
        nn.ReLU(inplace=True),
    ]


class DecoderBlock(nn.Module):
    """Doubles the side and joins the skip: (B, source, h, w) and (B, skip, 2h, 2w) -> (B, target, 2h, 2w).

    Nearest-neighbour enlargement, a 2 x 2 convolution (its even kernel pads right and bottom), the skip, and
    ``convolutions`` 3 x 3 ones.
    """

    def __init__(self, source: int, skip: int, target: int, *, convolutions: int = 2) -> None:
        super().__init__()
        self.up = nn.Sequential(*_conv(source, target, kernel=2))
        layers: list[nn.Module] = []
        for index in range(convolutions):
            layers += _conv(target + skip if index == 0 else target, target)
        self.mix = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        x = self.up(F.pad(F.interpolate(x, scale_factor=2, mode="nearest"), (0, 1, 0, 1)))
        out: torch.Tensor = self.mix(torch.cat([x, skip], dim=1))
        return out


class UNetEncoder(LocalWeights, nn.Module):
    """The contracting path: ``level1`` to ``levelN``, two 3 x 3 convolutions each, max pooling between.

    ===============  =========================  =====================================================
    call             input                      output
    ===============  =========================  =====================================================
    ``levels(x)``    (B, channels, H, W)        one map a level; level k is (B, widths[k], H / 2**k, W / 2**k)
    ``features(x)``  (B, channels, H, W)        the last of them
    ``forward(x)``   (B, channels, H, W)        (B, dim), its mean
    ===============  =========================  =====================================================

    H and W are multiples of ``stride`` = 2 ** (levels - 1).

    >>> net = UNetEncoder(channels=1, widths=(4, 8, 8))
    >>> [tuple(map_.shape) for map_ in net.levels(torch.zeros(1, 1, 16, 16))]
    [(1, 4, 16, 16), (1, 8, 8, 8), (1, 8, 4, 4)]
    """

    input_key = "level1.0.weight"

    def __init__(
        self,
        *,
        channels: int = 1,
        widths: Sequence[int] = (16, 32, 64, 128, 128, 128),
        check_finite: bool = False,
    ) -> None:
        super().__init__()
        if len(widths) < 2:
            raise ConfigError("widths of the U-Net", seen=list(widths), expected="at least two levels")
        self.channels, self.widths, self.check_finite = channels, tuple(widths), check_finite
        self.dim, self.stride = widths[-1], 2 ** (len(widths) - 1)
        source = channels
        for index, width in enumerate(widths, start=1):
            self.add_module(f"level{index}", nn.Sequential(*_conv(source, width), *_conv(width, width)))
            source = width

    def levels(self, x: torch.Tensor) -> list[torch.Tensor]:
        """The map of every level, the finest first."""
        check_input(x, what="images", layout="(B, C, H, W)", channels=self.channels, finite=self.check_finite)
        if x.shape[2] % self.stride or x.shape[3] % self.stride:
            raise DataError(
                "side of images",
                seen=tuple(x.shape[2:]),
                expected=f"multiples of {self.stride}",
                remedy="crop or pad the slices",
            )
        maps: list[torch.Tensor] = []
        for index in range(len(self.widths)):
            x = self.get_submodule(f"level{index + 1}")(F.max_pool2d(x, 2) if index else x)
            maps.append(x)
        return maps

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """The coarsest map, (B, dim, H / stride, W / stride)."""
        return self.levels(x)[-1]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Mean of the coarsest map, (B, dim)."""
        return self.features(x).flatten(2).mean(dim=2)


class UNetDecoder(nn.Module):
    """The expanding path: ``block1`` (coarsest) to ``blockN``, each as wide as the level it joins.

    ``forward(maps, blocks)`` runs the first ``blocks`` blocks (all by default) on what ``UNetEncoder.levels``
    gives: (B, width, H, W) after all of them, sides halved for each block left out. The last block has one
    3 x 3 convolution, the others two.
    """

    def __init__(self, widths: Sequence[int] = (16, 32, 64, 128, 128, 128)) -> None:
        super().__init__()
        self.count = len(widths) - 1
        coarse = widths[-1]
        for index in range(1, self.count + 1):
            skip = widths[-1 - index]
            block = DecoderBlock(coarse, skip, skip, convolutions=1 if index == self.count else 2)
            self.add_module(f"block{index}", block)
            coarse = skip

    def forward(self, maps: Sequence[torch.Tensor], blocks: int | None = None) -> torch.Tensor:
        """The map after ``blocks`` blocks."""
        count = self.count if blocks is None else blocks
        if not 1 <= count <= self.count:
            raise ConfigError("decoder blocks", seen=blocks, expected=f"1 to {self.count}")
        x = maps[-1]
        for index in range(1, count + 1):
            x = self.get_submodule(f"block{index}")(x, maps[-1 - index])
        return x


class UNet(LocalWeights, nn.Module):
    """Segmentation U-Net of Chaitanya et al. (NeurIPS 2020): ``encoder``, ``decoder``, ``last``.

    ========================  =======================  =============================================
    call                      input                    output
    ========================  =======================  =============================================
    ``forward(x)``            (B, channels, H, W)      (B, classes, H, W), logits
    ``decode(x, blocks=l)``   (B, channels, H, W)      map after l decoder blocks, for a local objective
    ========================  =======================  =============================================

    With the default six levels and H = 192 block l puts out side 192 / 2 ** (5 - l).

    >>> net = UNet(channels=1, classes=4, widths=(4, 8, 8))
    >>> net(torch.zeros(1, 1, 16, 16)).shape, net.decode(torch.zeros(1, 1, 16, 16), blocks=1).shape
    (torch.Size([1, 4, 16, 16]), torch.Size([1, 8, 8, 8]))
    """

    input_key = "encoder.level1.0.weight"

    def __init__(
        self,
        *,
        channels: int = 1,
        classes: int = 4,
        widths: Sequence[int] = (16, 32, 64, 128, 128, 128),
        check_finite: bool = False,
    ) -> None:
        super().__init__()
        self.channels, self.dim = channels, widths[-1]
        self.encoder = UNetEncoder(channels=channels, widths=widths, check_finite=check_finite)
        self.decoder = UNetDecoder(widths)
        fine = widths[0]
        self.last = nn.Sequential(
            *_conv(fine, fine), *_conv(fine, fine), nn.Conv2d(fine, classes, 3, padding=1, bias=False)
        )

    def decode(self, x: torch.Tensor, *, blocks: int | None = None) -> torch.Tensor:
        """The decoder's map after ``blocks`` blocks (all by default)."""
        out: torch.Tensor = self.decoder(self.encoder.levels(x), blocks)
        return out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits at the resolution of the input."""
        out: torch.Tensor = self.last(self.decode(x))
        return out
