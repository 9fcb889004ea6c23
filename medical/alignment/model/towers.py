"""Vision transformer for films, signal transformer for ECGs, a text encoder, and a head into the space for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from core.encoders.heads import ProjectionHead
from core.encoders.signal import SignalTransformer
from core.encoders.text import PretrainedText, TransformerText
from core.encoders.transformer import drop_schedule
from core.encoders.vit import VisionTransformer
from core.errors import ConfigError
from medical.alignment.objective import ECG, MODALITIES, TEXT, XRAY


@dataclass(frozen=True)
class Architecture:
    """Sizes of the towers; the defaults are MoRE's.

    Attributes:
        image_size, patch: of the film. samples: of an ECG; ecg_patch, ecg_window: see `SignalTransformer`.
        width, depth, heads: of both transformers.
        attention_drop: share of attention entries dropped in training, in the first and in the last block.
        dim: of the space. head_hidden: hidden width of the heads; head_norm: ``batch`` or ``layer``.
        pool: what of a film goes into the space: its ``cls`` token, or the mean of its projected ``patches``, which
            then lie in the space themselves and can be compared with phrases.
        mean, std: of grey values.
    """

    image_size: int = 224
    patch: int = 16
    samples: int = 1000
    ecg_patch: int = 5
    ecg_window: int = 5
    ecg_stem: int = 256
    width: int = 768
    depth: int = 12
    heads: int = 12
    attention_drop: tuple[float, float] = (0.3, 0.3)
    dim: int = 128
    head_hidden: int = 768
    head_norm: Literal["batch", "layer"] = "batch"
    pool: Literal["cls", "patches"] = "cls"
    mean: float = 0.499
    std: float = 0.293

    def __post_init__(self) -> None:
        if self.pool not in ("cls", "patches") or self.head_norm not in ("batch", "layer"):
            raise ConfigError(
                "model (pool, head_norm)",
                seen=(self.pool, self.head_norm),
                expected="cls or patches; batch or layer",
            )

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Architecture:
        """Back from ``to_json``."""
        return cls(**{**raw, "attention_drop": tuple(raw["attention_drop"])})


class Towers(nn.Module):
    """From a batch with gaps to three sets of embeddings.

    A batch is a dict: ``film`` (B, S, S) uint8, ``signal`` (B, 12, T) float32, ``ids`` and ``mask`` (B, L), and
    ``present`` (B, 3) bool. A tower sees the rows that have its modality, and no others: what stands in the others
    costs no time and gets no gradient. Their embeddings are 0.

    Attributes:
        background: (h, w, dim) patches of the average film, 0 until `medical.alignment.adapt.adapt` measures them.
    """

    def __init__(self, architecture: Architecture, text: nn.Module) -> None:
        super().__init__()
        a = self.architecture = architecture
        rates = drop_schedule(*a.attention_drop, a.depth)
        sizes: dict[str, Any] = {
            "depth": a.depth,
            "heads": a.heads,
            "qkv_bias": False,
            "attention_drop": rates,
        }
        self.xray = VisionTransformer(
            channels=1, image_size=a.image_size, patch=a.patch, dim=a.width, layer_scale=None, **sizes
        )
        self.ecg = SignalTransformer(
            channels=12,
            samples=a.samples,
            patch=a.ecg_patch,
            window=a.ecg_window,
            stem=a.ecg_stem,
            dim=a.width,
            **sizes,
        )
        side = a.image_size // a.patch
        self.background: Tensor
        self.register_buffer("background", torch.zeros(side, side, a.dim))
        self.text = text
        widths = (a.width, a.width, int(text.dim))  # type: ignore[arg-type]
        self.heads = nn.ModuleDict(
            {
                name: ProjectionHead(
                    width, a.dim, hidden=[a.head_hidden], norm=a.head_norm, last_norm=a.head_norm, bias=False
                )
                for name, width in zip(MODALITIES, widths, strict=True)
            }
        )

    def encode_films(self, films: Tensor) -> Tensor:
        """(B, S, S) uint8 -> (B, dim), not normalised."""
        if self.architecture.pool == "cls":
            found: Tensor = self.heads["xray"](self.xray(self._scaled(films)))
            return found
        return self.patches(films).flatten(1, 2).mean(1)

    def patches(self, films: Tensor) -> Tensor:
        """(B, S, S) uint8 -> (B, h, w, dim): every patch in the space, not normalised."""
        tokens = self.xray.tokens(self._scaled(films)).patches
        side = self.architecture.image_size // self.architecture.patch
        projected: Tensor = self.heads["xray"](tokens.flatten(0, 1))
        return projected.view(len(films), side, side, -1)

    def encode_signals(self, signals: Tensor) -> Tensor:
        """(B, 12, T) -> (B, dim), not normalised."""
        found: Tensor = self.heads["ecg"](self.ecg(signals))
        return found

    def encode_texts(self, ids: Tensor, mask: Tensor) -> Tensor:
        """(B, L) -> (B, dim), not normalised."""
        found: Tensor = self.heads["text"](self.text(ids, mask))
        return found

    def forward(self, batch: Mapping[str, Tensor]) -> tuple[list[Tensor], Tensor]:
        """Three (B, dim), and which of their rows are there, (B, 3) bool.

        Batch norm cannot take a single row in training: it is then counted as absent.
        """
        present = batch["present"].clone()
        if self.training and self.architecture.head_norm == "batch":
            present &= present.sum(0, keepdim=True) > 1
        found = []
        for place in (XRAY, ECG, TEXT):
            rows = torch.nonzero(present[:, place]).flatten()
            out = torch.zeros(len(present), self.architecture.dim, device=present.device)
            if len(rows):
                values = self._tower(place, batch, rows)
                out = out.to(values.dtype).index_copy(0, rows, values)
            found.append(out)
        return found, present

    def _tower(self, place: int, batch: Mapping[str, Tensor], rows: Tensor) -> Tensor:
        whole = len(rows) == len(batch["present"])
        if place == TEXT:
            ids, mask = (batch[name] if whole else batch[name][rows] for name in ("ids", "mask"))
            longest = max(1, int(mask.sum(1).max()))
            return self.encode_texts(ids[:, :longest], mask[:, :longest])
        values = batch["film" if place == XRAY else "signal"]
        values = values if whole else values[rows]
        return self.encode_films(values) if place == XRAY else self.encode_signals(values)

    def _scaled(self, films: Tensor) -> Tensor:
        dtype = self.xray.cls_token.dtype
        return (films.to(dtype).unsqueeze(1) / 255 - self.architecture.mean) / self.architecture.std


def build_text(
    encoder: str, *, vocabulary: int, pad: int, length: int, width: int, layers: int, heads: int
) -> TransformerText:
    """``tiny`` (random weights, of the given sizes), ``minilm``, or a local transformers folder."""
    if encoder == "tiny":
        return TransformerText.from_config(
            vocabulary=vocabulary,
            width=width,
            layers=layers,
            heads=heads,
            max_length=length,
            dropout=0.0,
            pad=pad,
        )
    return PretrainedText(encoder)
