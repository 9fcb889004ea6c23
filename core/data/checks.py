"""Validation: read every item once, list each offender with file, row and reason, then leave out or stop."""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from core.errors import ConfigError, DataError, KindredError
from core.files import atomic_write, write_json

if TYPE_CHECKING:
    import pandas as pd

Mode = Literal["quarantine", "stop"]
_FORMULA = ("=", "+", "-", "@", "\t", "\n")


@dataclass(frozen=True)
class Finding:
    """One thing found: ``level`` is "quarantined" or "warning", ``kind`` a short fixed word to count by."""

    file: str
    row: int | None
    level: str
    kind: str
    reason: str


class Quarantine:
    """The list of what a validation found; its mode says whether offenders are left out or stop the run.

    Args:
        mode: "quarantine" leaves offenders out and goes on; "stop" raises once all items were read and the
            list is written, so that one run shows every offender.
        largest_share: with "quarantine", stop all the same where more than this share of the items offends.

    >>> found = Quarantine()
    >>> with found.item("a.png", row=2):
    ...     raise DataError("the image is constant")
    >>> found.add("b.png", "unreadable", "truncated after 10 bytes", row=3)
    >>> [finding.kind for finding in found.offenders]
    ['invalid', 'unreadable']
    >>> print(found.table())
    kind        items  first
    invalid         1  a.png (row 2): the image is constant
    unreadable      1  b.png (row 3): truncated after 10 bytes
    """

    def __init__(self, mode: Mode = "quarantine", largest_share: float = 0.5) -> None:
        if mode not in ("quarantine", "stop"):
            raise ConfigError("validation mode", seen=mode, expected="quarantine or stop")
        if not 0 <= largest_share <= 1:
            raise ConfigError("largest share of quarantined items", seen=largest_share, expected="0 to 1")
        self.mode, self.largest_share = mode, largest_share
        self.findings: list[Finding] = []

    def add(self, file: object, kind: str, reason: str, *, row: int | None = None) -> None:
        """List an offender: its file, a short fixed word to count by, and the reason in words."""
        self.findings.append(Finding(str(file), row, "quarantined", kind, reason))

    def warn(self, file: object, kind: str, reason: str, *, row: int | None = None) -> None:
        """List something worth knowing about an item that stays."""
        self.findings.append(Finding(str(file), row, "warning", kind, reason))

    def item(self, file: object, *, row: int | None = None, kind: str = "invalid") -> _Item:
        """A ``with`` block around the reading of one item: user errors and unreadable files are listed."""
        return _Item(self, file, row, kind)

    @property
    def offenders(self) -> list[Finding]:
        """The quarantined findings."""
        return [finding for finding in self.findings if finding.level == "quarantined"]

    def table(self) -> str:
        """Counts by kind with the first case of each, as text of aligned columns."""
        counts = Counter(finding.kind for finding in self.findings)
        first = {finding.kind: finding for finding in reversed(self.findings)}
        wide = max([len("kind"), *map(len, counts)])
        lines = [f"{'kind':<{wide}}  items  first"]
        for kind, count in counts.most_common():
            case = first[kind]
            place = f"{case.file} (row {case.row})" if case.row is not None else case.file
            mark = "" if case.level == "quarantined" else " (warning)"
            lines.append(f"{kind:<{wide}}  {count:>5}  {place}: {case.reason}{mark}")
        return "\n".join(lines)

    def finish(
        self,
        folder: str | os.PathLike[str],
        *,
        checked: int,
        facts: dict[str, Any] | None = None,
        say: Callable[[str], None] = print,
    ) -> dict[str, Any]:
        """Write ``validation.json`` and ``validation.csv`` into ``folder``, print the table, then judge.

        Args:
            checked: number of items that were read.
            facts: what else the validation learned (counts by split, digests), added to the JSON.

        Returns:
            What was written to the JSON: checked, accepted, quarantined, warnings, mode, by_kind, facts,
                findings.

        Raises:
            DataError: nothing was checked or accepted; any offender in mode "stop"; too large a share
                otherwise.
        """
        out = Path(folder)
        files = {(finding.file, finding.row) for finding in self.offenders}
        report = {
            "checked": checked,
            "accepted": checked - len(files),
            "quarantined": len(files),
            "warnings": len(self.findings) - len(self.offenders),
            "mode": self.mode,
            "by_kind": dict(Counter(finding.kind for finding in self.findings).most_common()),
            **(facts or {}),
            "findings": [asdict(finding) for finding in self.findings],
        }
        write_json(out / "validation.json", report)
        atomic_write(out / "validation.csv", findings_csv(self.findings))
        say(f"{checked} item(s) read, {len(files)} quarantined, {report['warnings']} warning(s)")
        if self.findings:
            say(self.table())
        self._judge(len(files), checked, out)
        return report

    def _judge(self, count: int, checked: int, out: Path) -> None:
        if checked == 0:
            raise DataError(
                "validation: no item was found", remedy="check data.source, data.root and the manifest"
            )
        stop = self.mode == "stop" and count > 0
        if not stop and count < checked and count <= self.largest_share * checked:
            return
        first = self.offenders[0]
        place = f"{first.file} (row {first.row})" if first.row is not None else first.file
        raise DataError(
            f"validation: {count} of {checked} item(s) cannot be used, the first is {place}: {first.reason}",
            expected="none (mode stop)" if stop else f"at most {self.largest_share:.0%}, and one item left",
            remedy=f"see {out / 'validation.csv'}; correct or remove these items"
            + (", or set the mode to quarantine" if stop else ""),
        )


