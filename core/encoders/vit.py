"""Vision transformer in the form of DINOv2: LayerScale, resampled positions, masking, intermediate layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from core.encoders.checks import check_input
from core.encoders.dinov2 import TRANSFORMERS_MARK, from_transformers
from core.encoders.transformer import Blocks, init_transformer
from core.encoders.weights import LocalWeights
from core.errors import ConfigError, DataError

MaskMode = Literal["token", "drop"]


class Tokens(NamedTuple):
    """The output tokens of a transformer: ``cls`` (B, dim), ``patches`` (B, N, dim) in row-major order."""

    cls: torch.Tensor
    patches: torch.Tensor


class VisionTransformer(LocalWeights, nn.Module):
    """Plain ViT whose weights are named and computed as in DINOv2 (Oquab et al. 2023), for any bands.

    With P = patch and (h, w) = (H // P, W // P):

    =====================  =======================  ==============================================
    call                   input                    output
    =====================  =======================  ==============================================
    ``forward(x)``         (B, channels, H, W)      (B, dim), normed CLS token
    ``tokens(x)``          (B, channels, H, W)      cls (B, dim), patches (B, h * w, dim), normed
    ``features(x)``        (B, channels, H, W)      (B, dim, h, w)
    ``intermediate(x, n)`` (B, channels, H, W)      a list of n ``Tokens``, first block first
    =====================  =======================  ==============================================

    H and W are multiples of P and may differ from ``image_size``: position embeddings are then resampled
    (bicubic, with DINOv2's offset of 0.1). ``mask`` (B, h * w) is True where a patch is hidden. Mode
    ``"token"`` puts the learned mask token there; mode ``"drop"`` removes the patches, which saves their
    time and memory, and needs the same number hidden in every row (:func:`random_mask`).

    Args:
        channels: input bands.
        image_size: side in pixels that the position embeddings are made for, a multiple of ``patch``.
        layer_scale: initial LayerScale; None for none (as in the original ViT).
        qkv_bias: bias of the attention's input layer.
        attention_drop: rate of attention entries dropped in training, one for all blocks or one a block.
        check_finite: refuse NaN and infinity in the input (one extra pass over it).

    Attributes:
        dim: width of the output. ``blocks.checkpointing = True`` trades time for memory.

    Raises:
        ConfigError: sizes that do not divide. DataError: input of another shape, or a mask that does not fit.

    >>> net = VisionTransformer(channels=13, image_size=28, dim=16, depth=2, heads=2)
    >>> net(torch.randn(2, 13, 28, 42)).shape
    torch.Size([2, 16])
    >>> net.features(torch.randn(2, 13, 28, 42)).shape
    torch.Size([2, 16, 2, 3])
    """

    input_key = "patch_embed.proj.weight"

    def __init__(
        self,
        *,
        channels: int = 3,
        image_size: int = 224,
        patch: int = 14,
        dim: int = 384,
        depth: int = 12,
        heads: int = 6,
        mlp_ratio: float = 4.0,
        layer_scale: float | None = 1e-5,
        qkv_bias: bool = True,
        attention_drop: float | Sequence[float] = 0.0,
        check_finite: bool = False,
    ) -> None:
        super().__init__()
        if image_size < patch or image_size % patch:
            raise ConfigError("image_size", seen=image_size, expected=f"a multiple of the patch side {patch}")
        self.channels, self.patch, self.dim = channels, patch, dim
        self.check_finite = check_finite
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv2d(channels, dim, kernel_size=patch, stride=patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.mask_token = nn.Parameter(torch.zeros(1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + (image_size // patch) ** 2, dim))
        self.blocks = Blocks(
            depth,
            dim,
            heads,
            mlp_ratio=mlp_ratio,
            qkv_bias=qkv_bias,
            layer_scale=layer_scale,
            drop=attention_drop,
        )
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        init_transformer(self)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        nn.init.normal_(self.cls_token, std=1e-6)

    def forward(
        self, x: torch.Tensor, mask: torch.Tensor | None = None, *, mask_mode: MaskMode = "token"
    ) -> torch.Tensor:
        """The normed CLS token, (B, dim)."""
        return self.tokens(x, mask, mask_mode=mask_mode).cls

    def tokens(
        self, x: torch.Tensor, mask: torch.Tensor | None = None, *, mask_mode: MaskMode = "token"
    ) -> Tokens:
        """All normed output tokens; with ``mask_mode="drop"`` only the visible patches, in their order."""
        return self._split(self.norm(self.blocks(self._embed(x, mask, mask_mode))))

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Normed patch tokens as a map, (B, dim, H / patch, W / patch)."""
        patches = self.tokens(x).patches
        return patches.transpose(1, 2).unflatten(2, (x.shape[2] // self.patch, x.shape[3] // self.patch))

    def intermediate(self, x: torch.Tensor, n: int | Sequence[int] = 1, *, norm: bool = True) -> list[Tokens]:
        """The tokens after the last ``n`` blocks, or after the blocks of the given indices, in block order.

        >>> net = VisionTransformer(image_size=14, dim=8, depth=3, heads=1)
        >>> [tuple(t.patches.shape) for t in net.intermediate(torch.randn(1, 3, 14, 14), 2)]
        [(1, 1, 8), (1, 1, 8)]
        """
        depth = len(self.blocks)
        wanted = range(depth - n, depth) if isinstance(n, int) else list(n)
        if not wanted or min(wanted) < 0 or max(wanted) >= depth:
            raise ConfigError("blocks", seen=n, expected=f"1..{depth} blocks, indices in 0..{depth - 1}")
        outputs = self.blocks.each(self._embed(x, None, "token"))
        return [
            self._split(self.norm(tokens) if norm else tokens)
            for block, tokens in enumerate(outputs)
            if block in wanted
        ]

    @staticmethod
    def _split(tokens: torch.Tensor) -> Tokens:
        return Tokens(tokens[:, 0], tokens[:, 1:])

    def _embed(self, x: torch.Tensor, mask: torch.Tensor | None, mode: MaskMode) -> torch.Tensor:
        check_input(x, what="images", layout="(B, C, H, W)", channels=self.channels, finite=self.check_finite)
        height, width = x.shape[2:]
        if height % self.patch or width % self.patch:
            raise DataError(
                "side of images",
                seen=(height, width),
                expected=f"multiples of the patch side {self.patch}",
                remedy=f"crop or pad to {-(-height // self.patch) * self.patch} x "
                f"{-(-width // self.patch) * self.patch}",
            )
        grid = (height // self.patch, width // self.patch)
        patches = self.patch_embed.proj(x).flatten(2).transpose(1, 2)
        positions = resample_positions(self.pos_embed, grid).to(patches.dtype)
        if mask is not None:
            _check_mask(mask, patches, mode)
            if mode == "token":
                patches = torch.where(mask.unsqueeze(-1), self.mask_token.to(patches.dtype), patches)
        patches = patches + positions[:, 1:]
        if mask is not None and mode == "drop":
            patches = patches[~mask].unflatten(0, (len(patches), -1))
        cls = self.cls_token.to(patches.dtype) + positions[:, :1]
        if self.training and (mask is None or mode == "drop"):
            cls = cls + 0 * self.mask_token  # DDP fails on a parameter that a step does not reach
        return torch.cat([cls.expand(len(patches), -1, -1), patches], dim=1)

    def adapt_state(self, state: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], list[str]]:
        """Accept transformers' names, and resample positions of another image size as each call would do."""
        if TRANSFORMERS_MARK in state:
            state = from_transformers(state)
        found = state.get("pos_embed")
        if found is None or found.shape == self.pos_embed.shape or found.shape[-1] != self.dim:
            return state, []
        side = round((self.pos_embed.shape[1] - 1) ** 0.5)
        resampled = resample_positions(found, (side, side))
        note = f"pos_embed: {found.shape[1] - 1} -> {side * side} positions"
        return {**state, "pos_embed": resampled}, [note]


def _check_mask(mask: torch.Tensor, patches: torch.Tensor, mode: str) -> None:
    if mode not in ("token", "drop"):
        raise ConfigError("mask_mode", seen=mode, expected="token or drop")
    if mask.dtype != torch.bool or mask.shape != patches.shape[:2]:
        raise DataError(
            "mask", seen=(mask.dtype, tuple(mask.shape)), expected=f"bool {tuple(patches.shape[:2])}"
        )
    if mode == "drop":
        hidden = mask.sum(dim=1)
        if int(hidden.min()) != int(hidden.max()) or int(hidden.max()) == mask.shape[1]:
            raise DataError(
                "mask",
                seen=f"{hidden.tolist()} hidden patches",
                expected="the same number in every row, and fewer than all",
                remedy="draw it with random_mask, or use mask_mode='token'",
            )


def resample_positions(positions: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """Position embeddings for another grid: (1, 1 + M * M, dim) -> (1, 1 + h * w, dim), bicubic.

    The scale is ((h + 0.1) / M, (w + 0.1) / M), as DINOv2 computes it; without the 0.1 its numbers are not
    met.
    """
    count, dim = positions.shape[1] - 1, positions.shape[2]
    side = round(count**0.5)
    if side * side != count:
        raise ConfigError(
            "position embeddings", seen=count, expected="a square number beside the CLS position"
        )
    if grid == (side, side):
        return positions
    exact = torch.promote_types(positions.dtype, torch.float32)  # bicubic has no half kernel everywhere
    square = positions[:, 1:].to(exact).reshape(1, side, side, dim).permute(0, 3, 1, 2)
    scale = tuple((length + 0.1) / side for length in grid)
    resampled = F.interpolate(square, scale_factor=scale, mode="bicubic")
    if tuple(resampled.shape[2:]) != tuple(grid):
        raise ConfigError("position grid", seen=tuple(resampled.shape[2:]), expected=str(grid))
    patches = resampled.flatten(2).transpose(1, 2).to(positions.dtype)
    return torch.cat([positions[:, :1], patches], dim=1)


def random_mask(
    rows: int,
    patches: int,
    ratio: float,
    *,
    generator: torch.Generator | None = None,
    device: torch.device | str = "cpu",
) -> torch.Tensor:
    """A bool mask (rows, patches) with exactly ``int(ratio * patches)`` True a row, drawn for each row anew.

    >>> random_mask(2, 16, 0.5, generator=torch.Generator().manual_seed(0)).sum(1).tolist()
    [8, 8]
    """
    if not 0 <= ratio < 1:
        raise ConfigError("mask ratio", seen=ratio, expected="a share in [0, 1)")
    ranks = torch.rand(rows, patches, generator=generator, device=device).argsort(dim=1).argsort(dim=1)
    return ranks < int(ratio * patches)
