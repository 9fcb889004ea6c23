"""What a search returns: places in the code, best first, with the scores that put them there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

SNIPPET_LINES = 6
_LONGEST_LINE = 200


@dataclass(frozen=True)
class Result:
    """One function that answers the query.

    Attributes:
        rank: 1 for the best.
        score: what the ranking is by: comparable within one search only.
        score_dense: cosine similarity, None where no vector was used.
        score_lexical: of the words.
        path, start_line, end_line: where it is, relative to the indexed folder; lines from 1, both included.
        name: qualified name.
        lang: language.
        snippet: its first lines.
        state: ``current``; ``moved`` when the file changed and the lines were found again; ``changed`` when
            the file changed and the lines are those of the index; ``unchecked`` when there is no repository
            to compare with.
    """

    rank: int
    score: float
    score_dense: float | None
    score_lexical: float
    path: str
    start_line: int
    end_line: int
    name: str
    lang: str
    snippet: str
    state: str = "current"

    @property
    def place(self) -> str:
        """``path:start-end``."""
        return f"{self.path}:{self.start_line}-{self.end_line}"

    def __str__(self) -> str:
        return f"{self.place}  {self.name}  {self.score:.3f}"

    def __repr__(self) -> str:
        return f"<{self}>"


class Results(list[Result]):
    """A list of `Result`, best first; ``mode`` is the ranking used and ``note`` what to know about it."""

    def __init__(
        self, results: Iterable[Result] = (), *, query: str = "", mode: str = "", note: str = ""
    ) -> None:
        super().__init__(results)
        self.query, self.mode, self.note = query, mode, note

    def to_pandas(self) -> pd.DataFrame:
        """A table with one row a result; the columns are the fields of `Result`, also where there is no row.

        >>> Results().to_pandas().columns.tolist()[:4]
        ['rank', 'score', 'score_dense', 'score_lexical']
        """
        import pandas as pd

        return pd.DataFrame(
            [asdict(result) for result in self], columns=[field.name for field in fields(Result)]
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data: the query, the mode, the note and the results."""
        return {
            "query": self.query,
            "mode": self.mode,
            "note": self.note,
            "results": [asdict(result) for result in self],
        }

    def _repr_html_(self) -> str:
        return self.to_pandas().to_html(index=False)


def first_lines(source: str, above: int = 0, lines: int = SNIPPET_LINES) -> str:
    """Up to ``lines`` lines of ``source`` after leaving out ``above``, tabs kept, long lines cut.

    >>> first_lines("# note\\ndef f():\\n    pass", above=1)
    'def f():\\n    pass'
    """
    kept = source.splitlines()[above : above + lines]
    return "\n".join(line if len(line) <= _LONGEST_LINE else line[: _LONGEST_LINE - 1] + "…" for line in kept)
