"""Real functions of the standard library, and encoders whose behaviour is known without training."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import numpy as np
import pytest

from code_search.data.extract import extract_functions
from code_search.data.functions import Function
from code_search.data.installed import standard_library
from code_search.data.reading import Pairs, read_pairs
from code_search.lexical import words

MODULES = (
    "calendar.py",
    "textwrap.py",
    "shutil.py",
    "statistics.py",
    "tempfile.py",
    "heapq.py",
    "difflib.py",
)


class BagOfStems:
    """Random vectors of stems, added up: near texts get near vectors. Remembers what it was asked."""

    dim = 96
    digest = "0" * 64

    def __init__(self) -> None:
        self.seen: list[Function] = []
        self._vectors: dict[str, np.ndarray] = {}

    def encode_queries(self, queries):
        return np.stack([self._bag(words(query)) for query in queries])

    def encode_functions(self, functions):
        self.seen += functions
        return np.stack([self._bag(words(function.code)) for function in functions])

    def _bag(self, stems):
        total = np.zeros(self.dim, dtype=np.float32)
        for stem in set(stems):
            if stem not in self._vectors:
                seed = int.from_bytes(stem.encode()[:8].ljust(8), "big")
                self._vectors[stem] = np.random.default_rng(seed).standard_normal(self.dim)
            total += self._vectors[stem]
        return total / max(float(np.linalg.norm(total)), 1e-9)


@pytest.fixture
def encoder():
    return BagOfStems()


@pytest.fixture(scope="session")
def library() -> list[Function]:
    """Some 200 documented functions of the standard library."""
    root = Path(sysconfig.get_path("stdlib"))
    found = []
    for name in MODULES:
        result = extract_functions((root / name).read_bytes(), "python", name, "library")
        found += [f for f in result.functions if f.documentation and f.kind == "function"]
    return found


@pytest.fixture(scope="session")
def standard_library_pairs() -> Pairs:
    """Every pair of this Python's standard library; reading it takes seconds, so it is read once."""
    group = standard_library()
    if len(group.paths) < 1500:
        pytest.skip("this Python's standard library came without its tests: another sample")
    return read_pairs([group])
