"""The form of a manifest: one list of columns from which it is read, documented, and prepared for filling in."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.data.manifest import read_manifest

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        name: in the header.
        meaning: what goes into a cell, in words for the person who fills it in.
        example: a cell.
        needed: whether the column must be there, and filled unless ``blank``.
        path: cells are files or folders below the data root.
        blank: a needed column whose cells may be empty.
        aliases: other names that a file may give to it.
    """

    name: str
    meaning: str
    example: str = ""
    needed: bool = False
    path: bool = False
    blank: bool = False
    aliases: tuple[str, ...] = ()


ID = Column("id", "a name for the row, different in each", "a1", needed=True)
SPLIT = Column("split", "train, valid or test; left empty in all rows, splits are made by group", "train")


def group(meaning: str, example: str, *aliases: str) -> Column:
    """The column ``group``, in a domain's words: what must never lie in two splits."""
    words = f"{meaning}: rows of one group never lie in two splits; left out or empty in all rows, each row is its own"
    return Column("group", words, example, aliases=aliases)


@dataclass(frozen=True)
class ManifestForm:
    """The columns of a manifest, in the order of the template.

    >>> form = ManifestForm((ID, Column("path", "a picture", "b/1.png", needed=True, path=True), Column("label", "")))
    >>> print(form.template([{"path": "b/1.png", "id": "1"}]), end="")
    id,path,label
    1,b/1.png,
    >>> form.example()
    'id,path,label\\na1,b/1.png,\\n'
    """

    columns: tuple[Column, ...]

    def read(
        self, path: str | os.PathLike[str], *, root: str | os.PathLike[str], **options: Any
    ) -> pd.DataFrame:
        """`core.data.manifest.read_manifest` with these columns; optional ones that the file lacks are "".

        ``options``: its ``splits``, ``fractions`` and ``seed``.
        """
        import pandera.pandas as pa

        own = [column for column in self.columns if column.name not in ("id", "group", "split")]
        plain = {
            column.name: pa.Column(str) if column.blank else str
            for column in own
            if column.needed and not column.path
        }
        table = read_manifest(
            path,
            root=root,
            paths=[column.name for column in own if column.path and column.needed],
            optional_paths=[column.name for column in own if column.path and not column.needed],
            columns=plain,
            aliases={alias: column.name for column in self.columns for alias in column.aliases},
            **options,
        )
        for column in own:
            if column.name not in table:
                table[column.name] = ""
        return table

    def template(self, rows: Sequence[Mapping[str, str]] = ()) -> str:
        """The CSV to be filled in: the header, and ``rows`` with the cells that are known."""
        stream = io.StringIO()
        writer = csv.DictWriter(
            stream, [column.name for column in self.columns], restval="", lineterminator="\n"
        )
        writer.writeheader()
        writer.writerows(rows)
        return stream.getvalue()

    def example(self) -> str:
        """The template with one row of examples."""
        return self.template([{column.name: column.example for column in self.columns}])

    def rows_of(self, folder: Path, patterns: Sequence[str]) -> list[dict[str, str]]:
        """A row for each file or folder below ``folder`` that one of the glob ``patterns`` matches.

        Only the id and the first path column are filled; hidden ones, and folders of which something inside
        matches too, are passed over.
        """
        place = next(column.name for column in self.columns if column.path)
        found = sorted({path for pattern in patterns for path in folder.glob(pattern)})
        below = [path.relative_to(folder) for path in found]
        holders = {parent for path in below for parent in path.parents}
        shown = [
            path
            for path in below
            if path not in holders and not any(part.startswith(".") for part in path.parts)
        ]
        names = [path.name.split(".")[0] for path in shown]
        return [
            {"id": name if names.count(name) == 1 else path.as_posix(), place: path.as_posix()}
            for name, path in zip(names, shown, strict=True)
        ]
