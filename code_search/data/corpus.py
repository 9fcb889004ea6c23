"""The corpus: train, validation and test pairs without duplicates across them, and what was dropped."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from code_search.data.duplicates import exact_key, near_duplicates
from code_search.data.functions import Function
from code_search.data.reading import FileStatus, Pairs
from core.data.splits import check_splits
from core.errors import DataError

EXACT = "same code as another function"
NEAR = "near-duplicate of another function"
IN_TEST = "same or nearly the same code as a test function"
SAME_WORDS = "same documentation as a test function"
_LONG_WORDS = 6


@dataclass(frozen=True)
class Corpus:
    """Pairs by split, the status of every file that was read, and counts of what each rule dropped."""

    train: list[Function]
    valid: list[Function]
    test: list[Function]
    files: list[FileStatus] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)

    def digest(self) -> str:
        """SHA-256 over the place, documentation and code of every pair of every split, in order."""
        total = hashlib.sha256()
        for split in (self.train, self.valid, self.test):
            for function in split:
                total.update(f"{function.id}\0{function.documentation}\0{function.code}\1".encode())
            total.update(b"\2")
        return total.hexdigest()


def assemble(*, train: Pairs, valid: Pairs, test: Pairs, near: float = 0.8) -> Corpus:
    """Take duplicates out, so that no test function is learnt from; test comes first, then valid, then train.

    Within test only exact repeats go (whitespace aside), as in the published protocols. From valid and
    train go near-duplicates (Jaccard >= ``near`` over 5-token shingles) of each other and of test, and pairs
    whose documentation of six or more words is a test function's word for word.

    Raises:
        DataError: a group has functions in two splits, or a split is left empty.
    """
    dropped = train.dropped + valid.dropped + test.dropped
    tests = _without_repeats(test.functions, dropped)
    kept_valid = _without_repeats(valid.functions, dropped)
    kept_train = _without_repeats(train.functions, dropped)
    rest = _without_test(kept_valid + kept_train, tests, dropped)
    codes = [f.code for f in tests] + [f.code for f in rest]
    marked = near_duplicates(codes, near, keep=len(tests))[len(tests) :]
    dropped[NEAR] += int(marked.sum())
    in_valid = {id(function) for function in kept_valid}
    kept = [function for function, drop in zip(rest, marked.tolist()) if not drop]
    corpus = Corpus(
        train=[f for f in kept if id(f) not in in_valid],
        valid=[f for f in kept if id(f) in in_valid],
        test=tests,
        files=train.files + valid.files + test.files,
        dropped=dict(sorted(dropped.items())),
    )
    check_corpus(corpus)
    return corpus


def check_corpus(corpus: Corpus) -> None:
    """Refuse an empty split, a group in two splits, and a test function's code in train or valid.

    Raises:
        DataError: naming the split, the group or the function.
    """
    splits = {"train": corpus.train, "valid": corpus.valid, "test": corpus.test}
    for name, functions in splits.items():
        if not functions:
            raise DataError(
                f"no pairs left in {name}",
                seen=corpus.dropped,
                expected="functions with documentation",
                remedy="add sources to this split",
            )
    pairs = sorted({(f.group, name) for name, functions in splits.items() for f in functions})
    check_splits([group for group, _ in pairs], [name for _, name in pairs])
    keys = {exact_key(function.code): function.id for function in corpus.test}
    for function in corpus.train + corpus.valid:
        where = keys.get(exact_key(function.code))
        if where:
            raise DataError(f"{function.id} is also a test function: {where}", remedy="drop one of them")


def _without_repeats(functions: Iterable[Function], dropped: Counter[str]) -> list[Function]:
    kept: dict[str, Function] = {}
    total = 0
    for function in functions:
        kept.setdefault(exact_key(function.code), function)
        total += 1
    dropped[EXACT] += total - len(kept)
    return list(kept.values())


def _without_test(functions: list[Function], tests: list[Function], dropped: Counter[str]) -> list[Function]:
    codes = {exact_key(function.code) for function in tests}
    words = {text for text in map(_words, tests) if text.count(" ") >= _LONG_WORDS - 1}
    kept = []
    for function in functions:
        if exact_key(function.code) in codes:
            dropped[IN_TEST] += 1
        elif _words(function) in words:
            dropped[SAME_WORDS] += 1
        else:
            kept.append(function)
    return kept


def _words(function: Function) -> str:
    return " ".join(function.documentation.lower().split())
