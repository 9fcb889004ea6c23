"""From a question to an order of functions: which are asked about, what each scores, which comes first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from code_search.data.languages import language_of
from code_search.index.snapshot import Snapshot
from core.errors import ConfigError, DataError

MODES = ("hybrid", "dense", "lexical")
LONGEST_QUERY = 2000


@dataclass(frozen=True)
class Ranking:
    """Scores of C candidates.

    ``rows`` int (C,) ascending, row numbers of the snapshot; ``score`` float32 (C,) is what the order is
    by; ``dense`` float32 (C,) cosine or None; ``lexical`` float32 (C,) by words.
    """

    rows: np.ndarray
    score: np.ndarray
    dense: np.ndarray | None
    lexical: np.ndarray
    mode: str
    note: str

    def best_first(self) -> Iterator[int]:
        """Candidates by score, of equal scores the lower row first; in lexical mode only those that match.

        Sorts ever larger heads, because nearly always the first few are all that is asked for.
        """
        # Without the zeros, also because finding the head of mostly equal numbers takes ten times as long.
        pool = np.flatnonzero(self.score > 0) if self.mode == "lexical" else np.arange(len(self.score))
        score = self.score[pool]
        done, head = 0, 128
        while done < len(pool):
            chosen = np.arange(len(pool))
            if head < len(pool):
                bound = np.partition(score, len(pool) - head)[len(pool) - head]
                chosen = np.flatnonzero(score >= bound)
            order = pool[chosen[np.argsort(-score[chosen], kind="stable")]]
            yield from (int(place) for place in order[done:])
            done, head = len(order), head * 8


def check_query(query: str) -> str:
    """The query, stripped. Raises DataError where it is no text, empty, or over 2,000 characters."""
    if not isinstance(query, str):
        raise DataError("query", seen=query, expected="a text")
    if len(query) > LONGEST_QUERY:
        raise DataError("query", seen=f"{len(query):,} characters", expected=f"at most {LONGEST_QUERY:,}")
    query = query.encode("utf-8", errors="replace").decode("utf-8").replace("\x00", " ").strip()
    if not query:
        raise DataError("query", seen="nothing", expected="words to search for, such as 'read a csv file'")
    return query


def candidates(snapshot: Snapshot, lang: str | Sequence[str] | None, path: str | None) -> np.ndarray:
    """Row numbers that the filters let through, ascending.

    Raises:
        DataError: a language that no indexed file has.  ConfigError: a path that leaves the root.
    """
    keep = np.ones(len(snapshot), dtype=bool)
    if lang:
        known = snapshot.description.languages
        given = [lang] if isinstance(lang, str) else list(lang)
        wanted = [name if name in known else language_of(f"x.{name}") or name for name in given]
        if unknown := [name for name in wanted if name not in known]:
            raise DataError(
                "language", seen=unknown[0], expected=f"one of {', '.join(known) or 'none indexed'}"
            )
        keep &= np.isin(snapshot.rows[:, 3], [known.index(name) for name in wanted])
    if path and path not in (".", "./"):
        matches = path_filter(path)
        files = np.array([matches(record.path) for record in snapshot.files], dtype=bool)
        keep &= files[snapshot.rows[:, 0]]
    return np.flatnonzero(keep)


def path_filter(pattern: str) -> Callable[[str], bool]:
    """A test of relative paths against a folder, a file or a pattern written as in .gitignore.

    Raises:
        ConfigError: an absolute path or one with ``..``.

    >>> [path_filter("src")(path) for path in ("src/a.py", "lib/src.py")]
    [True, False]
    >>> path_filter("*.go")("cmd/main.go"), path_filter("./main.go")("cmd/main.go")
    (True, False)
    """
    from pathspec import PathSpec

    if (
        not isinstance(pattern, str)
        or PurePosixPath(pattern).is_absolute()
        or ".." in PurePosixPath(pattern).parts
    ):
        raise ConfigError("path", seen=pattern, expected="a folder, file or pattern below the indexed folder")
    escaped = (
        f"\\{pattern}"
        if pattern[0] in "!#"
        else pattern.removeprefix(".")
        if pattern[:2] == "./"
        else pattern
    )
    try:
        return PathSpec.from_lines("gitignore", [escaped]).match_file
    except ValueError:
        raise ConfigError("path", seen=pattern, expected="a pattern written as in .gitignore") from None


def possible_mode(snapshot: Snapshot, mode: str) -> tuple[str, str]:
    """The ranking that the vectors at hand allow, and what the user should know about it ("" where nothing).

    Raises:
        ConfigError: an unknown mode.  DataError: ``dense`` was asked for and there are no vectors.
    """
    if mode not in MODES:
        raise ConfigError("mode", seen=mode, expected=f"one of {', '.join(MODES)}")
    have, total, model = snapshot.vector_count, len(snapshot), snapshot.description.model
    notes = [f"{snapshot.description.pending:,} files are not indexed yet"] * (
        snapshot.description.pending > 0
    )
    if mode == "dense" and not have and total:
        raise DataError(
            "dense search",
            seen="no vectors yet" if model else "an index without a model",
            remedy=f"kindred index {snapshot.root or 'PATH'} --model DIR, or --mode lexical",
        )
    if mode != "lexical" and have < total:
        if have:
            other = "the others are ranked by words only" if mode == "hybrid" else "the others are left out"
            notes.append(f"{have:,} of {total:,} functions have a vector so far; {other}")
        else:
            why = "the vectors are still to be computed" if model else "the index was made without a model"
            notes.append(f"ranked by words only: {why}")
            mode = "lexical"
    elif mode == "hybrid" and not total:
        mode = "lexical"
    return mode, "; ".join(notes)
