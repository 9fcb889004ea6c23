"""TeminAL as one call: the class pairs that may meet, stage A, stage B."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from audio_language.data.clip import labels_of
from audio_language.data.store import AudioStore
from audio_language.embed import SoundModel
from audio_language.learn import cache_frames, post_train
from audio_language.pairs import FRACTIONS, ClassPair, draw_pairs, split_class_pairs
from audio_language.temporal_loss import TemporalContrastiveLoss

STAGES = ("single", "order")


@dataclass(frozen=True)
class Plan:
    """Which classes may meet in which split (None where clips have no labels), and the training pairs."""

    class_pairs: dict[str, list[ClassPair]] | None
    train: list[tuple[int, int]]

    def allowed(self, split: str) -> list[ClassPair] | None:
        """Class pairs of a split."""
        return None if self.class_pairs is None else self.class_pairs[split]


def plan_pairs(
    store: AudioStore, count: int, *, fractions: Mapping[str, float] = FRACTIONS, seed: int = 0
) -> Plan:
    """Split the class pairs and draw ``count`` pairs of training clips; see `audio_language.pairs`."""
    clips = store.clips
    labelled = all(clip.label for clip in clips)
    class_pairs = split_class_pairs(labels_of(clips), fractions=fractions, seed=seed) if labelled else None
    allowed = class_pairs["train"] if class_pairs is not None else None
    drawn = draw_pairs(clips, store.indices("train"), count, class_pairs=allowed, seed=seed)
    return Plan(class_pairs, drawn)


def adapt(
    model: SoundModel,
    store: AudioStore,
    pairs: Sequence[tuple[int, int]],
    *,
    steps: Mapping[str, int],
    loss: Mapping[str, Any] | None = None,
    rehearsal: float = 0.5,
    cached: Any = None,
    **training: Any,
) -> dict[str, list[dict[str, Any]]]:
    """Post-train ``model`` in place: stage ``single`` (A), then ``order`` (B), of so many steps each.

    Args:
        pairs: of training clips. steps: by stage; 0 leaves a stage out.
        loss: arguments of `TemporalContrastiveLoss`. rehearsal: of stage B.
        cached: from `audio_language.learn.cache_frames`, made here where left out and useful.
        **training: of `post_train`.

    Returns:
        History by stage.
    """
    if training.get("part", "post") == "post" and cached is None and any(steps.values()):
        cached = cache_frames(model.net.eval(), store, pairs, model.front)
    histories: dict[str, list[dict[str, Any]]] = {}
    objective = TemporalContrastiveLoss(
        **{"reduction": "mean_directions", "duplicate": "mask", **(loss or {})}
    )
    for stage in STAGES:
        if steps[stage]:
            histories[stage] = post_train(
                model.net, store, pairs, model.tokenizer, model.front, stage=stage, steps=steps[stage],
                loss=objective, rehearsal=rehearsal, cached=cached, **training,
            ).history  # fmt: skip
    return histories
