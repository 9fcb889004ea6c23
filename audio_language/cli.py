"""`kindred tag`, `find-sound`, `timeline`: a folder of recordings tagged and searched, events in a recording."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.errors import DataError

if TYPE_CHECKING:
    from audio_language.collection import Collection
    from audio_language.embed import SoundModel

app = typer.Typer(help="Tag, search and follow sounds.", no_args_is_help=True)

REGISTERED = "models:/audio_temporal@champion"
Model = Annotated[
    str,
    typer.Option(
        help="Folder of a model or of CLAP weights, or models:/NAME@ALIAS.", show_default=REGISTERED
    ),
]
Out = Annotated[Path, typer.Option(help="Folder for the results.")]
Labels = Annotated[
    Path | None, typer.Option(help="Text file with one label a line; the model's own where left out.")
]
Prompt = Annotated[str | None, typer.Option(help="Sentence with {} where the label goes.")]


@app.command()
def tag(
    folder: Annotated[Path, typer.Argument(help="A folder of recordings, or one file.")],
    labels: Labels = None,
    prompt: Prompt = None,
    top: Annotated[int, typer.Option(help="Labels a file.", min=1)] = 3,
    out: Out = Path("sounds"),
    model: Model = REGISTERED,
) -> None:
    """Say what is heard in every recording: tags.csv, embeddings.npy with its index, and what was left out."""
    from audio_language.collection import save_collection, tag_rows, write_rows

    opened = open_model(model)
    found = _embedded(opened, folder, out)
    save_collection(found, out / "embeddings")
    rows = tag_rows(opened, found, labels=_lines(labels), prompt=prompt, top=top)
    write_rows(out / "tags.csv", rows, ("file", "label", "score", "rank"))
    for row in rows:
        if row["rank"] == 1:
            print(f"{row['file']}  {row['label']}  {row['score']:.2f}")
    print(f"{len(found.files)} file(s) tagged: {out / 'tags.csv'}", file=sys.stderr)


@app.command(name="find-sound")
def find_sound(
    query: Annotated[list[str], typer.Argument(help="What it sounds like, in words; several may be given.")],
    folder: Annotated[Path, typer.Option("--in", help="A folder of recordings.")],
    top: Annotated[int, typer.Option(help="Files a query.", min=1)] = 10,
    out: Out = Path("sounds"),
    model: Model = REGISTERED,
) -> None:
    """Find recordings by a sentence, best first: retrieval.csv. A later search reads only new and changed files."""
    from audio_language.collection import load_collection, save_collection, search_rows, write_rows

    opened = open_model(model)
    place = out / "embeddings"
    kept = load_collection(place) if (place / "embeddings.json").is_file() else None
    found = _embedded(opened, folder, out, kept)
    if kept is None or found.fresh or found.seen != kept.seen:
        save_collection(found, place)
    again = len(found.files) - found.fresh
    print(f"{found.fresh} file(s) newly embedded, {again} used again", file=sys.stderr)
    rows = search_rows(opened, found, query, top=top)
    write_rows(out / "retrieval.csv", rows, ("query", "file", "score", "rank"))
    for row in rows:
        lead = f"{row['query']}: " if len(query) > 1 else ""
        print(f"{lead}{row['rank']:>3}  {row['score']:+.3f}  {row['file']}")


@app.command()
def timeline(
    file: Annotated[Path, typer.Argument(help="A recording of any length, or a folder of them.")],
    labels: Labels = None,
    window: Annotated[float | None, typer.Option(help="Seconds looked at at a time.")] = None,
    hop: Annotated[float | None, typer.Option(help="Seconds between two looks.")] = None,
    threshold: Annotated[float, typer.Option(help="Probability from which a label counts.")] = 0.3,
    out: Out = Path("sounds"),
    model: Model = REGISTERED,
) -> None:
    """Say what is heard from when to when: timeline.csv, and a PNG and an HTML page for each recording."""
    from audio_language.audio_file import AudioError
    from audio_language.collection import named_files, write_rows
    from audio_language.figures import timeline_figure
    from audio_language.timeline import timeline as find_events
    from audio_language.timeline import timeline_html, timeline_rows
    from core.files import atomic_write

    opened = open_model(model)
    wanted, (_, files) = _lines(labels), named_files(file)
    rows: list[dict[str, Any]] = []
    for name, path in files.items():
        try:
            found = find_events(opened, path, labels=wanted, window=window, hop=hop, threshold=threshold)
        except AudioError as error:
            if len(files) == 1:
                raise
            print(f"left out: {error}", file=sys.stderr)
            continue
        rows += timeline_rows(name, found)
        timeline_figure(out / f"{name}.timeline.png", found, title=name)
        atomic_write(out / f"{name}.timeline.html", timeline_html(name, found))
    write_rows(out / "timeline.csv", rows, ("file", "start", "end", "label", "score"))
    for row in rows:
        print(f"{row['file']}  {row['start']:9.2f} {row['end']:9.2f}  {row['label']}  {row['score']:.2f}")


def open_model(reference: str) -> SoundModel:
    """The model in a folder, or behind ``models:/NAME@ALIAS``.

    Raises:
        DataError: no such folder. RegistryError: nothing is registered under that name.
    """
    from audio_language.model.folder import load_model
    from core.stage import quiet_environment
    from core.tracking.find import model_folder

    quiet_environment()
    return load_model(model_folder(reference))


def _embedded(model: SoundModel, folder: Path, out: Path, kept: Collection | None = None) -> Collection:
    from audio_language.collection import embed_folder
    from core.data.checks import Quarantine, findings_csv
    from core.files import atomic_write

    quarantine = Quarantine()
    shown = sys.stderr.isatty()

    def progress(done: int, total: int) -> None:
        if shown:
            print(
                f"\r{done:,} of {total:,} files",
                end="\n" if done == total else "",
                file=sys.stderr,
                flush=True,
            )

    try:
        return embed_folder(model, folder, quarantine, kept=kept, progress=progress)
    finally:
        if quarantine.findings:
            atomic_write(out / "report.csv", findings_csv(quarantine.findings))
            left = len(quarantine.offenders)
            print(f"{left} file(s) left out, see {out / 'report.csv'}", file=sys.stderr)


def _lines(path: Path | None) -> list[str] | None:
    if path is None:
        return None
    try:
        found = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"labels {path} cannot be read", seen=str(error)) from None
    if not found:
        raise DataError(f"labels {path}", seen="no label", expected="one label a line")
    return found
