"""The model: transformers' CLAP with a temporal head, one space for sounds and sentences."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor, nn

from audio_language.model.head import TemporalHead
from core.errors import ConfigError, DataError
from core.objectives.clip import MAX_LOG_SCALE

Part = Literal["all", "post"]
"""What is trained: everything, or what TeminAL's post-training trains (see `TemporalClap.trained`)."""


class TemporalClap(nn.Module):
    """CLAP's two towers; the audio embedding gets the residual of a `TemporalHead`, where there is one.

    ==========================  ==================================  ===================================
    call                        input                               output
    ==========================  ==================================  ===================================
    ``audio(mels)``             (B, 1, frames, mels) dB             (B, dim) unit rows
    ``text(ids, mask)``         (B, L) int64, (B, L) bool           (B, dim) unit rows
    ``frames(mels)``            (B, 1, frames, mels)                (B, steps, width), in order of time
    ==========================  ==================================  ===================================

    Args:
        config: fields of transformers' ``ClapConfig`` (``text_config``, ``audio_config``, ``projection_dim``).
        head: arguments of `TemporalHead`; None for CLAP as it is.

    Attributes:
        dim: of the space. mels, max_frames: of the input. text_length: most tokens of a caption.

    >>> from audio_language.model.build import tiny_config
    >>> net = TemporalClap(tiny_config(vocabulary=50))
    >>> net.audio(torch.zeros(2, 1, 100, 32)).shape
    torch.Size([2, 64])
    """

    def __init__(self, config: dict[str, Any], *, head: dict[str, Any] | None = None) -> None:
        from transformers import ClapConfig, ClapModel

        super().__init__()
        try:
            settings = ClapConfig(**config)
            self.clap: Any = ClapModel(settings)
        except (ValueError, TypeError, ZeroDivisionError) as error:
            raise ConfigError(f"CLAP configuration: {error}") from None
        self.config = config
        audio = settings.audio_config
        self.dim = int(settings.projection_dim)
        self.mels, self.width = int(audio.num_mel_bins), int(audio.hidden_size)
        self.max_frames = int(audio.spec_size * (audio.spec_size // audio.num_mel_bins))
        self.fusion = bool(audio.enable_fusion)
        self.text_length = int(settings.text_config.max_position_embeddings) - 2
        self.head = None if head is None else TemporalHead(self.width, self.dim, **head)

    def add_head(self, **settings: Any) -> None:
        """Give the model a temporal head; its embeddings stay as they are until the head is trained."""
        self.head = TemporalHead(self.width, self.dim, **settings)

    def frames(self, mels: Tensor) -> Tensor:
        """Features in order of time, averaged over frequency: (B, steps, width)."""
        if (
            mels.dim() != 4
            or mels.shape[1] != 1
            or mels.shape[3] != self.mels
            or mels.shape[2] > self.max_frames
        ):
            raise DataError(
                "spectrograms",
                seen=tuple(mels.shape),
                expected=f"(B, 1, frames up to {self.max_frames}, {self.mels})",
                remedy="use the front end of the weights, and cut long recordings into windows",
            )
        longer = None
        if self.fusion:  # every window is short: the same spectrogram in all four places
            mels = mels.expand(-1, 4, -1, -1)
            longer = torch.zeros(len(mels), 1, dtype=torch.bool, device=mels.device)
        states = self.clap.audio_model(input_features=mels, is_longer=longer).last_hidden_state
        out: Tensor = states.mean(dim=2).transpose(1, 2)
        return out

    def embed_frames(self, frames: Tensor) -> Tensor:
        """(B, steps, width) frames to (B, dim) unit rows."""
        embedding = self.clap.audio_projection(frames.mean(dim=1))
        if self.head is not None:
            embedding = nn.functional.normalize(embedding, dim=-1) + self.head(frames)
        return nn.functional.normalize(embedding, dim=-1)

    def audio(self, mels: Tensor) -> Tensor:
        """Unit embeddings of spectrograms, (B, dim)."""
        return self.embed_frames(self.frames(mels))

    def text(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Unit embeddings of captions, (B, dim)."""
        out = self.clap.text_model(input_ids=ids, attention_mask=mask.to(torch.int64))
        return nn.functional.normalize(self.clap.text_projection(out.pooler_output), dim=-1)

    def scale(self) -> Tensor:
        """The learned multiplier of similarities, at most 100."""
        logit: nn.Parameter = self.clap.logit_scale_a
        with torch.no_grad():
            logit.clamp_(max=MAX_LOG_SCALE)
        return logit.exp()

    def reset_scale(self, scale: float) -> None:
        """Set the multiplier."""
        with torch.no_grad():
            self.clap.logit_scale_a.fill_(math.log(scale))

    def trained(self, part: Part, *, text_layers: int = 1, text_embeddings: bool = False) -> None:
        """Let gradients reach everything (``all``), or what post-training changes (``post``).

        ``post``: the last ``text_layers`` layers, pooler and projection of the text tower, the projection of
        the audio tower, and the head. Everything else is frozen, as in TeminAL's code, where the features of
        the audio tower stay as they are. ``text_embeddings`` frees the text tower's embeddings too: one that
        was trained from scratch on captions of single sounds has never met "before" and "after".
        """
        if part not in ("all", "post"):
            raise ConfigError("trained part", seen=part, expected="all or post")
        for parameter in self.parameters():
            parameter.requires_grad_(part == "all")
        if part == "post":
            for module in self._post_modules(text_layers, text_embeddings):
                module.requires_grad_(True)
        self.clap.logit_scale_a.requires_grad_(part == "all")
        self.clap.logit_scale_t.requires_grad_(False)  # belongs to a loss that nobody uses

    def _post_modules(self, text_layers: int, text_embeddings: bool) -> Iterator[nn.Module]:
        text = self.clap.text_model
        if text_embeddings:
            yield text.embeddings
        layers = text.encoder.layer
        yield from (layers[index] for index in range(max(0, len(layers) - text_layers), len(layers)))
        yield text.pooler
        yield self.clap.text_projection
        yield self.clap.audio_projection
        if self.head is not None:
            yield self.head

    @property
    def tower_is_frozen(self) -> bool:
        """Whether no gradient reaches the audio tower: its frames can then be computed once."""
        return not any(p.requires_grad for p in self.clap.audio_model.parameters())
