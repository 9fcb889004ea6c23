"""Which words of code answer a word of a question: "remove" is also ``del``, ``pop`` and ``unlink``.

A table of such pairs is learnt from documented functions, as IBM's first translation model is from sentences
of two languages (Brown et al., "The Mathematics of Statistical Machine Translation", 1993): every word of a
documentation was put there because of one word of the code, or of none. Search then asks how much likelier
the words of the query are in a function than elsewhere (Berger & Lafferty, "Information Retrieval as
Statistical Translation", 1999).
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from code_search.lexical import WordCounts, words
from core.errors import CheckpointError
from core.files import atomic_write

KAPPA = 7 / 3
"""How much the function counts against the average function: .7 to .3 in the mixture of the two."""
ROUNDS = 5
_CHUNK = 2**22  # scores of (word, function) held at a time
_RAREST = 3  # documentations, or functions, that a word must occur in
_LEAST = 2.0  # entries that make a word less than twice as likely as it is everywhere add time, not quality


@dataclass(frozen=True)
class Translation:
    """How much likelier each query word is where a code word stands, against the average function.

    Query word ``query_words[q]`` is ``data[j]`` times as likely beside code word ``code_words[indices[j]]``
    for ``indptr[q] <= j < indptr[q + 1]``. ``indptr`` int64, ``indices`` int32, ``data`` float32.
    """

    query_words: Sequence[str]
    code_words: Sequence[str]
    indptr: np.ndarray
    indices: np.ndarray
    data: np.ndarray

    @cached_property
    def rows(self) -> dict[str, int]:
        """The row of each query word."""
        return {word: row for row, word in enumerate(self.query_words)}

    def related(self, word: str, most: int = 5) -> dict[str, float]:
        """The code words that speak most for one query word, given as `words` gives it."""
        row = self.rows.get(word)
        if row is None:
            return {}
        part = slice(int(self.indptr[row]), int(self.indptr[row + 1]))
        best = np.argsort(-self.data[part], kind="stable")[:most]
        return {
            self.code_words[self.indices[part][place]]: round(float(self.data[part][place]), 2)
            for place in best
        }

    def save(self, path: str | os.PathLike[str]) -> str:
        """Write a safetensors file, whole or not at all; returns its SHA-256."""
        from safetensors.numpy import save

        content = save(
            {
                "query_words": _packed(self.query_words),
                "code_words": _packed(self.code_words),
                "indptr": self.indptr,
                "indices": self.indices,
                "data": self.data,
            }
        )
        atomic_write(path, content)
        return hashlib.sha256(content).hexdigest()

    @classmethod
    def load(cls, path: str | os.PathLike[str], sha256: str | None = None) -> Translation:
        """Read what `save` wrote.

        Raises:
            CheckpointError: the file is missing, or does not have the content that was written.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            content = Path(path).read_bytes()
            if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
                raise ValueError("another SHA-256 than was noted")
            found = load(content)
            query_words = found["query_words"].tobytes().decode().split("\n")[:-1]
            code_words = found["code_words"].tobytes().decode().split("\n")[:-1]
            return cls(query_words, code_words, found["indptr"], found["indices"], found["data"])
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise CheckpointError(
                f"the table of words {path} is damaged", seen=str(error), remedy="run the training again"
            ) from None


def _packed(words: Sequence[str]) -> np.ndarray:
    return np.frombuffer("".join(f"{word}\n" for word in words).encode(), dtype=np.uint8)


