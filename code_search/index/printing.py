"""Results on a terminal, or, where the output is a pipe, as lines for other programs: ``path:line:text``."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from code_search.index.result import Results

_CODES = {"path": "35", "name": "1", "score": "32", "line": "2", "state": "33"}
_STATES = {"moved": "moved since the index was made", "changed": "the file changed since: lines may be off"}


def print_results(results: Results, root: Path | None, *, short: bool = False) -> None:
    """``path:start-end  name  score`` and some lines of each result; notes go to stderr.

    Paths are relative to the working folder where that is inside the repository, so that they can be opened.
    """
    _survive_odd_names()
    if results.note:
        print(f"note: {results.note}", file=sys.stderr)
    if not results:
        print("nothing found", file=sys.stderr)
    colour, tty = _colours(), sys.stdout.isatty()
    safe = _without_controls if tty else str
    for result in results:
        path = safe(_shown(result.path, root))
        place = colour(f"{path}:{result.start_line}-{result.end_line}", "path")
        state = _STATES.get(result.state, "")
        tail = colour(f"  ({state})", "state") if state else ""
        print(f"{place}  {colour(safe(result.name), 'name')}  {colour(f'{result.score:.3f}', 'score')}{tail}")
        if short:
            continue
        for number, line in enumerate(result.snippet.split("\n"), start=result.start_line):
            text = safe(line)
            print(f"{colour(f'{number:6d} |', 'line')} {text}" if tty else f"{path}:{number}:{text}")
        if tty:
            print()


def print_explanation(why: dict[str, Any]) -> None:
    """The parts of one score, a line each."""
    _survive_odd_names()
    how = f"{why['mode']}, {why['candidates']:,} candidates"
    print(f"{why['place']}  {why['name']}  {why['score']:.3f}  ({how})")
    dense, lexical, weights = why["dense"], why["lexical"], why["weights"]
    if dense:
        share = f", weight {weights['dense']:.3g}" if "dense" in weights else ""
        print(f"  by meaning: cosine {dense['score']:.3f}, place {dense['rank']:,}{share}")
    print(f"  by words:   score {lexical['score']:.3f}, place {lexical['rank']:,}")
    for word, part in lexical["words"].items():
        print(f"    {word:<20} {part:6.3f}")
    for word, part in lexical["translated"].items():
        print(f"    {word:<20} {part:6.3f}  (by words that go with it)")
    if not lexical["words"]:
        print("    no word of the query occurs in it")
    if why["note"]:
        print(f"note: {why['note']}", file=sys.stderr)


def print_status(status: dict[str, Any], *, name_skipped: bool = False) -> None:
    """What an index holds, a line a fact."""
    _survive_odd_names()
    languages = ", ".join(f"{name} {count:,}" for name, count in status["languages"].items())
    print(f"index of      {status['root'] or '(made elsewhere)'}")
    print(f"kept in       {status['index']} ({status['mib']:g} MiB)")
    total = f"{status['functions']:,}"
    print(f"holds         {total} functions in {status['files']:,} files ({languages or 'none'})")
    model = status["model"]
    if model is None:
        print("vectors       none: made without a model, ranks by words")
    else:
        name = model["reference"] or "an encoder at hand"
        print(f"vectors       {status['vectors']:,} of {total}, by {name} {model['digest'][:12]}")
    if status["pending"]:
        print(f"to be read    {status['pending']:,} files: run kindred index")
    if status["partial"]:
        print(f"syntax errors {len(status['partial']):,} files; what parses is in the index")
    for reason, paths in status["skipped"].items():
        print(f"left out      {len(paths):,} {reason}")
        for path in paths if name_skipped else ():
            print(f"                {path}")
    if status["changed"] is None:
        print("since then    unknown: the folder is not there")
        return
    counts = [f"{len(status[key]):,} {key}" for key in ("changed", "new", "gone") if status[key]]
    print(
        f"since then    {', '.join(counts)}: run kindred index" if counts else "since then    nothing changed"
    )


def _shown(path: str, root: Path | None) -> str:
    if root is None:
        return path
    here = Path.cwd()
    if here == root:
        return path
    return os.path.relpath(root / path, here) if here.is_relative_to(root) else str(root / path)


def _colours() -> Any:
    on = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return lambda text, kind: f"\x1b[{_CODES[kind]}m{text}\x1b[0m" if on else text


def _without_controls(text: str) -> str:
    """Text of a file must not move the cursor or change the colours of a terminal."""
    return "".join(letter if letter.isprintable() or letter == "\t" else "\ufffd" for letter in text)


def _survive_odd_names() -> None:
    """A file name that is no UTF-8 is shown escaped instead of ending the program."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
