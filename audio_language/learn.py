"""The trainings: CLAP from scratch on single clips, then TeminAL's stages A and B on composed ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from audio_language.batches import Pairs, SingleClips
from audio_language.data.store import AudioStore
from audio_language.features import pair_frames, single_frames, spectrograms
from audio_language.model.clap import Part, TemporalClap
from audio_language.model.frontend import FrontEnd
from audio_language.model.tokenizer import CaptionTokenizer
from audio_language.temporal_loss import TemporalContrastiveLoss, single_combined_loss
from core.distributed import gather
from core.errors import ConfigError
from core.learning.fit import FitResult, fit
from core.learning.module import ContrastiveModule
from core.learning.sampler import StepBatches, StepSampler
from core.objectives.clip import clip


class ClapTraining(ContrastiveModule):
    """Symmetric contrastive training of clips and captions; clips of one sense share their captions."""

    def __init__(self, model: TemporalClap, **optimization: Any) -> None:
        super().__init__(**optimization)
        self.model = model

    def terms(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Loss of a batch of `SingleClips`."""
        audio, text = self.model.audio(batch["mels"]), self.model.text(batch["ids"], batch["mask"])
        self.watch(audio, text)
        senses = gather(batch["senses"])
        scale = self.model.scale()
        loss = clip(gather(audio), gather(text), scale=scale, x_ids=senses, normalize=False)
        return {"loss": loss, "scale": scale}


