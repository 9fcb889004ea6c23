"""Asking an index: a question in plain words, or a piece of code, answered with places in the repository."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from code_search.index.encoder import Encoder, open_encoder, ranker_of
from code_search.index.files import SIGNATURES, Signature, recall
from code_search.index.freshness import Freshness
from code_search.index.location import find_index, is_index
from code_search.index.ranking import Ranking, candidates, check_query, possible_mode
from code_search.index.result import Result, Results, first_lines
from code_search.index.snapshot import Snapshot
from code_search.index.store import Store
from code_search.ranker import Ranker, WordScores
from core.errors import ConfigError, DataError

MOST_RESULTS = 1000


class Index:
    """An opened index; it answers from the snapshot it was opened with, whatever is written meanwhile.

    Args:
        snapshot: what to search.
        root: folder to compare results with; None where there is none, as on a server.
        encoder: the encoder of the vectors; else it is loaded from where the index says, when one is first
        needed.

    Raises:
        DataError: ``encoder`` is not the one that made the vectors.
    """

    def __init__(self, snapshot: Snapshot, root: Path | None = None, encoder: Encoder | None = None) -> None:
        self.snapshot, self.root = snapshot, root
        self._words: WordScores | None = None
        self._ranker: Ranker | None = None
        self._vectors: np.ndarray | None = None
        self._signatures: dict[str, dict[Signature, str]] | None = None
        self._encoder = encoder
        if encoder is not None:
            self._same_model(encoder)

    def __len__(self) -> int:
        return len(self.snapshot)

    @property
    def ranker(self) -> Ranker:
        """What the model learnt about ranking. It is read without the encoder, which takes longer to load."""
        if self._ranker is None:
            model = self.snapshot.description.model
            trained = model is not None and bool(model.digest)
            reference = model.reference if model is not None else ""
            self._ranker = ranker_of(self._encoder, reference) if trained else Ranker()
        return self._ranker

    @property
    def words(self) -> WordScores:
        """The scores by words over the functions."""
        if self._words is None:
            self._words = WordScores(self.snapshot.words, self.ranker)
        return self._words

    @property
    def encoder(self) -> Encoder:
        """The encoder of the vectors. Raises DataError where it is not there, or is another one now."""
        model = self.snapshot.description.model
        if self._encoder is None and model is not None and model.reference:
            encoder = open_encoder(model.reference)
            self._same_model(encoder)
            self._encoder = encoder
        if self._encoder is None:
            raise DataError(
                "encoder",
                seen="an index made with an encoder at hand",
                remedy="pass encoder= to open_index, or --mode lexical",
            )
        return self._encoder

    def search(
        self,
        query: str,
        top: int = 10,
        *,
        lang: str | Sequence[str] | None = None,
        path: str | None = None,
        mode: str = "hybrid",
    ) -> Results:
        """The functions that answer ``query``, best first; of equal scores the first by path and line.

        Args:
            query: words or code, at most 2,000 characters.
            top: how many at most, 1..1000.
            lang: only these languages.
            path: only below this folder or file, or matching this pattern (``src/**/*.py``), relative to
            the root.
            mode: ``hybrid`` (both rankings, see `code_search.fuse`), ``dense`` or ``lexical``. Where no
                vector was computed yet, hybrid ranks by words and says so in ``Results.note``.

        Raises:
            DataError: an empty or overlong query, an unknown language, no vectors where ``dense`` was asked
            for.
            ConfigError: top, path or mode out of range.
        """
        if isinstance(top, bool) or not isinstance(top, (int, np.integer)) or not 1 <= top <= MOST_RESULTS:
            raise ConfigError("top", seen=top, expected=f"a whole number from 1 to {MOST_RESULTS}")
        query = check_query(query)
        ranking = self._rank(query, lang, path, mode)
        found = (result for _, result in islice(self._places(ranking), int(top)))
        return Results(found, query=query, mode=ranking.mode, note=ranking.note)

    def explain(
        self,
        query: str,
        rank: int = 1,
        *,
        lang: str | Sequence[str] | None = None,
        path: str | None = None,
        mode: str = "hybrid",
    ) -> dict[str, Any]:
        """Why the result at ``rank`` stands there: score and rank by vector and by words, and the words.

        Raises:
            DataError: the search has fewer results than ``rank``; else as `search`.
        """
        if isinstance(rank, bool) or not isinstance(rank, int) or not 1 <= rank <= MOST_RESULTS:
            raise ConfigError("rank", seen=rank, expected=f"a whole number from 1 to {MOST_RESULTS}")
        query = check_query(query)
        ranking = self._rank(query, lang, path, mode)
        found = list(islice(self._places(ranking), rank))
        if len(found) < rank:
            raise DataError("rank", seen=rank, expected=f"at most {len(found)}, the number of results")
        place, result = found[-1]
        row = int(ranking.rows[place])
        dense = None
        if ranking.dense is not None and result.score_dense is not None:
            dense = {
                "score": result.score_dense,
                "rank": 1 + int((ranking.dense > ranking.dense[place]).sum()),
            }
        return {
            "query": query,
            "mode": ranking.mode,
            "note": ranking.note,
            "place": result.place,
            "name": result.name,
            "score": result.score,
            "weights": dict(self.ranker.all) if ranking.mode == "hybrid" else {},
            "dense": dense,
            "lexical": {
                "score": result.score_lexical,
                "rank": 1 + int((ranking.lexical > ranking.lexical[place]).sum()),
                **self._why(query, row),
            },
            "candidates": len(ranking.rows),
        }

    def _rank(self, query: str, lang: str | Sequence[str] | None, path: str | None, mode: str) -> Ranking:
        mode, note = possible_mode(self.snapshot, mode)
        rows = candidates(self.snapshot, lang, path)
        has_vector = self.snapshot.has_vector
        if mode == "dense" and has_vector is not None:
            rows = rows[has_vector[rows]]
        parts = {name: self._pick(values, rows) for name, values in self.words.parts(query).items()}
        lexical = self.ranker.by_words(parts)
        if mode == "lexical" or has_vector is None or not len(rows):
            return Ranking(rows, lexical, None, lexical, mode, note)
        vector = np.asarray(self.encoder.encode_queries([query])[0], dtype=np.float32)
        dense = self._pick(self._matrix() @ vector, rows)
        score = self.ranker.by_all(parts, dense, has_vector[rows]) if mode == "hybrid" else dense
        return Ranking(rows, score, dense, lexical, mode, note)

    def _why(self, query: str, row: int) -> dict[str, dict[str, float]]:
        """What each word of the query adds to the score by words of one function, by the words that match."""
        weights, words = self.ranker.words, self.words
        parts = {"words": words.bm25.contributions(query, row), "translated": {}}
        if words.translated is not None:
            parts["translated"] = words.translated.contributions(query, row)
        scale = {"words": weights.get("bm25", 0.0), "translated": weights.get("translation", 0.0)}
        return {
            name: {word: round(scale[name] * value, 3) for word, value in found.items()}
            for name, found in parts.items()
        }

    def _pick(self, values: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return values if len(rows) == len(values) else values[rows]

    def _matrix(self) -> np.ndarray:
        """The vectors in float32, as the processor multiplies them; on disk they take half of that."""
        if self._vectors is None:
            self._vectors = np.asarray(self.snapshot.vectors, dtype=np.float32)
        return self._vectors

    def _places(self, ranking: Ranking) -> Iterator[tuple[int, Result]]:
        """(candidate, result) from the best on; functions whose file is gone are passed over."""
        snapshot, fresh = self.snapshot, Freshness(self.root, self._noted())
        rank = 0
        for place in ranking.best_first():
            row = int(ranking.rows[place])
            number, start, end, language = (int(value) for value in snapshot.rows[row])
            source, record = snapshot.texts[row], snapshot.files[number]
            now = fresh.place(record.path, record.blob, start, end, source)
            if now is None:
                continue
            rank += 1
            has_vector = ranking.dense is not None and bool(snapshot.has_vector[row])  # type: ignore[index]
            yield (
                place,
                Result(
                    rank=rank,
                    score=round(float(ranking.score[place]), 4),
                    score_dense=round(float(ranking.dense[place]), 4) if has_vector else None,  # type: ignore[index]
                    score_lexical=round(float(ranking.lexical[place]), 4),
                    path=record.path,
                    start_line=now.start,
                    end_line=now.end,
                    name=snapshot.names[row],
                    lang=snapshot.description.languages[language],
                    snippet=first_lines(source, above=max(0, start - (end - source.count("\n")))),
                    state=now.state,
                ),
            )

    def _noted(self) -> dict[str, dict[Signature, str]]:
        """Signatures of files, noted when they were indexed; read once."""
        if self._signatures is None:
            folder = self.snapshot.folder
            self._signatures = (
                {} if folder is None or self.root is None else recall(folder.parent / SIGNATURES)
            )
        return self._signatures

    def _same_model(self, encoder: Encoder) -> None:
        model = self.snapshot.description.model
        if model is None or (encoder.digest == model.digest and encoder.dim == model.dim):
            return
        command = f"kindred index {self.snapshot.root or 'PATH'} --model {model.reference or 'DIR'}"
        raise DataError(
            "the encoder is not the one that made this index",
            seen=f"{encoder.digest[:12]} ({encoder.dim} numbers)",
            expected=f"{model.digest[:12]} ({model.dim} numbers)",
            remedy=f"{command}, or --mode lexical",
        )


def open_index(
    path: str | os.PathLike[str] = ".",
    *,
    index_dir: str | os.PathLike[str] | None = None,
    encoder: Encoder | None = None,
) -> Index:
    """Open the index of a repository, of the repository around a folder, or an index folder itself.

    Args:
        path: a folder inside an indexed repository, an index folder, or a snapshot that was exported.
        index_dir: the index folder, where it was chosen by hand.
        encoder: see `Index`.

    Raises:
        DataError: there is no index, or it is damaged; names the command that mends it.
    """
    folder = Path(index_dir if index_dir is not None else path).expanduser()
    if index_dir is None and not is_index(folder):
        folder, _ = find_index(path)
    snapshot = Store(folder).read()
    root = Path(snapshot.root)
    return Index(snapshot, root if snapshot.root and root.is_dir() else None, encoder)
