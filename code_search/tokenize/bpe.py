"""An own byte-pair vocabulary over the parts of identifiers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from core.errors import DataError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PAD, UNKNOWN, MASK, TEXT, CODE = "<pad>", "<unk>", "<mask>", "<text>", "<code>"
SPECIAL = (PAD, UNKNOWN, MASK, TEXT, CODE)
INSIDE = "##"
_LETTERS = 256
_LOOK_AT = 300  # characters of each text that are counted for the alphabet


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
    and are never matched in a text, so they split no word. Equal texts give equal vocabularies.

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
    known = list(texts)
    letters = _alphabet(known, tokenizer.normalizer)
    if not letters:
        raise DataError("tokenizer: no text to learn from", remedy="check the training split")
    named = [*SPECIAL, *(type_token(name) for name in sorted(set(types)))]
    # Left alone, the trainer numbers the inner letters in the order of a hash map, another one in every
    # process, and ties between merges fall by these numbers. Named first, they are numbered in this order.
    inner = [INSIDE + letter for letter in letters if letter.isalpha()]
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=min_frequency,
        special_tokens=[*named, *inner],
        continuing_subword_prefix=INSIDE,
        initial_alphabet=letters,
        limit_alphabet=len(letters),
        show_progress=False,
    )
    tokenizer.train_from_iterator(known, trainer)
    content = json.loads(tokenizer.to_str())
    content["added_tokens"] = [token for token in content["added_tokens"] if token["content"] in named]
    return Tokenizer.from_str(json.dumps(content))


def _alphabet(texts: Sequence[str], normalizer: Any) -> list[str]:
    """The most frequent visible characters, in the order of their code points."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(normalizer.normalize_str(text[:_LOOK_AT]))
    visible = [letter for letter in counts if not letter.isspace()]
    return sorted(sorted(visible, key=lambda letter: (-counts[letter], letter))[:_LETTERS])
