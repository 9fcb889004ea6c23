"""Search by words: identifiers split into their parts, stop words left out, stems compared, scored by BM25.

Code and English meet only after ``readHTTPResponse_2`` has become ``read http respons 2``: on six languages
that split is the largest single gain a lexical ranking can have. Counts of words are kept apart from the
scores, because a score
depends on the whole collection while the counts of a function never change: an update counts only what is
new.
"""

from __future__ import annotations

import functools
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

K1 = 1.5
B = 0.75
NAMED_B = 0.9
"""b over texts with their names (`named_text`), chosen on validation functions."""
NAME_TIMES = 5
"""How often the name counts in `named_text`, chosen on validation functions."""
_STOP_WORDS = (
    "a an and are as at be by for from if in into is it its of on or so that the then this to was were"
)
STOP_WORDS = frozenset(_STOP_WORDS.split())

_RUNS = re.compile(r"\w+")
_PIECES = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_PIECES_ANY_SCRIPT = re.compile(r"\d+|[^\W\d_]+")
_MOST_OF_ONE_WORD = np.iinfo(np.uint16).max


def split_identifier(identifier: str) -> list[str]:
    """Parts of one identifier, lower-cased: split at underscores, at changes of case and around digits.

    >>> split_identifier("readHTTPResponse_v2")
    ['read', 'http', 'response', 'v', '2']
    >>> split_identifier("größe_max")
    ['größe', 'max']
    """
    pattern = _PIECES if identifier.isascii() else _PIECES_ANY_SCRIPT
    return [piece.lower() for piece in pattern.findall(identifier)]


@functools.lru_cache(maxsize=1)
def _stemmer():
    import Stemmer

    return Stemmer.Stemmer("english")


@functools.lru_cache(maxsize=1 << 18)
def _stems(identifier: str) -> tuple[str, ...]:
    """Stems of one identifier; remembering them makes counting ten times faster, so often do they repeat."""
    return tuple(
        _stemmer().stemWords([part for part in split_identifier(identifier) if part not in STOP_WORDS])
    )


def words(text: str) -> list[str]:
    """The stems of a text in order, from code and English alike; digits are words of their own.

    Stems are those of the Snowball English stemmer (Porter, 2001); `STOP_WORDS` are left out.

    >>> words("def parse_dates(self): # parses the dates")
    ['def', 'pars', 'date', 'self', 'pars', 'date']
    >>> words("the of _")
    []
    """
    return [stem for run in _RUNS.findall(text) for stem in _stems(run)]


def named_text(name: str, text: str) -> str:
    """The text of a function with its name put before it several times: the name says most about it.

    Args:
        name: qualified or not; its last part counts.

    >>> named_text("Stack.push", "def push(self): ...").count("push")
    6
    """
    return f"{name.rpartition('.')[2]}\n" * NAME_TIMES + text


@dataclass(frozen=True)
class WordCounts:
    """How often each of V words occurs in each of ``size`` documents, word by word.

    Word ``vocabulary[v]`` occurs ``counts[j]`` times in document ``documents[j]`` for ``indptr[v] <= j <
    indptr[v + 1]``, documents ascending. ``indptr`` int64 (V + 1,), ``documents`` int32 (P,), ``counts``
    uint16 (P,).
    """

    vocabulary: Sequence[str]
    indptr: np.ndarray
    documents: np.ndarray
    counts: np.ndarray
    size: int


def count_words(texts: Iterable[str]) -> WordCounts:
    """Count the words of every text.

    >>> found = count_words(["open file", "close the file file"])
    >>> list(found.vocabulary), found.indptr.tolist(), found.documents.tolist(), found.counts.tolist()
    (['open', 'file', 'close'], [0, 1, 3, 4], [0, 0, 1, 1], [1, 1, 2, 1])
    """
    return count_bags(Counter(words(text)) for text in texts)


def count_bags(bags: Iterable[Mapping[str, int]]) -> WordCounts:
    """As `count_words`, of texts whose words are counted already."""
    vocabulary: dict[str, int] = {}
    terms: list[int] = []
    counts: list[int] = []
    lengths: list[int] = []
    for bag in bags:
        terms.extend([vocabulary.setdefault(word, len(vocabulary)) for word in bag])
        counts.extend(bag.values())
        lengths.append(len(bag))
    documents = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
    often = np.minimum(np.array(counts, dtype=np.int64), _MOST_OF_ONE_WORD)
    return _by_word(list(vocabulary), np.array(terms, dtype=np.int32), documents, often, len(lengths))


