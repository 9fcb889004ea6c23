"""An audio tower trained against a text tower that stays as it is: CWCL, or plain contrast with all its negatives."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from audio_language.model.clap import TemporalClap
from core.distributed import gather
from core.errors import ConfigError
from core.learning.module import ContrastiveModule
from core.objectives.clip import clip
from core.objectives.contrast import contrast
from core.objectives.cwcl import cwcl

Objective = Literal["cwcl", "clip"]


class LockedTraining(ContrastiveModule):
    """Trains the audio side only; the frozen text embeddings say how much two captions have in common.

    With ``cwcl`` a batch may hold the same or a paraphrased caption several times: they pull each other's
    clips instead of pushing them. Unrelated texts still get a weight of about one half; ``sharpness`` raises
    the weights to that power.

    Args:
        model: its text tower is frozen here. objective: ``cwcl`` or ``clip``.
        sharpness: 1 is the paper. scale: multiplier of the similarities.

    A batch: see `audio_language.batches.SingleClips`. Source: Srinivasa et al., "CWCL", NeurIPS 2023.
    """

    def __init__(
        self,
        model: TemporalClap,
        *,
        objective: Objective = "cwcl",
        sharpness: float = 1.0,
        scale: float = 1 / 0.07,
        **optimization: Any,
    ) -> None:
        super().__init__(**optimization)
        if objective not in ("cwcl", "clip") or sharpness <= 0 or scale <= 0:
            raise ConfigError(
                "locked training (objective, sharpness, scale)",
                seen=(objective, sharpness, scale),
                expected="cwcl or clip, > 0, > 0",
            )
        self.model, self.objective, self.sharpness, self.scale = model, objective, sharpness, scale
        model.trained("all")
        for part in (model.clap.text_model, model.clap.text_projection):
            part.requires_grad_(False)
        model.clap.logit_scale_a.requires_grad_(False)

    def train(self, mode: bool = True) -> LockedTraining:
        """Train mode for the audio side; the text tower stays in eval mode."""
        super().train(mode)
        self.model.clap.text_model.eval()
        return self

    def terms(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Loss of a batch of `SingleClips`."""
        audio = gather(self.model.audio(batch["mels"]))
        with torch.no_grad():
            text = gather(self.model.text(batch["ids"], batch["mask"]))
        self.watch(audio, text)
        return {"loss": locked_loss(audio, text, self.objective, sharpness=self.sharpness, scale=self.scale)}


def locked_loss(
    audio: Tensor, text: Tensor, objective: Objective, *, sharpness: float = 1.0, scale: float = 1 / 0.07
) -> Tensor:
    """Loss of unit rows (N, d) of the audio side against frozen unit rows of the text side.

    >>> float(locked_loss(torch.eye(3), torch.eye(3), "clip", scale=50.0)) < 1e-6
    True
    """
    if objective == "clip":
        return clip(audio, text, scale=scale, normalize=False)
    if sharpness == 1.0:
        return cwcl(text, audio, scale=scale, normalize=False)
    weights = ((1 + text @ text.T).clamp_min(0) / 2) ** sharpness
    forth = contrast(text, audio, positives=weights, scale=scale, normalize=False)
    return forth + contrast(audio, text, scale=scale, normalize=False)
