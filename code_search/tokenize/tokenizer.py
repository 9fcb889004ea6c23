"""One interface over an own vocabulary and that of a pretrained encoder: prefixes, node types, saving."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from code_search.tokenize.bpe import CODE, MASK, PAD, SPECIAL, TEXT, UNKNOWN, type_token
from core.errors import CheckpointError, DataError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

FILE = "tokenizer.json"
NO_TYPE = -1
_LONGEST_TOKEN = 12  # characters a token on average, at most: what lies beyond is cut before it costs time
_BATCH = 2048


@dataclass(frozen=True)
class Markers:
    """Ids with a meaning: padding, mask, what precedes a text or a code, what follows, the type tokens.

    ``types`` maps the name of a node type to the id of its token.
    """

    pad: int
    mask: int
    unknown: int
    text_prefix: list[int]
    code_prefix: list[int]
    suffix: list[int]
    types: dict[str, int] = field(default_factory=dict)

    @property
    def protected(self) -> list[int]:
        """Ids that no augmentation touches, and that no text contains."""
        found = {self.pad, *self.text_prefix, *self.code_prefix, *self.suffix}
        return sorted(found)

    @property
    def type_names(self) -> list[str]:
        """Names of the types in the order of their codes 0, 1, ..."""
        return sorted(self.types)


@dataclass(frozen=True)
class Tokens:
    """A batch of token ids (n, L) int64 and its mask (n, L) bool, padded on the right to the longest."""

    ids: np.ndarray
    mask: np.ndarray


@dataclass(frozen=True)
class TypedTokens:
    """The tokens of one code, prefix and suffix included: ids int32 (L,), type codes int16 (L,), leaves.

    ``types`` is the code of the node type (its place in ``Markers.type_names``), ``NO_TYPE`` for prefix and
    suffix; ``leaves`` int32 is the place in the list of leaves, -1 for those.
    """

    ids: np.ndarray
    types: np.ndarray
    leaves: np.ndarray


class CodeTokenizer:
    """Token ids of texts and codes.

    >>> from code_search.tokenize.bpe import train_bpe
    >>> tokenizer = CodeTokenizer.own(train_bpe(["def readFile(self)"] * 3, ["identifier", "keyword"]))
    >>> tokenizer.encode_code(["def read(self)"], 16).ids.shape
    (1, 6)
    >>> typed = tokenizer.encode_leaves([[("def", "keyword"), ("readFile", "identifier")]], 16)[0]
    >>> [tokenizer.markers.type_names[code] if code >= 0 else "" for code in typed.types]
    ['', 'keyword', 'identifier', 'identifier']
    """

    def __init__(self, backend: Tokenizer, markers: Markers) -> None:
        backend.no_truncation()
        backend.no_padding()
        backend.encode_special_tokens = True  # "<mask>" in a user's text is text
        self.backend, self.markers = backend, markers
        self.size = backend.get_vocab_size()

    @classmethod
    def own(cls, backend: Tokenizer) -> CodeTokenizer:
        """Around a vocabulary of `train_bpe`: ``<text>`` or ``<code>`` goes first, nothing follows."""
        ids = backend.get_vocab()
        types = {
            token[len("<ty:") : -1]: number
            for token, number in sorted(ids.items())
            if token.startswith("<ty:") and token[-1] == ">"
        }
        return cls(backend, Markers(ids[PAD], ids[MASK], ids[UNKNOWN], [ids[TEXT]], [ids[CODE]], [], types))

    @classmethod
    def pretrained(
        cls, folder: str | os.PathLike[str], types: Sequence[str]
    ) -> tuple[CodeTokenizer, list[list[int]]]:
        """Around the ``tokenizer.json`` of a transformers folder, with a new token for each node type.

        UniXcoder's ``<encoder-only>`` prefix is used where the vocabulary has it.

        Returns:
            The tokenizer, and for each new token the ids of the type's name spelled out, from which its
            vector may start.

        Raises:
            DataError: there is no ``tokenizer.json``, or it lacks a padding or a mask token.
        """
        from tokenizers import AddedToken, Tokenizer

        file = Path(folder) / FILE
        if not file.is_file():
            raise DataError(
                f"{file} is missing", remedy="save the tokenizer with transformers' save_pretrained"
            )
        backend = Tokenizer.from_file(str(file))
        vocabulary = backend.get_vocab()

        def find(*names: str) -> int:
            for name in names:
                if name in vocabulary:
                    return vocabulary[name]
            raise DataError(
                f"vocabulary of {file}", seen=f"none of {', '.join(names)}", expected="one of them"
            )

        first, last = find("[CLS]", "<s>"), find("[SEP]", "</s>")
        prefix = [first]
        if "<encoder-only>" in vocabulary:
            prefix = [first, vocabulary["<encoder-only>"], last]
        names = sorted(set(types))
        sources = [backend.encode(name.replace("_", " "), add_special_tokens=False).ids for name in names]
        backend.add_special_tokens([AddedToken(type_token(name), special=True) for name in names])
        known = backend.get_vocab()
        markers = Markers(
            pad=find("[PAD]", "<pad>"), mask=find("[MASK]", "<mask>"), unknown=find("[UNK]", "<unk>"),
            text_prefix=prefix, code_prefix=prefix, suffix=[last],
            types={name: known[type_token(name)] for name in names},
        )  # fmt: skip
        return cls(backend, markers), sources

    @property
    def ordinary(self) -> np.ndarray:
        """Ids (int64) of ordinary tokens: what a random replacement may be."""
        special = {
            *self.markers.protected,
            self.markers.mask,
            self.markers.unknown,
            *self.markers.types.values(),
        }
        special |= {number for token, number in self.backend.get_vocab().items() if token in SPECIAL}
        return np.array(sorted(set(range(self.size)) - special), dtype=np.int64)

    def encode_texts(self, texts: Sequence[str], max_length: int) -> Tokens:
        """Natural-language texts, at most ``max_length`` tokens each, prefix and suffix included."""
        return self.pad(self.text_ids(texts, max_length))

    def encode_code(self, codes: Sequence[str], max_length: int) -> Tokens:
        """Source texts, at most ``max_length`` tokens each, prefix and suffix included."""
        return self.pad(self.code_ids(codes, max_length))

    def text_ids(self, texts: Sequence[str], max_length: int) -> list[list[int]]:
        """As `encode_texts`, but lists of unequal length."""
        return self._wrap(texts, self.markers.text_prefix, max_length)

    def code_ids(self, codes: Sequence[str], max_length: int) -> list[list[int]]:
        """As `encode_code`, but lists of unequal length."""
        return self._wrap(codes, self.markers.code_prefix, max_length)

    def encode_leaves(self, codes: Sequence[Sequence[tuple[str, str]]], max_length: int) -> list[TypedTokens]:
        """Codes given as (text, type) leaves of their parse trees; every piece inherits its leaf's type."""
        prefix, suffix = self.markers.code_prefix, self.markers.suffix
        room = max_length - len(prefix) - len(suffix)
        number = {name: code for code, name in enumerate(self.markers.type_names)}
        found = []
        for start in range(0, len(codes), _BATCH):
            part = [list(leaves[:room]) for leaves in codes[start : start + _BATCH]]
            words = [[text[: room * _LONGEST_TOKEN] for text, _ in leaves] or [""] for leaves in part]
            encodings = self.backend.encode_batch(words, is_pretokenized=True, add_special_tokens=False)
            for leaves, encoding in zip(part, encodings):
                place = np.array(encoding.word_ids[:room], dtype=np.int32)
                of_leaf = np.array([number.get(kind, NO_TYPE) for _, kind in leaves], dtype=np.int16)
                kinds = of_leaf[place] if len(place) else np.empty(0, np.int16)
                found.append(
                    TypedTokens(
                        np.array([*prefix, *encoding.ids[:room], *suffix], dtype=np.int32),
                        _between(prefix, kinds, suffix, NO_TYPE),
                        _between(prefix, place, suffix, -1),
                    )
                )
        return found

    def pad(self, rows: Sequence[Sequence[int]]) -> Tokens:
        """Rows of unequal length side by side."""
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        mask = np.arange(max(int(lengths.max(initial=0)), 1)) < lengths[:, None]
        ids = np.full(mask.shape, self.markers.pad, dtype=np.int64)
        if len(rows):
            ids[mask] = np.concatenate([np.asarray(row, dtype=np.int64) for row in rows])
        return Tokens(ids, mask)

    def save(self, folder: str | os.PathLike[str]) -> dict[str, Any]:
        """Write ``tokenizer.json`` and return what `load` needs besides, for the model's configuration."""
        self.backend.save(str(Path(folder) / FILE))
        return asdict(self.markers)

    @classmethod
    def load(cls, folder: str | os.PathLike[str], markers: dict[str, Any]) -> CodeTokenizer:
        """Read what `save` wrote. Raises CheckpointError where it is missing or damaged."""
        from tokenizers import Tokenizer

        file = Path(folder) / FILE
        try:
            return cls(Tokenizer.from_file(str(file)), Markers(**markers))
        except Exception as error:  # tokenizers raises plain Exception
            raise CheckpointError(
                f"{file} cannot be read", seen=str(error), remedy="run the training again"
            ) from None

    def _wrap(self, texts: Sequence[str], prefix: list[int], max_length: int) -> list[list[int]]:
        suffix = self.markers.suffix
        room = max_length - len(prefix) - len(suffix)
        found: list[list[int]] = []
        for start in range(0, len(texts), _BATCH):
            cut = [text[: room * _LONGEST_TOKEN] for text in texts[start : start + _BATCH]]
            for encoding in self.backend.encode_batch_fast(cut, add_special_tokens=False):
                found.append([*prefix, *encoding.ids[:room], *suffix])
        return found


def _between(prefix: list[int], values: np.ndarray, suffix: list[int], filler: int) -> np.ndarray:
    edges = [np.full(len(part), filler, dtype=values.dtype) for part in (prefix, suffix)]
    return np.concatenate([edges[0], values, edges[1]])
