"""HPCL-Net: colour and terrain fused in feature space, for scars that are hard to see in either."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.encoders.heads import ProjectionHead
from core.encoders.image import ResNetEncoder
from core.errors import ConfigError
from core.learning.determinism import generator
from core.momentum import MomentumEncoder
from earth_observation.metrics import confusion_matrix, segmentation_scores
from earth_observation.model import Decoder
from earth_observation.terrain import CHANNELS, terrain_features


class TwoSourceNet(nn.Module):
    """Two encoders, a gate between their maps, a decoder: landslide or not, for every pixel.

    F = g A + (1 - g) B with g = sigmoid(conv([A; B])), A from colour and B from terrain. Where no height is known,
    g is 1: the answer is then that of colour alone, whatever the terrain channels hold.

    Args:
        widths, blocks: of both ResNets (stride 8). width: of the fused map.

    >>> net = TwoSourceNet(widths=(4, 4, 4, 4), width=8)
    >>> net(torch.rand(2, 3, 16, 16), torch.rand(2, 4, 16, 16), torch.ones(2, 16, 16, dtype=torch.bool)).shape
    torch.Size([2, 2, 16, 16])
    """

    stride = 8

    def __init__(
        self,
        *,
        widths: Sequence[int] = (16, 32, 64, 64),
        blocks: Sequence[int] = (1, 1, 1, 1),
        width: int = 64,
    ) -> None:
        super().__init__()
        self.colour = ResNetEncoder(channels=3, widths=widths, blocks=blocks, small=True)
        self.terrain = ResNetEncoder(channels=len(CHANNELS), widths=widths, blocks=blocks, small=True)
        self.join = nn.ModuleList([nn.Conv2d(self.colour.dim, width, 1) for _ in range(2)])
        self.gate = nn.Conv2d(2 * width, 1, 1)
        self.decoder = Decoder(width, 3 + len(CHANNELS), 2, width=max(8, width // 2))
        self.dim = width

    def fused(self, picture: Tensor, terrain: Tensor, known: Tensor) -> Tensor:
        """(B, width, H / 8, W / 8) from colour (B, 3, H, W) in [0, 1], terrain (B, 4, H, W), known (B, H, W)."""
        terrain = terrain * known[:, None]
        a, b = self.join[0](self.colour.features(picture)), self.join[1](self.terrain.features(terrain))
        share = F.adaptive_avg_pool2d(known[:, None].float(), a.shape[2:])
        gate = torch.sigmoid(self.gate(torch.cat([a, b], dim=1)))
        gate = torch.where(share > 0, gate, torch.ones_like(gate))
        return gate * a + (1 - gate) * b

    def forward(self, picture: Tensor, terrain: Tensor, known: Tensor) -> Tensor:
        """Logits (B, 2, H, W) of background and landslide."""
        both = torch.cat([picture, terrain * known[:, None]], dim=1)
        out: Tensor = self.decoder(self.fused(picture, terrain, known), both)
        return out


class KeyQueue(nn.Module):
    """The last ``size`` keys of one class, from all images; starts empty.

    >>> queue = KeyQueue(2, 3)
    >>> queue.put(torch.tensor([[1.0, 0], [2, 0]])); queue.put(torch.tensor([[3.0, 0], [4, 0]]))
    >>> queue.keys()[:, 0].tolist()
    [2.0, 3.0, 4.0]
    """

    rows: Tensor
    count: Tensor

    def __init__(self, dim: int, size: int) -> None:
        super().__init__()
        self.register_buffer("rows", torch.zeros(size, dim))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def put(self, keys: Tensor) -> None:
        """Add (n, dim) keys; the oldest fall out."""
        size = len(self.rows)
        kept = torch.cat([self.keys(), keys.to(self.rows.dtype)])[-size:]
        self.rows = torch.cat([self.rows.new_zeros(size - len(kept), self.rows.shape[1]), kept])
        self.count = torch.full_like(self.count, len(kept))

    def keys(self) -> Tensor:
        """What is queued, the oldest first."""
        return self.rows[len(self.rows) - int(self.count) :]


def slow_copy(net: TwoSourceNet, head: ProjectionHead, momentum: float) -> MomentumEncoder:
    """The momentum copy that makes the keys."""
    return MomentumEncoder(_Projected(net, head), momentum)


class _Projected(nn.Module):
    def __init__(self, net: TwoSourceNet, head: ProjectionHead) -> None:
        super().__init__()
        self.net, self.head = net, head

    def forward(self, picture: Tensor, terrain: Tensor, known: Tensor) -> Tensor:
        out: Tensor = self.head(self.net.fused(picture, terrain, known))
        return out


def draw_landslides(count: int, side: int, *, seed: int = 0, share: float = 0.7) -> dict[str, np.ndarray]:
    """Generated tiles of hilly ground with old, overgrown scars: faint in colour, a step and a bulge in the terrain.

    Args:
        share: of the tiles that have a scar.

    Returns:
        ``picture`` (n, 3, side, side) float32 in [0, 1], ``dem`` (n, side, side) metres, ``mask`` (n, side, side)
        uint8: 1 on a scar.
    """
    from earth_observation.demo import smooth

    if side % TwoSourceNet.stride:
        raise ConfigError("side", seen=side, expected=f"a multiple of {TwoSourceNet.stride}")
    out: dict[str, list[np.ndarray]] = {"picture": [], "dem": [], "mask": []}
    rows, columns = np.indices((side, side)).astype(float)
    for number in range(count):
        rng = generator(seed, "landslide", number)
        dem = 1200 + 60 * smooth(rng, side, side / 4) + 8 * smooth(rng, side, side / 12)
        mask = np.zeros((side, side), dtype=np.uint8)
        look = 0.45 + 0.06 * smooth(rng, side, 3)
        if rng.random() < share:
            centre, size = rng.uniform(0.3, 0.7, 2) * side, rng.uniform(0.12, 0.22, 2) * side
            reach = np.hypot((rows - centre[0]) / size[0], (columns - centre[1]) / size[1])
            reach = reach + 0.1 * smooth(rng, side, 2)
            mask = (reach < 1).astype(np.uint8)
            # a hollow at the head, a bulge at the toe
            dem = dem + np.where(mask, 12 * np.sign(rows - centre[0]) * (1 - np.clip(reach, 0, 1)), 0)
            look = look + 0.05 * mask
        tint = np.array([0.9, 1.0, 0.7])[:, None, None] * np.exp(0.15 * rng.normal(size=(3, 1, 1)))
        picture = np.clip(look * tint + 0.04 * rng.normal(size=(3, side, side)), 0, 1)
        for key, value in (("picture", picture.astype(np.float32)), ("dem", dem), ("mask", mask)):
            out[key].append(value)
    return {key: np.stack(value) for key, value in out.items()}


def landslide_batch(
    tiles: Mapping[str, np.ndarray], chosen: Sequence[int], metres: float = 5.0
) -> dict[str, Tensor]:
    """Tensors of the chosen tiles: ``picture``, ``terrain``, ``known``, ``mask``."""
    terrain, known = zip(*(terrain_features(tiles["dem"][k], (metres, metres)) for k in chosen))
    return {
        "picture": torch.from_numpy(tiles["picture"][list(chosen)]),
        "terrain": torch.from_numpy(np.stack(terrain)),
        "known": torch.from_numpy(np.stack(known)),
        "mask": torch.from_numpy(tiles["mask"][list(chosen)]).long(),
    }


@torch.no_grad()
def score_landslides(
    net: TwoSourceNet, tiles: Mapping[str, np.ndarray], *, metres: float = 5.0
) -> dict[str, Any]:
    """`segmentation_scores` over all tiles together; class 1 is landslide."""
    total = np.zeros((2, 2), dtype=np.int64)
    for start in range(0, len(tiles["mask"]), 16):
        batch = landslide_batch(tiles, range(start, min(start + 16, len(tiles["mask"]))), metres)
        answer = net(batch["picture"], batch["terrain"], batch["known"]).argmax(1)
        total += confusion_matrix(batch["mask"].numpy(), answer.numpy(), 2)
    return segmentation_scores(total)
