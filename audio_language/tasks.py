"""The items of the temporal evaluation: which clips are composed, with which candidate captions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from audio_language.data.clip import Clip
from audio_language.data.store import AudioStore
from audio_language.pairs import ClassPair, draw_pairs
from audio_language.prompts import FIRST_SLOT, ORDER_PREFIX, SECOND_SLOT, pair_caption, words
from core.errors import DataError
from core.learning.determinism import generator

DISTRACTORS, CANDIDATES = 5, 50


@dataclass(frozen=True)
class TestItems:
    """What is composed and asked.

    Attributes:
        store: the clips. single: (S,) indices of single clips. pairs: (M, 2) indices of clips.
        labels: the classes; empty where clips only have captions.
    """

    __test__ = False  # not a test, whatever its name says to pytest

    store: AudioStore
    single: list[int]
    pairs: list[tuple[int, int]]
    labels: list[str]

    @property
    def clips(self) -> list[tuple[Clip, Clip]]:
        """The pairs as clips."""
        return [(self.store.clips[a], self.store.clips[b]) for a, b in self.pairs]

    @property
    def names(self) -> list[tuple[str, str]]:
        """What the two sounds of each pair are called."""
        return [(a.name, b.name) for a, b in self.clips]

    @property
    def single_targets(self) -> np.ndarray:
        """(S,) class index of each single clip."""
        return np.array([self.labels.index(self.store.clips[index].label) for index in self.single])

    @property
    def pair_targets(self) -> np.ndarray:
        """(M, 2) class indices."""
        return np.array([[self.labels.index(clip.label) for clip in pair] for pair in self.clips])

    @property
    def single_groups(self) -> list[str]:
        """Source recording of each single clip."""
        return [self.store.clips[index].group for index in self.single]

    @property
    def pair_groups(self) -> list[tuple[str, str]]:
        """Source recordings of each pair."""
        return [(a.group, b.group) for a, b in self.clips]


def draw_items(
    store: AudioStore,
    labels: Sequence[str],
    *,
    pairs: int,
    class_pairs: Sequence[ClassPair] | None,
    seed: int,
) -> TestItems:
    """Single test clips, and pairs of test clips whose classes were never trained together."""
    chosen = store.indices("test")
    drawn = draw_pairs(store.clips, chosen, pairs, class_pairs=class_pairs, seed=seed)
    return TestItems(store, chosen, drawn, list(labels))


def order_candidates(first: str, second: str) -> list[str]:
    """ZSTE3: before, reversed, while, as sentences.

    >>> order_candidates("dog", "rain")[1]
    'This is a sound of rain before dog'
    """
    return [
        ORDER_PREFIX + pair_caption(first, second, relation) for relation in ("before", "reversed", "while")
    ]


def mixed_candidates(first: str, second: str, labels: Sequence[str], rng: np.random.Generator) -> list[str]:
    """ZSTE4: up to 50 captions of two among the pair and five further classes; the right one comes first.

    "a before b", "b before a" and "a while b" are always there.
    """
    others = [words(label) for label in labels if words(label) not in (first, second)]
    pool = [first, second, *rng.permutation(others)[:DISTRACTORS].tolist()]
    forced = [pair_caption(first, second, relation) for relation in ("before", "reversed", "while")]
    every = [
        pair_caption(x, y, relation)
        for x in pool
        for y in pool
        if x != y
        for relation in ("before", "while")  # type: ignore[misc]
    ]
    rest = [
        text
        for text in dict.fromkeys(every)
        if text not in forced and text != pair_caption(second, first, "while")
    ]
    return forced + rng.permutation(rest)[: CANDIDATES - len(forced)].tolist()


def slot_prompts(labels: Sequence[str]) -> list[str]:
    """ZSTE5: "the first sound is c" for every class, then "the second sound is c"."""
    if len(labels) < 2:
        raise DataError("classes of slot prompts", seen=len(labels), expected="at least 2")
    return [slot.format(words(label)) for slot in (FIRST_SLOT, SECOND_SLOT) for label in labels]


def half_and_half(count: int, seed: int) -> np.ndarray:
    """(count,) 0 or 1, as many of each, in an order drawn: which clips are played reversed in ZSTE3."""
    return generator(seed, "played").permutation(np.arange(count) % 2)
