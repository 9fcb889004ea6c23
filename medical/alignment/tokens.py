"""Reports as token ids: the tokenizer of a local text encoder, or an own vocabulary of the reports' words."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import CheckpointError, DataError

FILE = "tokenizer.json"
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_PADS = ("[PAD]", "<pad>")


class ReportTokenizer:
    """Texts to (ids, mask), cut at ``length`` tokens.

    Args:
        backend: of the ``tokenizers`` library. length: most tokens of a text.

    >>> tokenizer = ReportTokenizer.from_texts(["The heart is enlarged."], length=8)
    >>> ids, mask = tokenizer(["Heart enlarged", "heart"])
    >>> ids.shape, mask.sum(axis=1).tolist()
    ((2, 4), [4, 3])
    """

    def __init__(self, backend: Any, length: int) -> None:
        self.backend, self.length = backend, length
        found = [backend.token_to_id(name) for name in _PADS if backend.token_to_id(name) is not None]
        if not found:
            raise CheckpointError(f"{FILE} has no padding token", expected=f"one of {', '.join(_PADS)}")
        self.pad = int(found[0])
        backend.no_padding()
        backend.enable_truncation(max_length=length)

    @classmethod
    def from_texts(cls, texts: Iterable[str], *, length: int, largest: int = 20_000) -> ReportTokenizer:
        """A vocabulary of the most frequent words, and of single letters for words that come later."""
        from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
        from tokenizers.models import WordPiece

        counts = Counter(word for text in texts for word in re.findall(r"[^\W_]+|[^\w\s]", text.lower()))
        words = [word for word, _ in sorted(counts.items(), key=lambda one: (-one[1], one[0]))][:largest]
        pieces = [*SPECIAL, *_LETTERS, *(f"##{letter}" for letter in _LETTERS), *words]
        vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
        backend = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=40))
        backend.normalizer = normalizers.BertNormalizer(lowercase=True)
        backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        backend.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
        )
        return cls(backend, length)

    @classmethod
    def from_folder(cls, folder: str | os.PathLike[str], *, length: int) -> ReportTokenizer:
        """The ``tokenizer.json`` of a folder. Raises CheckpointError where it is missing or none."""
        from tokenizers import Tokenizer

        file = Path(folder) / FILE
        if not file.is_file():
            raise CheckpointError(
                f"tokenizer of {folder}", seen=f"no {FILE}", expected="a fast tokenizer's file"
            )
        try:
            return cls(Tokenizer.from_file(str(file)), length)
        except CheckpointError:
            raise
        except Exception as error:  # the library raises bare Exception
            raise CheckpointError(f"{file} is not a tokenizer", seen=str(error)) from None

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write ``tokenizer.json``."""
        self.backend.save(str(Path(folder) / FILE))

    @property
    def size(self) -> int:
        """Entries of the vocabulary."""
        return int(self.backend.get_vocab_size())

    def counts(self, texts: Sequence[str]) -> np.ndarray:
        """Tokens of each text before anything is cut, special ones included."""
        self.backend.no_truncation()
        try:
            return np.array([len(one.ids) for one in self.backend.encode_batch(list(texts))])
        finally:
            self.backend.enable_truncation(max_length=self.length)

    def __call__(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """(B, L) int64 ids and bool mask, padded to the longest.

        Raises:
            DataError: an empty text, which says nothing and must count as missing.
        """
        empty = [row for row, text in enumerate(texts) if not text.strip()]
        if empty:
            raise DataError(
                "text", seen=f"nothing in row(s) {empty[:5]}", expected="words", remedy="leave it out"
            )
        rows = [one.ids for one in self.backend.encode_batch(list(texts))]
        ids = np.full((len(rows), max(map(len, rows), default=1)), self.pad, dtype=np.int64)
        for row, found in enumerate(rows):
            ids[row, : len(found)] = found
        return ids, ids != self.pad

    def words(self, text: str) -> list[tuple[str, list[int]]]:
        """The words of a text with the places of their tokens, for figures."""
        encoded = self.backend.encode(text)
        found: dict[int, tuple[int, int, list[int]]] = {}
        for place, (word, (start, end)) in enumerate(zip(encoded.word_ids, encoded.offsets)):
            if word is not None:
                first = found.get(word)
                found[word] = (start, end, [place]) if first is None else (first[0], end, [*first[2], place])
        return [(text[start:end], places) for start, end, places in found.values()]
