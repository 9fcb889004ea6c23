"""`kindred index`, `search`, `status`, `explain`: from a repository to places in the code."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.cli.exit_codes import NOTHING_FOUND, STOPPED
from core.errors import DataError

if TYPE_CHECKING:
    from code_search.index.progress import Progress
    from code_search.index.query import Index

app = typer.Typer(help="Search code by meaning and by words.", no_args_is_help=True)

IndexDir = Annotated[Path | None, typer.Option(help="The index folder, where it was chosen by hand.")]
Query = Annotated[str, typer.Argument(help="What the code does, in words; or a piece of code.")]
Where = Annotated[
    str | None, typer.Option("--path", help="A folder, a file or a pattern such as 'src/**/*.py'.")
]
Lang = Annotated[list[str] | None, typer.Option(help="Only this language; may be repeated.")]
Mode = Annotated[str, typer.Option(help="hybrid, dense or lexical.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def index(
    path: Annotated[Path, typer.Argument(help="The folder to index.")] = Path(),
    include: Annotated[
        list[str] | None, typer.Option(help="Only files like this (.gitignore syntax).")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="Not files like this (.gitignore syntax).")
    ] = None,
    max_file_kb: Annotated[int | None, typer.Option(help="Leave out larger files.  [default: 1000]")] = None,
    model: Annotated[
        str | None, typer.Option(help="Folder of an encoder, models:/NAME@ALIAS, or none for words only.")
    ] = None,
    index_dir: IndexDir = None,
) -> None:
    """Make the index of a folder, or bring it up to date; only what changed is read again.

    Words can be searched within seconds, from other terminals too; vectors follow. Stopped or killed, it goes
    on where it was. Patterns, size and model that are not given stay as they were; '' clears the patterns.
    """
    from code_search.index import Options, build_index
    from code_search.index.location import default_location, indexable_root
    from code_search.index.store import Store

    options = None
    if include is not None or exclude is not None or max_file_kb is not None:
        folder = index_dir or default_location(indexable_root(path))
        before = Store(folder).options() or {}
        given = {"include": include, "exclude": exclude, "max_file_kb": max_file_kb}
        options = Options(
            **before | {key: _without_empty(value) for key, value in given.items() if value is not None}
        )
    with _plain_failures("the index"):
        report = build_index(
            path, index_dir=index_dir, model=model, options=options, say=_note, progress=_Bar().show
        )
    seconds = report.seconds_read + report.seconds_embed
    print(
        f"{report.functions:,} functions in {report.files:,} files of {report.root}: "
        f"read {report.read:,} files, computed {report.embedded:,} vectors, {seconds:.1f} s"
    )
    if report.skipped:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in report.skipped.items())
        print(
            f"left out {sum(report.skipped.values()):,} files: {reasons} (named by: kindred status --skipped)"
        )
    for note in report.notes:
        print(f"note: {note}")


@app.command()
def search(
    query: Query,
    path: Where = None,
    lang: Lang = None,
    top: Annotated[int, typer.Option(help="How many results, 1 to 1000.")] = 10,
    mode: Mode = "hybrid",
    as_json: Json = False,
    short: Annotated[bool, typer.Option("--short", help="Places only, no lines of code.")] = False,
    index_dir: IndexDir = None,
) -> None:
    """Find functions: path:start-end, name and score, best first. Exit code 3 where nothing was found."""
    from code_search.index.printing import print_results

    opened, below = _open(path, index_dir)
    with _plain_failures("the search"):
        results = opened.search(query, top, lang=lang, path=below, mode=mode)
    if as_json:
        print(json.dumps({"root": opened.snapshot.root, **results.to_json()}, indent=1))
    else:
        print_results(results, opened.root, short=short)
    if not results:
        raise typer.Exit(NOTHING_FOUND)


@app.command()
def explain(
    query: Query,
    rank: Annotated[int, typer.Option(help="Which result of the search.")] = 1,
    path: Where = None,
    lang: Lang = None,
    mode: Mode = "hybrid",
    as_json: Json = False,
    index_dir: IndexDir = None,
) -> None:
    """Say why a result stands where it does: its two scores, their weights, and the words that matched."""
    from code_search.index.printing import print_explanation

    opened, below = _open(path, index_dir)
    with _plain_failures("the search"):
        why = opened.explain(query, rank, lang=lang, path=below, mode=mode)
    if as_json:
        print(json.dumps(why, indent=1))
    else:
        print_explanation(why)


@app.command()
def status(
    path: Annotated[Path, typer.Argument(help="A folder inside an indexed one.")] = Path(),
    as_json: Json = False,
    skipped: Annotated[bool, typer.Option("--skipped", help="Name every file that was left out.")] = False,
    index_dir: IndexDir = None,
) -> None:
    """Show what the index holds, what was left out and why, and what changed since."""
    from code_search.index.printing import print_status
    from code_search.index.status import index_status

    found = index_status(path, index_dir=index_dir)
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        print_status(found, name_skipped=skipped)


def _open(path: str | None, index_dir: Path | None) -> tuple[Index, str | None]:
    """The index that ``--path`` means, and the filter below its root that is left of it."""
    from code_search.index import open_index

    here = Path(path).expanduser() if path else Path()
    if path and not here.exists():
        return open_index(index_dir=index_dir), path
    opened = open_index(here, index_dir=index_dir)
    if not path or opened.root is None:
        return opened, path
    place, root = here.resolve(), opened.root
    if not place.is_relative_to(root):
        raise DataError("path", seen=str(place), expected=f"a place inside {root}, which the index is of")
    below = place.relative_to(root).as_posix()
    return opened, None if below == "." else f"./{below}".replace("[", "\\[").replace("*", "\\*")


def _without_empty(value: Any) -> Any:
    return [pattern for pattern in value if pattern] if isinstance(value, list) else value


class _Bar:
    """One line on a terminal's stderr that shows how far it is; nothing where stderr is a file."""

    def __init__(self) -> None:
        self.shown = sys.stderr.isatty()

    def show(self, where: Progress) -> None:
        if self.shown:
            verb = "reading" if where.what == "files" else "computing vectors of"
            end = "\n" if where.done >= where.total else ""
            print(
                f"\r{verb} {where.done:,} of {where.total:,} {where.what}",
                end=end,
                file=sys.stderr,
                flush=True,
            )


def _note(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


@contextmanager
def _plain_failures(what: str) -> Iterator[None]:
    """Ctrl-C and a full or read-only disk end with a sentence, as mistakes in the input do."""
    try:
        yield
    except KeyboardInterrupt:
        _note(f"\nstopped; {what} keeps what was done: run the same command to go on")
        raise typer.Exit(STOPPED) from None
    except OSError as error:
        raise DataError(f"{what} failed: {error.strerror or error}", seen=error.filename or "") from None
