"""Does the model read, or does it count words? Captions with their words disturbed must score lower."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from audio_language.embed import SoundModel
from audio_language.evaluate import Embedded, Score
from audio_language.prompts import pair_caption
from audio_language.tasks import TestItems
from core.learning.determinism import generator


def swap_events(first: str, second: str, rng: np.random.Generator) -> str:
    """The two events in each other's place: "b before a"."""
    return pair_caption(second, first, "before")


def swap_connective(first: str, second: str, rng: np.random.Generator) -> str:
    """Before becomes after: "a after b"."""
    return f"{first} after {second}"


def shuffle_words(first: str, second: str, rng: np.random.Generator) -> str:
    """All words in an order that is not the caption's."""
    return _shuffled(pair_caption(first, second, "before").split(), 1, rng)


def shuffle_trigrams(first: str, second: str, rng: np.random.Generator) -> str:
    """Groups of three words in another order, each left whole; words where there is one group only."""
    words = pair_caption(first, second, "before").split()
    return _shuffled(words, 3 if len(words) > 3 else 1, rng)


def nouns_only(first: str, second: str, rng: np.random.Generator) -> str:
    """The sounds without the word that says which came first."""
    return f"{first} {second}"


DISTURBANCES: dict[str, tuple[str, Callable[[str, str, np.random.Generator], str]]] = {
    "swap_events": ("the two events swapped", swap_events),
    "swap_connective": ('"before" replaced by "after"', swap_connective),
    "shuffle_words": ("all words shuffled", shuffle_words),
    "shuffle_trigrams": ("groups of three words shuffled", shuffle_trigrams),
    "nouns_only": ("the connective left out", nouns_only),
}
"""Name -> (in words, function of the two events)."""


def word_order(model: SoundModel, items: TestItems, embedded: Embedded, *, seed: int = 0) -> dict[str, Score]:
    """How often the true caption of a composed clip scores strictly higher than a disturbed one.

    In the manner of ARO (Yuksekgonul et al., "When and why vision-language models behave like bags-of-words",
    ICLR 2023); chance 1/2. A model that ignores order scores 0 where the words are the same, since ties
    lose.
    """
    names, clips = items.names, embedded.pairs[0]
    true = _rows(model, [pair_caption(*pair, "before") for pair in names])
    own = (clips * true).sum(axis=1)
    found = {}
    for name, (words, disturb) in DISTURBANCES.items():
        rng = generator(seed, "disturb", name)
        other = (clips * _rows(model, [disturb(*pair, rng) for pair in names])).sum(axis=1)
        found[f"words_{name}"] = Score(
            f"true caption preferred: {words}", own > other, items.pair_groups, 0.5
        )
    return found


def _rows(model: SoundModel, texts: Sequence[str]) -> np.ndarray:
    unique = {text: row for row, text in enumerate(dict.fromkeys(texts))}
    rows = model.embed_texts(list(unique))
    return rows[[unique[text] for text in texts]]  # type: ignore[no-any-return]


def _shuffled(words: list[str], size: int, rng: np.random.Generator) -> str:
    groups = [words[start : start + size] for start in range(0, len(words), size)]
    for _ in range(20):
        mixed = [word for index in rng.permutation(len(groups)) for word in groups[index]]
        if mixed != words:
            break
    return " ".join(mixed)