class _Item:
    def __init__(self, quarantine: Quarantine, file: object, row: int | None, kind: str) -> None:
        self.quarantine, self.file, self.row, self.kind = quarantine, file, row, kind

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        if isinstance(error, FileNotFoundError):
            self.quarantine.add(self.file, "missing", "the file is not there", row=self.row)
        elif isinstance(error, KindredError):
            self.quarantine.add(self.file, self.kind, str(error), row=self.row)
        elif isinstance(error, (OSError, ValueError, EOFError, UnicodeError)):
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
            self.quarantine.add(self.file, "unreadable", reason, row=self.row)
        else:
            return False
        return True


def findings_csv(findings: Iterable[Finding]) -> str:
    """The findings as CSV; cells that a spreadsheet would run as a formula are disarmed by a leading quote.

    >>> print(findings_csv([Finding("=cmd()", 2, "warning", "name", "odd")]), end="")
    file,row,level,kind,reason
    '=cmd(),2,warning,name,odd
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["file", "row", "level", "kind", "reason"])
    for finding in findings:
        cells = [finding.file, "" if finding.row is None else finding.row, finding.level, finding.kind]
        writer.writerow([disarm(cell) for cell in [*cells, finding.reason]])
    return out.getvalue()


def disarm(cell: Any) -> Any:
    """A text that a spreadsheet would run as a formula gets a leading quote; anything else stays as it is.

    A carriage return becomes a line feed: Python's CSV writer leaves it bare, and a spreadsheet begins a row there.

    >>> disarm("=HYPERLINK(1)"), disarm("a = b"), disarm(-1.5)
    ("'=HYPERLINK(1)", 'a = b', -1.5)
    """
    if not isinstance(cell, str):
        return cell
    cell = cell.replace("\r\n", "\n").replace("\r", "\n")
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def disarmed(table: pd.DataFrame) -> pd.DataFrame:
    """The table with `disarm` applied to every text, the column names too: for a CSV that people open."""
    texts = table.select_dtypes(exclude=["number", "bool"]).columns
    return table.assign(**{str(name): table[name].map(disarm) for name in texts}).rename(columns=disarm)


def duplicates(digests: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """(name, name of the first with the same content) for each repeat among (name, digest) pairs.

    >>> list(duplicates([("a", "1"), ("b", "2"), ("c", "1")]))
    [('c', 'a')]
    """
    first: dict[str, str] = {}
    for name, digest in digests:
        if digest in first:
            yield name, first[digest]
        else:
            first[digest] = name
