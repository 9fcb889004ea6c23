"""What training reads: the tokenizer and the token arrays of the training pairs, made once."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from code_search.data.functions import Function
from code_search.learn.pairs import PairArrays, node_kinds, prepare_pairs, query_of
from code_search.model import CodeEncoder, build_encoder, build_tokenizer
from code_search.tokenize import CodeTokenizer
from code_search.translate import Translation, translation_of
from core.files import read_json, sha256_file, write_json

PAIRS, FACTS = "pairs.npz", "prepared.json"
_TYPES_FROM = 4000  # functions of a language that are asked for the node types there are
_FEW = 2000  # functions that are not worth starting processes for
_LONGEST = 2000  # characters of a code that the vocabulary is learned from


@dataclass(frozen=True)
class Prepared:
    """Training pairs and the tokenizer that made them."""

    tokenizer: CodeTokenizer
    pairs: PairArrays
    code_length: int
    text_length: int


def prepare(
    functions: Sequence[Function],
    *,
    encoder: str,
    vocabulary: int,
    min_frequency: int,
    code_length: int,
    text_length: int,
    workers: int = 1,
    pool: Executor | None = None,
) -> Prepared:
    """Learn the vocabulary (or take the encoder's own) and turn the pairs into token arrays.

    Args:
        functions: training pairs, in a stable order.
        encoder, vocabulary, min_frequency: of `code_search.model.build_tokenizer`.
        code_length, text_length: tokens kept of each side.
        workers: processes that parse and tokenize.
        pool: processes that are running already, instead.
    """
    with _processes(workers, functions, pool) as pool:
        tokenizer = build_tokenizer(
            encoder,
            _texts(functions),
            _node_types(functions, code_length, pool),
            vocabulary=vocabulary,
            min_frequency=min_frequency,
        )
        pairs = prepare_pairs(
            functions, tokenizer, code_length=code_length, text_length=text_length, pool=pool
        )
    return Prepared(tokenizer, pairs, code_length, text_length)


def prepare_with_words(
    functions: Sequence[Function], *, workers: int = 1, **reading: Any
) -> tuple[Prepared, Translation]:
    """As `prepare`, and beside it which words of code go with which words of documentation.

    Neither needs the other: with ``workers`` the table is learnt while this process learns the vocabulary.
    """
    with _processes(workers, functions) as pool:
        if pool is None:
            return prepare(functions, **reading), table_of_words(functions)
        table = pool.submit(translation_of, _asked(functions))
        return prepare(functions, **reading, pool=pool), table.result()


def table_of_words(functions: Sequence[Function]) -> Translation:
    """Which words of code go with which words of documentation, learnt from the training pairs."""
    return translation_of(_asked(functions))


def save_prepared(prepared: Prepared, folder: Path) -> None:
    """Write ``tokenizer.json``, ``pairs.npz`` and ``prepared.json`` into an existing folder."""
    markers = prepared.tokenizer.save(folder)
    prepared.pairs.save(folder / PAIRS)
    facts = {
        "pairs": len(prepared.pairs),
        "code_length": prepared.code_length,
        "text_length": prepared.text_length,
        "vocabulary": prepared.tokenizer.size,
        "pairs_sha256": sha256_file(folder / PAIRS),
        "markers": markers,
    }
    write_json(folder / FACTS, facts)


def load_prepared(folder: str | os.PathLike[str]) -> Prepared:
    """Read what `save_prepared` wrote. Raises DataError where it is missing."""
    home = Path(folder)
    facts = read_json(home / FACTS)
    tokenizer = CodeTokenizer.load(home, facts["markers"])
    return Prepared(tokenizer, PairArrays.load(home / PAIRS), facts["code_length"], facts["text_length"])


def starting_encoder(
    prepared: Prepared, *, encoder: str, seed: int, precision: str = "32", **architecture: Any
) -> CodeEncoder:
    """The encoder before training; equal arguments give equal weights.

    Args:
        encoder: ``static``, ``transformer``, ``minilm`` or a folder.
        seed: of random weights.
        precision: of validation, see `CodeEncoder`.
        **architecture: of `code_search.model.build_encoder`.
    """
    from core.learning.determinism import derive_seed, seed_everything

    seed_everything(derive_seed(seed, "encoder"))
    module = build_encoder(
        encoder, prepared.tokenizer, prepared.pairs, max_length=prepared.code_length, **architecture
    )
    return CodeEncoder(
        module,
        prepared.tokenizer,
        code_length=prepared.code_length,
        text_length=prepared.text_length,
        precision=precision,
    )


def _node_types(functions: Sequence[Function], code_length: int, pool: Executor | None) -> list[str]:
    """Names of the node types in an even sample of each language's functions."""
    by_language: dict[str, list[Function]] = {}
    for function in functions:
        by_language.setdefault(function.language, []).append(function)
    sample = [
        function
        for members in by_language.values()
        for function in members[:: max(1, len(members) // _TYPES_FROM)]
    ]
    return sorted(node_kinds(sample, code_length, pool))


def _asked(functions: Sequence[Function]) -> list[tuple[str, str]]:
    return [(query_of(function.documentation), function.code) for function in functions]


def _texts(functions: Sequence[Function]) -> Iterator[str]:
    for function in functions:
        yield function.code[:_LONGEST]
        yield function.documentation


@contextmanager
def _processes(
    workers: int, functions: Sequence[Function], running: Executor | None = None
) -> Iterator[Executor | None]:
    """Those that run, or new ones; None where this process does the work alone."""
    if running is not None or workers <= 1 or len(functions) < _FEW:
        yield running
        return
    # spawned: a fork of a process that has used torch threads can hang
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield pool
