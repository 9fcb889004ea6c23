"""Own data: a manifest to fill in, the parameters that read it, and a page that says how to go on."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.data.form import ManifestForm
from core.errors import ConfigError, DataError, KindredError
from core.files import disk_trouble

MANIFEST, PARAMS, PAGE = "manifest.csv", "params.yaml", "KINDRED.md"
_KEY = re.compile(r"^( *)([A-Za-z_][A-Za-z0-9_]*):(.*)$")


@dataclass(frozen=True)
class OwnData:
    """What a pipeline says about own data.

    Attributes:
        pipeline: its name.
        form: the columns of the manifest.
        find: glob patterns; each file or folder that matches gets a row.
        settings: dotted keys of the parameters that own data need, besides source, root and manifest.
        decide: dotted key -> what to decide there, in a sentence.
    """

    pipeline: str
    form: ManifestForm
    find: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    decide: Mapping[str, str] = field(default_factory=dict)


def write_scaffold(own: OwnData, folder: Path, params: Path) -> list[Path]:
    """Write the three files into ``folder`` (made where it is missing), from the pipeline's ``params``.

    Returns:
        the files that were written.

    Raises:
        DataError: ``folder`` is no folder, or one of the files is there already: nothing is overwritten.
    """
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder} is a file", expected="the folder that holds your data")
    taken = [name for name in (MANIFEST, PARAMS, PAGE) if (folder / name).exists()]
    if taken:
        raise DataError(
            f"{folder} already holds {', '.join(taken)}",
            remedy="move them away, or go on with them: KINDRED.md says how",
        )
    rows = own.form.rows_of(folder, own.find) if folder.is_dir() else []
    place = folder.absolute()
    chosen = {"source": "manifest", "root": str(place), "manifest": str(place / MANIFEST)}
    values = {**{f"data.{key}": value for key, value in chosen.items()}, **own.settings}
    folder.mkdir(parents=True, exist_ok=True)
    contents = {
        MANIFEST: own.form.template(rows),
        PARAMS: f"# Own data of {own.pipeline}; {PAGE} says how to go on.\n"
        + filled_params(_without_head(params.read_text(encoding="utf-8")), values, drop=("data.demo",)),
        PAGE: page(own, place, len(rows)),
    }
    for name, text in contents.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in contents]


def filled_params(text: str, values: Mapping[str, Any], *, drop: tuple[str, ...] = ()) -> str:
    """YAML with some keys set and some dropped; every other line stays as it is, comments too.

    Args:
        text: sections of keys, indented by two spaces.
        values: dotted keys -> values; keys that ``text`` lacks are added to their section.
        drop: dotted keys that are left out with all below them.

    >>> print(filled_params("data:\\n  source: demo   # a | b\\n  demo:\\n    n: 3\\nseed: 0\\n",
    ...                     {"data.source": "a", "data.root": "/x y"}, drop=("data.demo",)), end="")
    data:
      source: "a"
      root: "/x y"
    seed: 0
    """
    wanted = {
        key: f"{key.rpartition('.')[2]}: {json.dumps(value, ensure_ascii=False)}"
        for key, value in values.items()
    }
    kept: list[tuple[str, str]] = []  # (dotted key of the line, line)
    path: list[str] = []
    for line in text.splitlines():
        match = _KEY.match(line)
        if match:
            path = [*path[: len(match[1]) // 2], match[2]]
        here = ".".join(path)
        known = [key for key in (*drop, *wanted) if here == key or here.startswith(f"{key}.")]
        if not known:
            kept.append((here, line))
        elif match and here in wanted:
            kept.append((here, f"{match[1]}{wanted.pop(here)}"))
    for key, new in wanted.items():
        section = key.rpartition(".")[0]
        inside = [number for number, (here, _) in enumerate(kept) if here.split(".")[0] == section]
        last = [
            number
            for number in inside
            if kept[number][0].startswith(f"{section}.") and kept[number][0] in values
        ]
        if not inside:
            raise ConfigError(f"section {section} of the parameters", expected="to be there")
        kept.insert((last or inside[:1])[-1] + 1, (key, f"  {new}"))
    return "\n".join(line for _, line in kept) + "\n"


def page(own: OwnData, place: Path, rows: int) -> str:
    """The Markdown page: what to fill in, what to decide, and which two commands come next."""
    params = shlex.quote(str(place / PARAMS))
    cells = [
        f"| `{column.name}` | {'yes' if column.needed else 'no'} | {column.meaning} | {_code(column.example)} |"
        for column in own.form.columns
    ]
    found = (
        f" {rows} file(s) have a row already: take out what is no item of its own, such as masks."
        if rows
        else " One row for each item."
    )
    needed = [name for name, value in own.settings.items() if value in ("", [], None)]
    decisions = [
        f"- `{name}`{' (**needed**)' if name in needed else ''}: {words}"
        for name, words in own.decide.items()
    ]
    lines = [
        f"# Own data for {own.pipeline}",
        "",
        f"1. Fill in `{MANIFEST}`.{found} Paths are relative to this folder and stay inside it; optional columns may",
        "   be left empty or taken out.",
        "",
        "| column | needed | what it holds | example |",
        "| --- | --- | --- | --- |",
        *cells,
        "",
        f"2. Look at `{PARAMS}`: the settings of the demo, with your data instead. Sizes and steps are small;",
        f"   raise them once the whole runs (`pipelines/{own.pipeline}/params.paper.yaml` has the published ones).",
        "",
        *decisions,
        *([""] if decisions else []),
        "3. From the repository, check the data. Problems are listed by item in",
        f"   `outputs/{own.pipeline}/validation.csv`; mend them, or leave the items out.",
        "",
        f"       {commands(own, params)[0]}",
        "",
        "4. Run it. The report and the table at the end say how good it is.",
        "",
        f"       {commands(own, params)[1]}",
        "",
        f"`git checkout pipelines/{own.pipeline}/params.yaml` brings the demo's settings back.",
    ]
    return "\n".join(lines) + "\n"


def commands(own: OwnData, params: str) -> tuple[str, str]:
    """What to run next: validation, then the pipeline with these parameters in place of its own."""
    home = f"pipelines/{own.pipeline}/params.yaml"
    return (
        f"kindred validate {own.pipeline} --params {params}",
        f"cp {params} {home} && kindred repro {own.pipeline}",
    )


def main(own: OwnData) -> None:
    """``python -m pipelines.NAME.own FOLDER``, run from the repository root by ``kindred new``."""
    try:
        files = write_scaffold(own, Path(sys.argv[1]), Path("pipelines") / own.pipeline / PARAMS)
    except (KindredError, OSError) as error:
        words = str(error) if isinstance(error, KindredError) else disk_trouble(error)
        if not words:
            raise
        print(f"kindred: {words}", file=sys.stderr)
        sys.exit(2)
    rows = len(files[0].read_text(encoding="utf-8").splitlines()) - 1
    print(f"{files[0]}   {rows} row(s) so far; KINDRED.md beside it explains the columns")
    print(f"{files[1]}   settings of the demo, reading this manifest")
    print("Then, from the repository:")
    for command in commands(own, shlex.quote(str(files[1].absolute()))):
        print(f"  {command}")


def _without_head(text: str) -> str:
    """Without the comment on top, which speaks of the pipeline's default data."""
    lines = text.splitlines()
    while lines and lines[0].startswith("#"):
        lines.pop(0)
    return "\n".join(lines) + "\n"


def _code(text: str) -> str:
    return f"`{text.replace('|', chr(92) + '|')}`" if text else ""
