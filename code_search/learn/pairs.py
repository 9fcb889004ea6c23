"""Pairs of documentation and code as token arrays, and the batches that CoCoSoDa draws from them."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from code_search.data.functions import Function
from code_search.data.tokens import tokens_with_types
from code_search.tokenize import CodeTokenizer
from core.files import atomic_write

_SENTENCE = re.compile(r"(.+?[.!?])(?=\s|$)")
_SPACE = re.compile(r"\s+")


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
    workers: int = 1,
) -> PairArrays:
    """Parse, tokenize and number the pairs; the result does not depend on the number of ``workers``."""
    leaves = typed_leaves(functions, code_length, workers)
    typed = tokenizer.encode_leaves(leaves, code_length)
    own = [
        _own_pieces(row.leaves, [text for text, _ in parts], function.name)
        for row, parts, function in zip(typed, leaves, functions)
    ]
    queries = [query_of(function.documentation) for function in functions]
    texts = tokenizer.text_ids(queries, text_length)
    return PairArrays(
        code=_flat([row.ids for row in typed], np.int32),
        code_ends=_ends([row.ids for row in typed]),
        types=_flat([row.types for row in typed], np.int16),
        own=_flat(own, np.int8),
        text=_flat(texts, np.int32),
        text_ends=_ends(texts),
        groups=duplicate_groups(
            ["".join(f.code.split()) for f in functions], [query.lower() for query in queries]
        ),
        languages=np.array([function.language for function in functions]),
    )


def typed_leaves(functions: Sequence[Function], most: int, workers: int = 1) -> list[list[tuple[str, str]]]:
    """The first ``most`` (text, type) leaves of each function."""
    jobs = [(f.code[: most * 40], f.language, most) for f in functions]
    if workers <= 1 or len(jobs) < 2000:
        return [_leaves(job) for job in jobs]
    with ProcessPoolExecutor(workers) as pool:
        return list(pool.map(_leaves, jobs, chunksize=500))


def _leaves(job: tuple[str, str, int]) -> list[tuple[str, str]]:
    code, language, most = job
    return tokens_with_types(code, language)[:most]


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


def _ends(rows: Sequence[Sequence[int] | np.ndarray]) -> np.ndarray:
    return np.cumsum([len(row) for row in rows], dtype=np.int64)
