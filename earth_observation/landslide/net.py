"""The network of HPCL-Net: colour and terrain fused in feature space, and the queues of its contrast."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.encoders.heads import ProjectionHead
from core.encoders.image import ResNetEncoder
from core.momentum import MomentumEncoder
from earth_observation.model import Decoder
from earth_observation.terrain import CHANNELS


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
