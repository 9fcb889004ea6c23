"""An encoder from its settings: static vectors, a small transformer, MiniLM, or any local folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn

from code_search.learn.pairs import PairArrays
from code_search.model.distill import distilled_vectors, log_idf
from code_search.model.fields import FieldedText
from code_search.tokenize import CodeTokenizer, train_bpe
from core.encoders.text import PretrainedText, TransformerText, model_home
from core.errors import ConfigError

OWN = ("static", "transformer")
RANDOM = "random"


def build_tokenizer(
    encoder: str,
    texts: Iterable[str],
    types: Sequence[str],
    *,
    vocabulary: int = 20_000,
    min_frequency: int = 3,
) -> CodeTokenizer:
    """The tokenizer that an encoder needs: an own vocabulary learned from ``texts``, or that of its folder.

    Args:
        encoder: ``static``, ``transformer``, ``minilm`` or a folder.
        texts: read only for an own vocabulary.
        types: names of the node types that get a token.
        vocabulary, min_frequency: of an own vocabulary.
    """
    if encoder in OWN:
        return CodeTokenizer.own(train_bpe(texts, types, size=vocabulary, min_frequency=min_frequency))
    return CodeTokenizer.pretrained(model_home(encoder), types)[0]


def build_encoder(
    encoder: str,
    tokenizer: CodeTokenizer,
    pairs: PairArrays,
    *,
    dim: int = 256,
    layers: int = 3,
    heads: int = 4,
    vectors: str = "minilm",
    dropout: float = 0.1,
    max_length: int = 256,
) -> nn.Module:
    """An encoder ready for training. Its random numbers come from torch's global generator.

    Args:
        encoder: as in `build_tokenizer`.
        tokenizer: from `build_tokenizer`.
        pairs: training pairs, counted for the first weights of ``static``.
        dim: width of ``static`` and ``transformer``.
        layers, heads: of ``transformer``.
        vectors: where the token vectors of ``static`` and ``transformer`` start: ``minilm``, a
            sentence-transformers folder, or ``random``.
        dropout: of tokens in ``static``, of activations elsewhere.
        max_length: tokens, at most.
    """
    if encoder not in OWN:
        model = PretrainedText(encoder)
        _, sources = CodeTokenizer.pretrained(model_home(encoder), tokenizer.markers.type_names)
        if sources:
            model.add_tokens(sources)
        model.set_dropout(dropout)
        if model.max_length < max_length:
            raise ConfigError(
                f"model.code_length for {encoder}", seen=max_length, expected=f"at most {model.max_length}"
            )
        return model
    start = None if vectors == RANDOM else distilled_vectors(tokenizer, vectors, dim)
    if encoder == "static":
        prose = log_idf(pairs.text, pairs.text_ends, tokenizer.size)
        code = log_idf(pairs.code, pairs.code_ends, tokenizer.size)
        return FieldedText(
            tokenizer.size, dim, vectors=start, log_weights=torch.stack([prose, code, code]), dropout=dropout,
            **_marks(tokenizer),
        )  # fmt: skip
    model = TransformerText.from_config(
        vocabulary=tokenizer.size, width=dim, layers=layers, heads=heads, max_length=max_length,
        dropout=dropout, pad=tokenizer.markers.pad,
    )  # fmt: skip
    if start is not None:
        embedding: Any = model.model.get_input_embeddings()
        embedding.weight.data.copy_(start * embedding.weight.data.std() * dim**0.5)
    return model


def _marks(tokenizer: CodeTokenizer) -> dict[str, int]:
    bracket = tokenizer.backend.token_to_id("(")
    return {
        "text": tokenizer.markers.text_prefix[0],
        "bracket": tokenizer.markers.unknown if bracket is None else bracket,
    }
