"""An own byte-pair vocabulary over the parts of identifiers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from core.errors import DataError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PAD, UNKNOWN, MASK, TEXT, CODE = "<pad>", "<unk>", "<mask>", "<text>", "<code>"
SPECIAL = (PAD, UNKNOWN, MASK, TEXT, CODE)
INSIDE = "##"


def type_token(name: str) -> str:
    """The token that stands for a node type. Its spelling is private: no code contains it as a word.

    >>> type_token("identifier")
    '<ty:identifier>'
    """
    return f"<ty:{name}>"


def train_bpe(
    texts: Iterable[str], types: Sequence[str], *, size: int = 20_000, min_frequency: int = 3
) -> Tokenizer:
    """Learn a vocabulary from code and prose alike.

    Before the merges, text is split at changes of case, at underscores and around digits and signs, and
    lower-cased, so that ``readHTTPResponse_2`` and "read http response 2" are the same tokens. A piece that
    continues a word starts with ``##``. Type tokens (one for each name in ``types``) take part in no merge
    and are never matched in a text, so they split no word.

    Args:
        texts: what to learn from.
        types: names of node types.
        size: upper limit of the vocabulary, with the special tokens.
        min_frequency: of a pair that is merged.

    Raises:
        DataError: no text.

    >>> texts = ["def readFile(self): return self.file", "read a file"]
    >>> bpe = train_bpe(texts, ["identifier"], min_frequency=1)
    >>> bpe.encode("read_file FILE", add_special_tokens=False).tokens
    ['read', 'file', 'file']
    """
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(
        models.BPE(unk_token=UNKNOWN, continuing_subword_prefix=INSIDE, fuse_unk=True, cache_capacity=100_000)
    )
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFKC(),
            normalizers.Replace(Regex(r"(?<=[a-z])(?=[A-Z])"), " "),
            normalizers.Replace(Regex(r"(?<=[A-Z])(?=[A-Z][a-z])"), " "),
            normalizers.Lowercase(),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split(
        Regex(r"\p{L}+|\d|[^\s\p{L}\d_]"), behavior="removed", invert=True
    )
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=min_frequency,
        special_tokens=[*SPECIAL, *(type_token(name) for name in sorted(set(types)))],
        continuing_subword_prefix=INSIDE,
        limit_alphabet=256,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    if tokenizer.get_vocab_size() <= len(SPECIAL) + len(set(types)):
        raise DataError("tokenizer: no text to learn from", remedy="check the training split")
    return tokenizer
