"""The temporal head: what comes when, added to an embedding that only knows what there is."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.encoders.transformer import Blocks, init_transformer
from core.errors import ConfigError


class TemporalHead(nn.Module):
    """Frames of the audio tower in order of time -> a residual for its embedding.

    CLAP's towers end in an average over time, so that an embedding hears order only within the receptive
    field of a frame. Here the frames are averaged into ``segments``, get a learned position, pass a small
    transformer and are mapped together to the embedding. The last layer starts at zero: a model that gets
    the head embeds as before until the head is trained.

    (B, steps, width) -> (B, dim); any number of steps.

    Args:
        width: of a frame. dim: of the embedding. segments: pieces of time. inner: width of the transformer.
        layers, heads: of the transformer.

    >>> head = TemporalHead(8, 6, segments=4, inner=16, heads=2)
    >>> float(head(torch.randn(2, 10, 8)).detach().abs().max())
    0.0
    """

    def __init__(
        self, width: int, dim: int, *, segments: int = 8, inner: int = 64, layers: int = 1, heads: int = 4
    ) -> None:
        super().__init__()
        if segments < 2:
            raise ConfigError("segments of the temporal head", seen=segments, expected="at least 2")
        self.settings = {"segments": segments, "inner": inner, "layers": layers, "heads": heads}
        self.segments = segments
        self.enter = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, inner))
        self.blocks = Blocks(layers, inner, heads)
        self.leave = nn.Sequential(nn.LayerNorm(inner), nn.Flatten(), nn.Linear(segments * inner, dim))
        init_transformer(self)
        self.position = nn.Parameter(torch.zeros(segments, inner))
        nn.init.trunc_normal_(self.position, std=0.5)
        nn.init.zeros_(self.leave[-1].weight)  # type: ignore[arg-type]

    def forward(self, frames: Tensor) -> Tensor:
        pieces = F.adaptive_avg_pool1d(frames.transpose(1, 2), self.segments).transpose(1, 2)
        out: Tensor = self.leave(self.blocks(self.enter(pieces) + self.position))
        return out