def combine(parts: Sequence[tuple[WordCounts, np.ndarray]], size: int) -> WordCounts:
    """One collection out of several: document ``i`` of a part becomes ``places[i]``; -1 leaves it out.

    Args:
        parts: pairs of counts and their new places, int (documents of the part,).
        size: number of documents of the result; each must be the place of at most one document.

    >>> old, new = count_words(["open file", "close file"]), count_words(["read"])
    >>> both = combine([(old, np.array([-1, 1])), (new, np.array([0]))], size=2)
    >>> list(both.vocabulary), both.documents.tolist()
    (['file', 'close', 'read'], [1, 1, 0])
    """
    vocabulary: dict[str, int] = {}
    terms, documents, counts = [], [], []
    for part, places in parts:
        place = np.asarray(places, dtype=np.int32)[part.documents]
        kept = place >= 0
        term = np.repeat(np.arange(len(part.vocabulary), dtype=np.int32), np.diff(part.indptr))[kept]
        renumber = np.zeros(len(part.vocabulary), dtype=np.int32)
        for number in np.unique(term):
            renumber[number] = vocabulary.setdefault(part.vocabulary[number], len(vocabulary))
        terms.append(renumber[term])
        documents.append(place[kept])
        counts.append(part.counts[kept])
    if not parts:
        return count_words([])
    return _by_word(
        list(vocabulary), np.concatenate(terms), np.concatenate(documents), np.concatenate(counts), size
    )


def _by_word(
    vocabulary: list[str], terms: np.ndarray, documents: np.ndarray, counts: np.ndarray, size: int
) -> WordCounts:
    order = np.argsort(terms.astype(np.int64) * max(size, 1) + documents, kind="stable")
    frequency = np.bincount(terms, minlength=len(vocabulary))
    indptr = np.concatenate([[0], np.cumsum(frequency)]).astype(np.int64)
    return WordCounts(
        vocabulary, indptr, documents[order].astype(np.int32), counts[order].astype(np.uint16), size
    )


class WordIndex:
    """BM25: the sum over a query's words of idf * tf / (tf + k1 (1 - b + b length / mean length)).

    idf = ln(1 + (N - df + .5) / (df + .5)) (Robertson & Zaragoza 2009, the form bm25s calls "lucene"); k1 =
    1.5, b = .75 unless said otherwise. Every (word, document) pair is scored once, here; a query then adds up
    the postings of its own words only.

    >>> index = WordIndex(count_words(["def read_file(path)", "def writeFile(path)", "def close()"]))
    >>> [round(float(score), 2) for score in index.scores("reading files")]
    [0.53, 0.17, 0.0]
    >>> index.contributions("reading files", 0)
    {'read': 0.36, 'file': 0.172}
    """

    def __init__(self, counts: WordCounts, *, k1: float = K1, b: float = B) -> None:
        import bm25s

        self.size = counts.size
        self.vocabulary = {word: number for number, word in enumerate(counts.vocabulary)}
        frequency = np.diff(counts.indptr)
        lengths = np.bincount(counts.documents, weights=counts.counts, minlength=self.size)
        mean = lengths.mean() if lengths.any() else 1.0
        idf = np.log1p((self.size - frequency + 0.5) / (frequency + 0.5)).astype(np.float32)
        penalty = (k1 * (1 - b + b * lengths / mean)).astype(np.float32)
        data = counts.counts.astype(np.float32)
        data /= data + penalty[counts.documents]
        data *= np.repeat(idf, frequency)
        self._data, self._documents, self._indptr = data, counts.documents, counts.indptr
        self._bm25 = bm25s.BM25(k1=k1, b=b, method="lucene")
        self._bm25.vocab_dict = self.vocabulary
        self._bm25.nonoccurrence_array = None
        self._bm25.scores = {
            "data": data,
            "indices": counts.documents,
            "indptr": counts.indptr,
            "num_docs": counts.size,
        }

    @classmethod
    def from_texts(cls, texts: Iterable[str]) -> WordIndex:
        """Count the words of ``texts`` and score them."""
        return cls(count_words(texts))

    def scores(self, query: str) -> np.ndarray:
        """BM25 of every document, float32 (N,); all zero where no word of the query is known."""
        known = self._bm25.get_tokens_ids(words(query))
        return self._bm25.get_scores_from_ids(known) if known else np.zeros(self.size, dtype=np.float32)

    def score_matrix(self, queries: Sequence[str]) -> np.ndarray:
        """BM25 of every (query, document) pair, float32 (Q, N)."""
        if not len(queries):
            return np.zeros((0, self.size), dtype=np.float32)
        return np.stack([self.scores(query) for query in queries])

    def contributions(self, query: str, document: int) -> dict[str, float]:
        """What each word of the query adds to the score of one document, largest first."""
        found: dict[str, float] = defaultdict(float)
        for word in words(query):
            if (number := self.vocabulary.get(word)) is None:
                continue
            start, stop = int(self._indptr[number]), int(self._indptr[number + 1])
            place = start + int(np.searchsorted(self._documents[start:stop], document))
            if place < stop and self._documents[place] == document:
                found[word] += float(self._data[place])
        return {
            word: round(value, 3)
            for word, value in sorted(found.items(), key=lambda item: (-item[1], item[0]))
        }
