"""DINOv2's published sizes, and its weights under the names that transformers' folders use."""

from __future__ import annotations

from collections.abc import Mapping

import torch

SIZES: dict[str, dict[str, int]] = {
    "small": {"dim": 384, "depth": 12, "heads": 6},
    "base": {"dim": 768, "depth": 12, "heads": 12},
    "large": {"dim": 1024, "depth": 24, "heads": 16},
}
"""Width, depth and heads of ViT-S, ViT-B and ViT-L with patch 14, arguments of ``VisionTransformer``."""

TRANSFORMERS_MARK = "embeddings.position_embeddings"
"""A key that only the layout of transformers has."""

_PARTS = (
    ("embeddings.patch_embeddings.projection.", "patch_embed.proj."),
    ("embeddings.position_embeddings", "pos_embed"),
    ("embeddings.", ""),
    ("encoder.layer.", "blocks."),
    ("attention.output.dense.", "attn.proj."),
    ("layer_scale1.lambda1", "ls1.gamma"),
    ("layer_scale2.lambda1", "ls2.gamma"),
    ("layernorm.", "norm."),
)
_QUERY = "attention.attention.query."


def from_transformers(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename the weights of a saved ``Dinov2Model`` to those of ``VisionTransformer``.

    Query, key and value are stacked into one matrix; every other weight only changes its name.

    >>> layer, parts = "encoder.layer.0.attention.attention", ("query", "key", "value")
    >>> state = {f"{layer}.{part}.bias": torch.zeros(2) for part in parts}
    >>> {name: tuple(value.shape) for name, value in from_transformers(state).items()}
    {'blocks.0.attn.qkv.bias': (6,)}
    """
    renamed: dict[str, torch.Tensor] = {}
    for name, value in state.items():
        target = name
        if _QUERY in name:
            keys = [name.replace(".query.", f".{part}.") for part in ("query", "key", "value")]
            if all(key in state for key in keys):
                value = torch.cat([state[key] for key in keys])
                target = name.replace(_QUERY, "attn.qkv.")
        elif ".attention.attention." in name:
            continue
        for old, new in _PARTS:
            target = target.replace(old, new)
        renamed[target] = value
    return renamed
