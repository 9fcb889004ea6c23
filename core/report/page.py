"""One self-contained HTML page: every value escaped, every image inside, no script, nothing fetched."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core.errors import KindredError
from core.files import atomic_directory, write_json
from core.report.figures import data_uri
from core.report.gather import gather

TEMPLATE = "page.html.j2"
FOLDER = Path("outputs") / "report"


def build_report(root: str | Path, output: str | Path | None = None) -> dict[str, Any]:
    """Write ``index.html`` and ``summary.json`` over all pipelines below ``root``; returns the summary.

    Args:
        root: repository root.
        output: folder to write, replaced whole; ``outputs/report`` below the root by default.

    A damaged input is listed under ``problems`` and shown on top of the page; the caller decides whether
    that is a failure.
    """
    home = Path(root).absolute()
    summary = {"made": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"), **gather(home)}
    page = render(summary, home)
    with atomic_directory(Path(output) if output is not None else home / FOLDER) as folder:
        (folder / "index.html").write_text(page, encoding="utf-8")
        write_json(folder / "summary.json", summary)
    return summary


def render(summary: dict[str, Any], root: Path) -> str:
    """The page as text. Figures that cannot be shown are added to ``summary["problems"]``."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    images: dict[tuple[str, str], str] = {}
    places = [
        (one["name"], root / "outputs" / one["name"], [figure["file"] for figure in one["figures"]])
        for one in summary["pipelines"]
    ]
    places += [
        (f"evidence/{one['pipeline']}", root / "reports" / one["pipeline"], one["figures"])
        for one in summary["evidence"]
    ]
    for owner, folder, files in places:
        for file in files:
            try:
                images[owner, file] = data_uri(file, folder)
            except KindredError as error:
                summary["problems"].append(str(error))
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "change": change,
        "duration": duration,
        "memory": memory,
        "shown_first": shown_first,
        "bar": bar,
        "cell": cell,
    }
    return environment.get_template(TEMPLATE).render(images=images, **summary)


def number(value: object) -> str:
    """A number as people read it.

    >>> number(0.61234), number(1234567), number(12.345), number(None), number(True)
    ('0.612', '1,234,567', '12.3', '–', 'True')
    """
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) or (value == int(value) and abs(value) >= 10):
        return f"{int(value):,}"
    if not math.isfinite(value):
        return "–"
    size = abs(value)
    if size < 1e-12:  # what is left of a difference of equal numbers
        return "0.000"
    if size >= 1000:
        return f"{value:,.0f}"
    if size >= 1:
        return f"{value:.1f}" if size >= 10 else f"{value:.2f}"
    return f"{value:.3f}" if size >= 0.001 or value == 0 else f"{value:.1e}"


def cell(value: object) -> str:
    """A cell of a free table: numbers as :func:`number`, the rest as text."""
    return number(value) if value is None or isinstance(value, int | float) else str(value)


def change(value: float | None) -> str:
    """A signed difference to the previous run; nothing where there is none.

    >>> change(0.0123), change(-0.5), change(0.0), change(None)
    ('+0.012', '-0.500', '±0', '')
    """
    if value is None:
        return ""
    if abs(value) < 1e-12:
        return "±0"
    return ("+" if value > 0 else "-") + number(abs(value))


def duration(seconds: float | None) -> str:
    """Seconds as minutes and seconds.

    >>> duration(3.21), duration(185.0), duration(None)
    ('3.2 s', '3 min 05 s', '–')
    """
    if seconds is None:
        return "–"
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds // 60)} min {int(seconds % 60):02d} s"


def memory(mib: float | None) -> str:
    """Mebibytes as people read them.

    >>> memory(1200.4), memory(3.2 * 1024), memory(None)
    ('1,200 MiB', '3.2 GiB', '–')
    """
    if mib is None:
        return "–"
    return f"{mib:,.0f} MiB" if mib < 2048 else f"{mib / 1024:.1f} GiB"


def shown_first(
    metrics: list[dict[str, Any]], baseline: str | None, most: int = 12
) -> tuple[list[Any], list[Any]]:
    """The metrics that are shown at once (the primary one, its baseline, the first others), and the rest.

    >>> many = [{"name": str(n), "primary": n == 0} for n in range(20)]
    >>> [len(part) for part in shown_first(many, "19")], shown_first(many, "19")[0][1]["name"]
    ([12, 8], '19')
    """
    top = [one for one in metrics if one["primary"]] + [one for one in metrics if one["name"] == baseline]
    others = [one for one in metrics if one not in top]
    if len(metrics) <= most + 2:
        return [*top, *others], []
    room = most - len(top)
    return [*top, *others[:room]], others[room:]


def bar(metric: dict[str, Any]) -> dict[str, float] | None:
    """Positions in percent of a value and its interval on a 0..1 axis; None for values outside of it."""
    value, low, high = metric["value"], metric["low"], metric["high"]
    if value is None or not 0 <= value <= 1:
        return None
    low, high = (value if low is None else low), (value if high is None else high)
    clipped = [100 * min(max(one, 0.0), 1.0) for one in (value, low, high)]
    return {
        "value": round(clipped[0], 2),
        "low": round(clipped[1], 2),
        "width": round(clipped[2] - clipped[1], 2),
    }
