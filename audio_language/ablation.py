"""What each part of the post-training is worth: the same pipeline with one part left out, over several seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch

from audio_language.adapt import Plan, adapt, plan_pairs
from audio_language.data.clip import labels_of
from audio_language.data.store import AudioStore
from audio_language.embed import SoundModel
from audio_language.evaluate import embed_items, evaluate, item_frames
from audio_language.learn import cache_frames, train_base
from audio_language.prepared import starting_model, with_head
from audio_language.tasks import TestItems, draw_items

BASE, FULL = "CLAP base", "TeminAL, temporal head"
ARMS: dict[str, dict[str, Any]] = {
    BASE: {"steps": {"single": 0, "order": 0}, "head": None},
    FULL: {},
    "no temporal head": {"head": None},
    "stage A skipped": {"steps": {"single": 0}},
}
"""What is changed in the settings, by arm."""
CLAIM = "Post-training on composed clips lets a CLAP model hear which sound came first, and keeps its tagging"
KEPT = ("order_text", "order_audio", "order_group", "order_after", "zste1", "zste2_before", "zste3", "zste4")


class Comparison:
    """Trains the base of a seed once, and every arm from it on the same pairs.

    Args:
        store: the clips. model: arguments of `starting_model`. pretrain: of `train_base`.
        adapt: arguments of `adapt` (``steps``, ``loss``, ``rehearsal`` and of `post_train`).
        head: of the temporal head. pairs: how many for training. fractions: of the class pairs.
        test_pairs: how many for the test. fitting: of `core.learning.fit.fit`.
    """

    def __init__(
        self,
        store: AudioStore,
        *,
        model: Mapping[str, Any],
        pretrain: Mapping[str, Any],
        adapt: Mapping[str, Any],
        head: Mapping[str, Any],
        pairs: int,
        fractions: Mapping[str, float],
        test_pairs: int,
        **fitting: Any,
    ) -> None:
        self.store, self.model, self.pretrain, self.adapt, self.head = store, model, pretrain, adapt, head
        self.pairs, self.fractions, self.test_pairs, self.fitting = pairs, fractions, test_pairs, fitting
        self._seed: int | None = None

    def arms(self) -> dict[str, Callable[[int], dict[str, float]]]:
        """A function seed -> metrics for each arm, as `core.evaluation.evidence.run_evidence` calls them.

        The seed decides the weights, the class pairs kept for the test, the clips drawn and all randomness.
        """
        return {arm: partial(self.run, changes) for arm, changes in ARMS.items()}

    def run(self, changes: Mapping[str, Any], seed: int) -> dict[str, float]:
        """Post-train the seed's base with ``changes`` and score it on class pairs it never met."""
        self._prepare(seed)
        trained = with_head(self.base, changes.get("head", self.head), seed)
        settings = {**self.adapt, "steps": {**self.adapt["steps"], **changes.get("steps", {})}}
        adapt(trained, self.store, self.plan.train, cached=self.cached, seed=seed, **settings, **self.fitting)
        embedded = embed_items(trained, self.items, self.frames)
        scores = evaluate(trained, self.items, seed=seed, embedded=embedded)
        return {name: scores[name].value for name in KEPT if name in scores}

    def _prepare(self, seed: int) -> None:
        """What the arms of a seed share; the frozen tower's frames among it."""
        if self._seed == seed:
            return
        self.base: SoundModel = starting_model(self.store.clips, seed=seed, **self.model)
        if self.pretrain["steps"]:
            train_base(
                self.base.net, self.store, self.base.tokenizer, self.base.front, seed=seed, **self.pretrain,
                **self.fitting,
            )  # fmt: skip
        self.plan: Plan = plan_pairs(self.store, self.pairs, fractions=self.fractions, seed=seed)
        self.cached = cache_frames(self.base.net.eval(), self.store, self.plan.train, self.base.front)
        self.items: TestItems = draw_items(
            self.store,
            labels_of(self.store.clips) if self.plan.class_pairs is not None else [],
            pairs=self.test_pairs,
            class_pairs=self.plan.allowed("test"),
            seed=seed,
        )
        self.frames: tuple[torch.Tensor, torch.Tensor] = item_frames(self.base, self.items)
        self._seed = seed


def comparisons() -> Sequence[tuple[str, str]]:
    """The full method against every other arm."""
    return [(FULL, arm) for arm in ARMS if arm != FULL]
