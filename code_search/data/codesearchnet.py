"""CodeSearchNet records (jsonl): rows to functions, and the retrieval benchmark of a language folder."""

from __future__ import annotations

import gzip
import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from code_search.data.clean import leak_problem, pair_problem
from code_search.data.extract import strip_comments
from code_search.data.functions import Function
from code_search.data.languages import LANGUAGES
from code_search.data.reading import FileStatus, Pairs
from core.errors import DataError

_LINES = re.compile(r"#L(\d+)(?:-L(\d+))?$")
_REPOSITORY = re.compile(r"^https?://[^/]+/([^/]+/[^/]+)/(?:blob|tree)/[^/]+/([^#]+)")
_TRIPLE_QUOTED = re.compile(r"[rRuUbBfF]{0,2}(?:\"\"\"|''').*?(?:\"\"\"|'''|$)", re.DOTALL)
_COMMENT_SIGNS = {"python": ("#",), "ruby": ("#", "=begin"), "php": ("#", "//", "/*")}
_DEFINITION = re.compile(r"\b(?:def(?: self \.)?|function|func(?: \([^)]*\))?) ([^\W\d]\w*[?!]?) ?")


@dataclass(frozen=True)
class Benchmark:
    """Queries, the index of the one candidate that each asks for, and the candidates."""

    queries: list[str]
    relevant: list[int]
    candidates: list[Function]
    skipped: dict[str, int] = field(default_factory=dict)


def read_benchmark(folder: str | os.PathLike[str], split: str = "test") -> Benchmark:
    """Read ``<folder>/<split>.jsonl`` as queries and, where it exists, ``codebase.jsonl`` as candidates.

    A query is the record's documentation tokens joined by spaces; it asks for the candidate with its url.
    Without a codebase file the split's own functions are the candidates.

    Raises:
        DataError: the file is missing, or no query has its function among the candidates.
    """
    base = Path(folder)
    skipped: Counter[str] = Counter()
    rows = list(_records(_file(base, split), skipped))
    codebase = _optional_file(base, "codebase")
    places: dict[str, int] = {}
    candidates: list[Function] = []
    for record in _records(codebase, skipped) if codebase else rows:
        function = to_function(record, base.name)
        url = str(record.get("url", ""))
        if not function.code or url in places:
            skipped["no code" if not function.code else "repeated url"] += 1
            continue
        places[url] = len(candidates)
        candidates.append(function)
    queries, relevant = [], []
    for record in rows:
        query = _documentation(record)
        place = places.get(str(record.get("url", "")))
        problem = ""
        if not query:
            problem = "query without documentation"
        elif place is None:
            problem = "query without its function"
        else:
            problem = leak_problem(query, candidates[place].code)
        if problem or place is None:
            skipped[problem] += 1
        else:
            queries.append(query)
            relevant.append(place)
    if not queries:
        raise DataError(
            f"{base / split}.jsonl has no query with a candidate",
            seen=dict(skipped),
            expected="rows with docstring_tokens and a url that the candidates have",
        )
    return Benchmark(queries, relevant, candidates, dict(skipped))


def read_training_rows(path: str | os.PathLike[str]) -> Pairs:
    """Read a jsonl file (also .gz) of records with code and documentation; `pair_problem` filters the rows.

    Raises:
        DataError: the file is missing.
    """
    file = Path(path)
    if not file.is_file():
        raise DataError(
            f"{file} is missing", remedy="set data.root to the folder that holds <language>/train.jsonl"
        )
    pairs = Pairs()
    skipped: Counter[str] = Counter()
    for record in _records(file, skipped):
        function = to_function(record, file.parent.name)
        problem = "no code" if not function.code else _row_problem(function)
        if problem:
            pairs.dropped[problem] += 1
        else:
            pairs.functions.append(function)
    pairs.dropped.update(skipped)
    reason = ", ".join(f"{count} rows: {what}" for what, count in sorted(skipped.items()))
    pairs.files.append(FileStatus(file.name, file.parent.name, "partial" if skipped else "ok", reason))
    return pairs


def to_function(record: dict[str, Any], language: str = "python") -> Function:
    """One record as a function; ``code`` is without docstring and comments.

    The text in ``original_string`` or ``code`` is parsed for that; where it does not parse, the record's
    ``code_tokens`` are joined by spaces, comment and triple-quoted tokens left out.

    >>> f = to_function({"url": "https://github.com/a/b/blob/0/c/d.py#L3-L9", "func_name": "C.go",
    ...     "code": "def go(self):\\n    'Move on.'\\n    return 1", "docstring_tokens": ["Move", "on", "."]})
    >>> f.id, f.group, f.documentation, f.code
    ('c/d.py:3-9', 'a/b', 'Move on .', 'def go(self):\\n    return 1')
    """
    language = str(record.get("language") or language)
    url = str(record.get("url") or "")
    source = str(record.get("original_string") or record.get("code") or "")
    place, lines = _REPOSITORY.match(url), _LINES.search(url)
    start = int(lines.group(1)) if lines else 1
    code = _code(record, source, language)
    qualified = str(record.get("func_name") or "") or _defined_name(code)
    return Function(
        language=language,
        path=str(record.get("path") or (place.group(2) if place else _LINES.sub("", url))),
        start=start,
        end=int(lines.group(2) or start) if lines else start + source.count("\n"),
        name=re.split(r"\.|::|->", qualified)[-1],
        qualified=qualified,
        code=code,
        documentation=_documentation(record),
        source=source,
        group=str(record.get("repo") or record.get("nwo") or (place.group(1) if place else "") or url),
    )


def _code(record: dict[str, Any], source: str, language: str) -> str:
    tokens = [str(token) for token in record.get("code_tokens") or []]
    is_joined = bool(tokens) and source == " ".join(tokens)  # its comments would run to the end of the line
    if source and language in LANGUAGES and not is_joined:
        stripped = strip_comments(source, language)
        if stripped is not None:
            return stripped
    signs = _COMMENT_SIGNS.get(language, ("//", "/*"))
    kept = [token for token in tokens or [source] if not token.startswith(signs)]
    text = " ".join(kept)
    return _TRIPLE_QUOTED.sub("", text).strip() if language == "python" else text


def _documentation(record: dict[str, Any]) -> str:
    tokens = record.get("docstring_tokens")
    text = " ".join(map(str, tokens)) if tokens else str(record.get("docstring") or "")
    return " ".join(text.split())


def _defined_name(code: str) -> str:
    match = _DEFINITION.search(code[:200])
    return match.group(1) if match else ""


def _row_problem(function: Function) -> str:
    """The pair filter without the line count, which records on one line cannot pass."""
    return pair_problem(replace(function, end=function.start + max(function.end - function.start, 2)))


def _file(folder: Path, name: str) -> Path:
    found = _optional_file(folder, name)
    if found is None:
        raise DataError(
            f"{folder / name}.jsonl is missing", remedy="set data.root to a CodeSearchNet language folder"
        )
    return found


def _optional_file(folder: Path, name: str) -> Path | None:
    return next((p for p in (folder / f"{name}.jsonl", folder / f"{name}.jsonl.gz") if p.is_file()), None)


def _records(path: Path, skipped: Counter[str]) -> Iterator[dict[str, Any]]:
    opener: Any = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8", errors="replace") as stream:
        for line in stream:
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except json.JSONDecodeError:
                skipped["not JSON"] += 1
                continue
            if isinstance(record, dict):
                yield record
            else:
                skipped["not a JSON object"] += 1
