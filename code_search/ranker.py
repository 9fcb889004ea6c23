"""How a model ranks: the table of words and the weights, both learnt beside the encoder.

A ranking adds up to three scores of a function:

    dense        cosine of the query's and the function's vectors
    bm25         words of the query in the function and its name (`code_search.lexical`)
    translation  words of code that answer words of the query (`code_search.translate`)

Weights are fitted on validation queries, once for the ranking by words alone and once for all scores.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from code_search.fuse import hybrid, unit_range, weighted
from code_search.lexical import NAMED_B, WordCounts, WordIndex
from code_search.translate import TranslatedIndex, Translation
from core.errors import CheckpointError
from core.files import read_json

TABLE = "translation.safetensors"


@dataclass(frozen=True)
class Ranker:
    """What decides an order besides the vectors; without any of it: BM25, and `code_search.fuse.hybrid`.

    Attributes:
        words: weights of ``bm25`` and ``translation`` in the ranking by words.
        all: weights of all scores in the hybrid ranking; empty where none were fitted.
        translation: the table of words, or None.
    """

    words: Mapping[str, float] = field(default_factory=lambda: {"bm25": 1.0})
    all: Mapping[str, float] = field(default_factory=dict)
    translation: Translation | None = None

    def by_words(self, parts: Mapping[str, np.ndarray]) -> np.ndarray:
        """The ranking by words out of `WordScores.parts`."""
        return weighted(self.words, parts)

    def by_all(
        self,
        parts: Mapping[str, np.ndarray],
        dense: np.ndarray,
        has_dense: np.ndarray | None = None,
    ) -> np.ndarray:
        """The hybrid ranking, float32 of the shape of ``dense``.

        Args:
            parts: of `WordScores.parts`, (N,) or (Q, N).
            dense: cosines, same shape.
            has_dense: (N,) bool; a function without a vector yet is put where its words would put it.
        """
        words = self.by_words(parts)
        if not self.all:
            return hybrid(dense, words, has_dense=has_dense)
        if has_dense is not None and not has_dense.all():
            dense = _filled(dense, words, has_dense)
        return weighted(self.all, {**parts, "dense": dense})

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the table; returns what `load` needs besides, for the configuration of the encoder."""
        table = self.translation
        return {
            "words": dict(self.words),
            "all": dict(self.all),
            "translation_sha256": None if table is None else table.save(folder / TABLE),
        }

    @classmethod
    def load(cls, folder: str | os.PathLike[str], settings: Mapping[str, Any]) -> Ranker:
        """Read what `save` wrote; needs no torch.

        Raises:
            CheckpointError: the table is missing or damaged, the settings are not those of a ranker.
        """
        try:
            words, every, sha256 = settings["words"], settings["all"], settings["translation_sha256"]
        except (KeyError, TypeError) as error:
            raise CheckpointError(
                f"the ranker in {folder}", seen=str(error), expected="its settings"
            ) from None
        return cls(words, every, Translation.load(Path(folder) / TABLE, sha256) if sha256 else None)


def load_ranker(folder: str | os.PathLike[str]) -> Ranker | None:
    """The ranker of an encoder's folder, without loading the encoder; None where nothing was fitted.

    Raises:
        CheckpointError: the table is missing or damaged.
    """
    config = read_json(Path(folder) / "config.json")
    settings = config.get("ranker") if isinstance(config, dict) else None
    return None if settings is None else Ranker.load(folder, settings)


class WordScores:
    """The scores by words over one set of functions.

    Args:
        counts: the words of each function, counted in `code_search.lexical.named_text`.
        ranker: whose table to use.

    >>> from code_search.lexical import count_words, named_text
    >>> found = WordScores(count_words([named_text("load", "def load(p): ..."), named_text("f", "def f(): ...")]))
    >>> [round(float(score), 2) for score in found.parts("load it")["bm25"]]
    [0.55, 0.0]
    """

    def __init__(self, counts: WordCounts, ranker: Ranker | None = None) -> None:
        table = ranker.translation if ranker is not None else None
        self.bm25 = WordIndex(counts, b=NAMED_B)
        self.translated = TranslatedIndex(table, counts) if table is not None else None

    def parts(self, query: str) -> dict[str, np.ndarray]:
        """Each score of every function, float32 (N,)."""
        found = {"bm25": self.bm25.scores(query)}
        if self.translated is not None:
            found["translation"] = self.translated.scores(query)
        return found

    def part_matrix(self, queries: Sequence[str]) -> dict[str, np.ndarray]:
        """Each score of every (query, function) pair, float32 (Q, N)."""
        found = {"bm25": self.bm25.score_matrix(queries)}
        if self.translated is not None:
            found["translation"] = self.translated.score_matrix(queries)
        return found


def _filled(dense: np.ndarray, words: np.ndarray, has: np.ndarray) -> np.ndarray:
    """Cosines; where there are none yet, between the lowest and the highest that there are, by the words."""
    if not has.any():
        return np.zeros_like(words)
    known = np.asarray(dense)[..., has]
    low = known.min(axis=-1, keepdims=True)
    span = known.max(axis=-1, keepdims=True) - low
    return np.where(has, dense, low + span * unit_range(words))