class PostTraining(ContrastiveModule):
    """Base of the two stages: parts frozen, composed clips as frames (frozen tower) or spectrograms.

    The frozen parts stay in eval mode.
    """

    def __init__(
        self, model: TemporalClap, *, part: Part, text_layers: int, text_embeddings: bool, **optimization: Any
    ) -> None:
        super().__init__(**optimization)
        self.model = model
        model.trained(part, text_layers=text_layers, text_embeddings=text_embeddings)

    def train(self, mode: bool = True) -> PostTraining:
        """Train mode for what is trained; batch norm of a frozen tower keeps its statistics."""
        super().train(mode)
        if self.model.tower_is_frozen:
            self.model.clap.audio_model.eval()
        return self

    def embed(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Unit embeddings (K, N, d) of the sounds and of their captions, and meanings (K, N), of all processes."""
        sounds, shape = batch["sounds"], batch["meanings"].shape
        flat = sounds.flatten(0, 1)
        audio = self.model.embed_frames(flat) if flat.dim() == 3 else self.model.audio(flat)
        text = self.model.text(batch["ids"], batch["mask"])
        # one kind at a time, so that gathered rows are in the order kind, process, pair
        kinds = [rows.unflatten(0, shape) for rows in (audio, text)]
        x, y = (torch.stack([gather(kind) for kind in rows]) for rows in kinds)
        return x, y, torch.stack([gather(row) for row in batch["meanings"]])


class StageA(PostTraining):
    """One sound or two: "Single sound of a" against "Combined sound of a and b"."""

    def terms(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Loss of a batch of `Pairs` with ``stage="single"``."""
        audio, text, meanings = self.embed(batch)
        audio, text = audio.flatten(0, 1), text.flatten(0, 1)
        self.watch(audio, text)
        scale = self.model.scale()
        return {"loss": single_combined_loss(audio, text, scale=scale, groups=meanings.flatten())}


class StageB(PostTraining):
    """Which came first: the temporal loss over before, reversed and while, and single clips to keep tagging.

    Args:
        loss: of the composed clips.
        rehearsal: weight of the base's loss on single clips, which is not part of TeminAL; 0 for none.
    """

    def __init__(
        self, model: TemporalClap, loss: TemporalContrastiveLoss, *, rehearsal: float, **options: Any
    ) -> None:
        super().__init__(model, **options)
        self.loss, self.rehearsal = loss, rehearsal

    def terms(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Loss of a batch of `Pairs` with ``stage="order"``."""
        audio, text, meanings = self.embed(batch)
        scale = self.model.scale()
        order = self.loss(audio[:-1], text[:-1], scale, meanings[:-1])
        self.watch(audio[:-1].flatten(0, 1), text[:-1].flatten(0, 1))
        if not self.rehearsal:
            return {"loss": order, "order": order}
        keep = clip(audio[-1], text[-1], scale=scale, x_ids=meanings[-1], normalize=False)
        return {"loss": order + self.rehearsal * keep, "order": order, "rehearsal": keep}


def train_base(
    model: TemporalClap,
    store: AudioStore,
    tokenizer: CaptionTokenizer,
    front: FrontEnd,
    *,
    steps: int,
    batch_size: int,
    augment: bool = True,
    seed: int = 0,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.01,
    warmup: float = 0.1,
    **fitting: Any,
) -> FitResult:
    """Train all of ``model`` in place on the training clips of the store.

    Args:
        steps, batch_size, learning_rate, weight_decay, warmup: of optimization.
        augment: shift in time and change of level, see `SingleClips`.
        seed: of the order of the clips and everything drawn.
        **fitting: of `core.learning.fit.fit`.
    """
    model.trained("all")
    chosen = store.indices("train")
    mels = spectrograms(front, (store[index] for index in chosen))
    data = SingleClips([store.clips[index] for index in chosen], mels, tokenizer, augment=augment)
    batches = StepBatches(data, StepSampler(len(chosen), min(batch_size, len(chosen)), seed), _as_it_is)
    module = ClapTraining(
        model, learning_rate=learning_rate, weight_decay=weight_decay, warmup=warmup, schedule="cosine"
    )
    return fit(module, batches, steps=steps, seed=seed, gradient_clip=1.0, title="base", **fitting)


def post_train(
    model: TemporalClap,
    store: AudioStore,
    pairs: Sequence[tuple[int, int]],
    tokenizer: CaptionTokenizer,
    front: FrontEnd,
    *,
    stage: str,
    steps: int,
    batch_size: int,
    loss: TemporalContrastiveLoss | None = None,
    rehearsal: float = 0.0,
    paraphrase: float = 0.5,
    part: Part = "post",
    text_layers: int = 1,
    text_embeddings: bool = False,
    cached: tuple[Tensor, dict[int, int], Tensor] | None = None,
    seed: int = 0,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.01,
    warmup: float = 0.05,
    gradient_clip: float = 0.5,
    **fitting: Any,
) -> FitResult:
    """Train ``model`` in place on pairs of training clips: stage ``single`` (A) or ``order`` (B).

    Where the audio tower is frozen its frames are computed once for all pairs, and the training costs
    little more than its heads.

    Args:
        pairs: (a, b) indices of clips in the store.
        loss: of stage B; all weights 1 and duplicates masked where left out.
        rehearsal: see `StageB`. paraphrase: see `Pairs`. part, text_layers, text_embeddings: see
            `TemporalClap.trained`.
        cached: from `cache_frames`, where several trainings share them.
        **fitting: of `core.learning.fit.fit`.
    """
    options: dict[str, Any] = {
        "part": part,
        "text_layers": text_layers,
        "text_embeddings": text_embeddings,
        "learning_rate": learning_rate,
        "weight_decay": weight_decay,
        "warmup": warmup,
        "schedule": "cosine",
    }
    module: PostTraining
    if stage == "single":
        module = StageA(model, **options)
    elif stage == "order":
        loss = loss or TemporalContrastiveLoss(reduction="mean_directions", duplicate="mask")
        module = StageB(model, loss, rehearsal=rehearsal, **options)
    else:
        raise ConfigError("stage of post-training", seen=stage, expected="single or order")
    if cached is None and model.tower_is_frozen:
        cached = cache_frames(model.eval(), store, pairs, front)
    data = Pairs(store, pairs, tokenizer, front, stage=stage, paraphrase=paraphrase,
                 cached=cached if model.tower_is_frozen else None)  # fmt: skip
    batches = StepBatches(data, StepSampler(len(pairs), min(batch_size, len(pairs)), seed), _as_it_is)
    return fit(
        module,
        batches,
        steps=steps,
        seed=seed,
        gradient_clip=gradient_clip,
        title=f"stage {stage}",
        **fitting,
    )


def cache_frames(
    model: TemporalClap, store: AudioStore, pairs: Sequence[tuple[int, int]], front: FrontEnd
) -> tuple[Tensor, dict[int, int], Tensor]:
    """What `post_train` takes as ``cached``: frames of all pairs, and of every clip in them alone."""
    used = sorted({index for pair in pairs for index in pair})
    rows = {index: row for row, index in enumerate(used)}
    return pair_frames(model, front, store, pairs), rows, single_frames(model, front, store, used)


def _as_it_is(batch: Any) -> Any:
    return batch