def learn_translation(
    queries: Sequence[Counter[str]], codes: Sequence[Counter[str]], *, rounds: int = ROUNDS
) -> Translation:
    """Learn the table by expectation maximization.

    Args:
        queries: the words of each documentation, counted; see `count_pairs`.
        codes: those of its code.
        rounds: of expectation maximization.

    >>> queries = [Counter(text.split()) for text in ("remove file", "remove row", "open file")] * 3
    >>> codes = [Counter(text.split()) for text in ("del path", "del record", "open path")] * 3
    >>> table = learn_translation(queries, codes)
    >>> next(iter(table.related("remove"))), next(iter(table.related("file")))
    ('del', 'path')
    """
    from scipy.sparse import csr_matrix

    asked, said = _frequent(queries), _frequent(codes)
    size = len(said) + 1  # the last one is the empty word, which explains what nothing else does
    slots, query, code, often, count = _alignments(queries, codes, asked, said)
    pairs, inverse = np.unique(query.astype(np.int64) * size + code, return_inverse=True)
    column = pairs % size
    chance = np.ones(len(pairs), dtype=np.float32)
    for _ in range(rounds):
        share = chance[inverse] * often
        share /= np.bincount(slots, share, minlength=count)[slots]
        expected = np.bincount(inverse, share, minlength=len(pairs))
        total = np.bincount(column, expected, minlength=size)
        chance = (expected / np.maximum(total, 1e-30)[column]).astype(np.float32)
    table = csr_matrix((chance, (pairs // size, column)), shape=(len(asked), size))
    usual = table @ _average(codes, said) + 1e-6
    lift = table[:, :-1].multiply(1 / usual[:, None]).tocsr()
    lift.data[lift.data < _LEAST] = 0
    lift.eliminate_zeros()
    lift.sort_indices()
    return Translation(
        list(asked),
        list(said),
        lift.indptr.astype(np.int64),
        lift.indices.astype(np.int32),
        lift.data.astype(np.float32),
    )


def count_pairs(pairs: Iterable[tuple[str, str]]) -> tuple[list[Counter[str]], list[Counter[str]]]:
    """The words of each (documentation, code), counted.

    >>> count_pairs([("Remove the files.", "del files[0]")])
    ([Counter({'remov': 1, 'file': 1})], [Counter({'del': 1, 'file': 1, '0': 1})])
    """
    queries, codes = [], []
    for documentation, code in pairs:
        queries.append(Counter(words(documentation)))
        codes.append(Counter(words(code)))
    return queries, codes


def translation_of(pairs: Sequence[tuple[str, str]]) -> Translation:
    """The table learnt from (documentation, code) pairs."""
    return learn_translation(*count_pairs(pairs))


class TranslatedIndex:
    """Scores functions by the words that translate those of a query.

    The score is the sum over the distinct words w of the query of ln(1 + kappa sum_c lift(w, c) share(c)),
    with share(c) the part that c has in the words of the function: 0 where nothing speaks for the query.

    Args:
        translation: the table.
        counts: the words of each function.
    """

    def __init__(self, translation: Translation, counts: WordCounts) -> None:
        from scipy.sparse import csr_matrix

        self.translation, self.size = translation, counts.size
        lengths = np.bincount(counts.documents, weights=counts.counts, minlength=counts.size) + 1
        data = (counts.counts / lengths[counts.documents]).astype(np.float32)
        known = len(counts.vocabulary)
        self._shares = csr_matrix(
            (data, counts.documents, counts.indptr), shape=(known, counts.size), copy=False
        )
        here = {word: number for number, word in enumerate(counts.vocabulary)}
        number = np.array([here.get(word, -1) for word in translation.code_words], dtype=np.int64)
        place = number[translation.indices] if len(number) else np.zeros(0, dtype=np.int64)
        kept = place >= 0
        ends = np.concatenate([[0], np.cumsum(kept)])[translation.indptr]
        self._lift = csr_matrix(
            (translation.data[kept], place[kept], ends), shape=(len(translation.query_words), known)
        )

    def scores(self, query: str) -> np.ndarray:
        """The score of every function, float32 (N,)."""
        found = np.zeros(self.size, dtype=np.float32)
        for row in self._rows(query):
            found += self._likelier(row)
        return found

    def score_matrix(self, queries: Sequence[str]) -> np.ndarray:
        """The score of every (query, function) pair, float32 (Q, N)."""
        found = np.zeros((len(queries), self.size), dtype=np.float32)
        askers: dict[int, list[int]] = {}
        for number, query in enumerate(queries):
            for row in self._rows(query):
                askers.setdefault(row, []).append(number)
        rows = list(askers)
        step = max(1, _CHUNK // max(self.size, 1))
        for start in range(0, len(rows), step):
            part = rows[start : start + step]
            lift = (self._lift[part] @ self._shares).toarray()
            for row, likelier in zip(part, np.log1p(KAPPA * lift, dtype=np.float32)):
                found[askers[row]] += likelier
        return found

    def contributions(self, query: str, document: int) -> dict[str, float]:
        """What each word of the query adds to the score of one function, largest first."""
        found = {}
        for row in self._rows(query):
            value = float(self._likelier(row)[document])
            if value > 0:
                found[self.translation.query_words[row]] = round(value, 3)
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))

    def _rows(self, query: str) -> list[int]:
        known = self.translation.rows
        return [known[word] for word in dict.fromkeys(words(query)) if word in known]

    def _likelier(self, row: int) -> np.ndarray:
        """ln(1 + kappa lift) of one query word in each function, float32 (N,)."""
        part = slice(int(self._lift.indptr[row]), int(self._lift.indptr[row + 1]))
        lift = self._shares[self._lift.indices[part]].T @ self._lift.data[part]
        return np.log1p(KAPPA * lift, dtype=np.float32)


def _frequent(bags: Sequence[Counter[str]]) -> dict[str, int]:
    """Words in at least `_RAREST` bags, numbered in the order of their first occurrence."""
    seen: Counter[str] = Counter()
    for bag in bags:
        seen.update(bag.keys())
    return {word: number for number, word in enumerate(w for w, n in seen.items() if n >= _RAREST)}


def _alignments(
    queries: Sequence[Counter[str]],
    codes: Sequence[Counter[str]],
    asked: dict[str, int],
    said: dict[str, int],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]:
    """Every (word of a documentation, word of its code): slot, both numbers, weight; and how many slots.

    A slot is one word of one documentation. The weight is the root of the code word's count, which tames
    what a function repeats.
    """
    slots, query, code, often = [], [], [], []
    count = 0
    for documentation, bag in zip(queries, codes, strict=True):
        left = np.array([asked[word] for word in documentation if word in asked], dtype=np.int32)
        if not len(left):
            continue
        right = np.array([*(said[word] for word in bag if word in said), len(said)], dtype=np.int32)
        weight = np.array([*(bag[word] ** 0.5 for word in bag if word in said), 1.0], dtype=np.float32)
        slots.append(np.repeat(np.arange(count, count + len(left), dtype=np.int32), len(right)))
        query.append(np.repeat(left, len(right)))
        code.append(np.tile(right, len(left)))
        often.append(np.tile(weight, len(left)))
        count += len(left)
    if not count:
        nothing = np.zeros(0, dtype=np.int32)
        return nothing, nothing, nothing, np.zeros(0, dtype=np.float32), 0
    return np.concatenate(slots), np.concatenate(query), np.concatenate(code), np.concatenate(often), count


def _average(codes: Sequence[Counter[str]], said: dict[str, int]) -> np.ndarray:
    """The share of each code word in the average function; the empty word's at the end."""
    found = np.zeros(len(said) + 1)
    for bag in codes:
        total = sum(bag.values()) + 1
        for word, often in bag.items():
            if word in said:
                found[said[word]] += often / total
        found[-1] += 1 / total
    return found / max(len(codes), 1)
