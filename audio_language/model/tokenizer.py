"""Captions as token ids, with RoBERTa's special tokens: an own vocabulary, or that of local weights."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.errors import CheckpointError

FILE = "tokenizer.json"
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
BOS, PAD, EOS = 0, 1, 2
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


class CaptionTokenizer:
    """Texts to (ids, mask), cut at ``length`` tokens with the end token kept.

    Args:
        tokenizer: of the ``tokenizers`` library. length: most tokens of a text.

    >>> tokenizer = CaptionTokenizer.from_captions(["a dog before a siren"], length=8)
    >>> ids, mask = tokenizer(["dog before siren", "owl"])
    >>> ids.shape, mask.sum(dim=1).tolist()
    (torch.Size([2, 5]), [5, 5])
    """

    def __init__(self, tokenizer: Any, length: int) -> None:
        self.tokenizer, self.length = tokenizer, length
        pad = tokenizer.token_to_id("<pad>")
        self.pad = PAD if pad is None else pad
        tokenizer.enable_truncation(max_length=length)
        tokenizer.no_padding()

    @classmethod
    def from_captions(cls, captions: Iterable[str], *, length: int = 24) -> CaptionTokenizer:
        """A vocabulary of every word of the captions, and of single letters for words that come later.

        It is a function of the set of words: nothing is trained.
        """
        from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
        from tokenizers.models import WordPiece

        words = sorted({word for text in captions for word in re.findall(r"[^\W_]+|[^\w\s]|_", text.lower())})
        pieces = [*SPECIAL, *_LETTERS, *(f"##{letter}" for letter in _LETTERS), *words]
        vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
        tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="<unk>", max_input_chars_per_word=40))
        tokenizer.normalizer = normalizers.Sequence(
            [normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()]
        )
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", special_tokens=[("<s>", BOS), ("</s>", EOS)]
        )
        return cls(tokenizer, length)

    @classmethod
    def from_folder(cls, folder: str | os.PathLike[str], *, length: int) -> CaptionTokenizer:
        """The ``tokenizer.json`` of a folder. Raises CheckpointError."""
        from tokenizers import Tokenizer

        file = Path(folder) / FILE
        if not file.is_file():
            raise CheckpointError(
                f"tokenizer of {folder}",
                seen=f"no {FILE}",
                expected="the fast tokenizer of the weights",
                remedy="AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER) writes one",
            )
        try:
            return cls(Tokenizer.from_file(str(file)), length)
        except Exception as error:  # the library raises bare Exception
            raise CheckpointError(f"{file} is not a tokenizer", seen=str(error)) from None

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write ``tokenizer.json``."""
        self.tokenizer.save(str(Path(folder) / FILE))

    @property
    def size(self) -> int:
        """Entries of the vocabulary."""
        return int(self.tokenizer.get_vocab_size())

    def count(self, text: str) -> int:
        """Tokens of a text, special ones included, before anything is cut."""
        self.tokenizer.no_truncation()
        try:
            return len(self.tokenizer.encode(text).ids)
        finally:
            self.tokenizer.enable_truncation(max_length=self.length)

    def __call__(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """(B, L) int64 ids and bool mask, padded to the longest."""
        rows = [encoded.ids for encoded in self.tokenizer.encode_batch(list(texts))]
        width = max(map(len, rows))
        ids = torch.full((len(rows), width), self.pad, dtype=torch.int64)
        for row, found in enumerate(rows):
            ids[row, : len(found)] = torch.tensor(found)
        return ids, ids != self.pad
