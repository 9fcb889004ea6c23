"""Pairs of documentation and code as token arrays, and the batches that CoCoSoDa draws from them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from itertools import repeat
from pathlib import Path

import numpy as np

from code_search.data.functions import Function
from code_search.data.tokens import tokens_with_types
from code_search.tokenize import CodeTokenizer, Markers
from core.files import atomic_write

_SENTENCE = re.compile(r"(.+?[.!?])(?=\s|$)")
_SPACE = re.compile(r"\s+")
_PART = 500  # functions that a process is given at a time


def query_of(documentation: str) -> str:
    """The first sentence: what stands for a query in training.

    >>> query_of("Sort the rows\\nin place. Returns nothing.")
    'Sort the rows in place.'
    """
    text = _SPACE.sub(" ", documentation).strip()
    match = _SENTENCE.match(text)
    return match.group(1) if match else text


@dataclass(frozen=True)
class PairArrays:
    """N pairs, ragged: row i of a flat array is ``flat[ends[i - 1]:ends[i]]``.

    Attributes:
        code, code_ends: token ids int32 of the functions, and where each ends, int64 (N,).
        types: int16, type code of each code token, negative for none.
        own: int8, 1 on the first piece of the function's own name, 2 on its further pieces.
        text, text_ends: token ids of the queries.
        groups: int64 (N,); pairs with the same code or the same query share one.
        languages: (N,) unicode.
    """

    code: np.ndarray
    code_ends: np.ndarray
    types: np.ndarray
    own: np.ndarray
    text: np.ndarray
    text_ends: np.ndarray
    groups: np.ndarray
    languages: np.ndarray

    def __len__(self) -> int:
        return len(self.groups)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write an ``.npz`` without pickles."""
        import io

        buffer = io.BytesIO()
        np.savez(buffer, **{field.name: getattr(self, field.name) for field in fields(self)})
        atomic_write(path, buffer.getvalue())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> PairArrays:
        """Read what `save` wrote."""
        from core.errors import DataError

        if not Path(path).is_file():
            raise DataError(f"{path} is missing", remedy="run the prepare stage (dvc repro)")
        with np.load(path, allow_pickle=False) as archive:
            return cls(**{field.name: archive[field.name] for field in fields(cls)})


def prepare_pairs(
    functions: Sequence[Function],
    tokenizer: CodeTokenizer,
    *,
    code_length: int,
    text_length: int,
    pool: Executor | None = None,
) -> PairArrays:
    """Parse, tokenize and number the pairs; the result does not depend on ``pool``, which shares the work."""
    queries = [query_of(function.documentation) for function in functions]
    jobs = [
        _Job(
            [(_head(f.code, code_length), f.language, f.name) for f in functions[start : start + _PART]],
            queries[start : start + _PART],
            code_length,
            text_length,
        )
        for start in range(0, max(len(functions), 1), _PART)
    ]
    if pool is None:
        parts = [_tokenized(tokenizer, job) for job in jobs]
    else:
        content, markers = tokenizer.backend.to_str(), json.dumps(asdict(tokenizer.markers))
        parts = list(pool.map(_tokenized_elsewhere, repeat(content), repeat(markers), jobs))
    flat = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return PairArrays(
        code=flat["code"],
        code_ends=np.cumsum(flat["code_lengths"]),
        types=flat["types"],
        own=flat["own"],
        text=flat["text"],
        text_ends=np.cumsum(flat["text_lengths"]),
        groups=duplicate_groups(
            ["".join(f.code.split()) for f in functions], [query.lower() for query in queries]
        ),
        languages=np.array([function.language for function in functions]),
    )


def node_kinds(functions: Sequence[Function], most: int, pool: Executor | None = None) -> set[str]:
    """The types of the first ``most`` leaves of each function."""
    jobs = [(_head(f.code, most), f.language, most) for f in functions]
    found = map(_kinds, jobs) if pool is None else pool.map(_kinds, jobs, chunksize=_PART)
    return set().union(*found)


@dataclass(frozen=True)
class _Job:
    """Some functions (code, language, name) and their queries, and how many tokens are kept of each."""

    functions: list[tuple[str, str, str]]
    queries: list[str]
    code_length: int
    text_length: int


def _tokenized(tokenizer: CodeTokenizer, job: _Job) -> dict[str, np.ndarray]:
    """Token ids, types and marks of the own name, one function after the other, and how long each is."""
    leaves = [tokens_with_types(code, language)[: job.code_length] for code, language, _ in job.functions]
    typed = tokenizer.encode_leaves(leaves, job.code_length)
    own = [
        _own_pieces(row.leaves, [text for text, _ in parts], name)
        for row, parts, (_, _, name) in zip(typed, leaves, job.functions)
    ]
    texts = tokenizer.text_ids(job.queries, job.text_length)
    return {
        "code": _flat([row.ids for row in typed], np.int32),
        "code_lengths": np.array([len(row.ids) for row in typed], dtype=np.int64),
        "types": _flat([row.types for row in typed], np.int16),
        "own": _flat(own, np.int8),
        "text": _flat(texts, np.int32),
        "text_lengths": np.array([len(row) for row in texts], dtype=np.int64),
    }


def _tokenized_elsewhere(content: str, markers: str, job: _Job) -> dict[str, np.ndarray]:
    return _tokenized(_reader(content, markers), job)


@lru_cache(maxsize=1)
def _reader(content: str, markers: str) -> CodeTokenizer:
    """The tokenizer in another process, which is sent its text."""
    from tokenizers import Tokenizer

    return CodeTokenizer(Tokenizer.from_str(content), Markers(**json.loads(markers)))


def _kinds(job: tuple[str, str, int]) -> set[str]:
    code, language, most = job
    return {kind for _, kind in tokens_with_types(code, language)[:most]}


def _head(code: str, most: int) -> str:
    """What can hold the first ``most`` tokens, to save parsing."""
    return code[: most * 40]


def duplicate_groups(codes: Sequence[str], queries: Sequence[str]) -> np.ndarray:
    """Number the pairs so that equal code or query means equal number (connected components): int64 (N,).

    >>> duplicate_groups(["a", "b", "b", "c"], ["x", "x", "y", "z"]).tolist()
    [0, 0, 0, 3]
    """
    leader = list(range(len(codes)))

    def find(item: int) -> int:
        while leader[item] != item:
            leader[item] = leader[leader[item]]
            item = leader[item]
        return item

    for keys in (codes, queries):
        first: dict[str, int] = {}
        for item, key in enumerate(keys):
            other = first.setdefault(key, item)
            low, high = sorted((find(item), find(other)))
            leader[high] = low
    return np.array([find(item) for item in range(len(codes))], dtype=np.int64)


def _own_pieces(leaves: np.ndarray, texts: list[str], name: str) -> np.ndarray:
    """1 on the first piece of each leaf that is the name, 2 on its further pieces."""
    marked = np.array([text == name for text in texts] + [False])
    inside = marked[leaves] & (leaves >= 0)
    own = inside.astype(np.int8)
    own[1:][inside[1:] & (leaves[1:] == leaves[:-1])] = 2
    return own


def _flat(rows: Sequence[Sequence[int] | np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate([np.asarray(row, dtype=dtype) for row in rows]) if rows else np.empty(0, dtype)
