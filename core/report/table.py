"""What `make repro` prints at its end: the results, and where everything lies."""

from __future__ import annotations

import shlex
import sqlite3
from pathlib import Path
from typing import Any

from core.files import read_json
from core.report.page import FOLDER, number
from core.tracking.store import database_file, tracking_uri


def result_table(summary: dict[str, Any]) -> str:
    """One line a metric, aligned, as plain text; demo results are called that.

    >>> print(result_table({"pipelines": [], "not_run": ["code_search"]}))
    No pipeline has run yet. Not run: code_search
    """
    if not summary["pipelines"]:
        return f"No pipeline has run yet. Not run: {', '.join(summary['not_run']) or 'none defined'}"
    blocks = []
    for one in summary["pipelines"]:
        data = "demo data" if one["demo"] else one["source"]
        rows = [("", "value", "95 % interval", "n")]
        for metric in one["metrics"]:
            name = ("* " if metric["primary"] else "  ") + metric["label"]
            interval = "" if metric["low"] is None else f"{number(metric['low'])} to {number(metric['high'])}"
            baseline = " (baseline)" if metric["baseline"] else ""
            rows.append(
                (
                    name + baseline,
                    number(metric["value"]),
                    interval,
                    number(metric["n"]) if metric["n"] else "",
                )
            )
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        lines = [_printable(f"{one['title']} ({data})")]
        for row in rows:
            cells = [
                row[0].ljust(widths[0]),
                *(text.rjust(width) for text, width in zip(row[1:], widths[1:])),
            ]
            lines.append(_printable("  ".join(cells).rstrip()))
        model = one["model"]
        if model:
            lines.append(
                _printable(
                    f"  model: {model['name']} v{model['version']} {model['alias']} ({model['reason']})"
                )
            )
        blocks.append("\n".join(lines))
    if summary["not_run"]:
        blocks.append(f"Not run: {', '.join(summary['not_run'])}")
    return "\n\n".join(blocks)


def whereabouts(root: Path, summary: dict[str, Any]) -> str:
    """Paths of the report, the command that opens MLflow, and the URIs of the models."""
    lines = [f"report     {root / FOLDER / 'index.html'}", "MLflow UI  make ui"]
    uri = tracking_uri(root)
    lines.append(f"           or: mlflow ui --backend-store-uri {shlex.quote(uri)}")
    for one in summary["pipelines"]:
        if one["model"]:
            lines.append(f"model      {one['model']['model_uri']}   (make serve PIPELINE={one['name']})")
            if not in_registry(uri, one["model"]["name"], one["model"]["version"]):
                lines.append(
                    "           which the registry does not hold any more; register it again: "
                    f"dvc repro -f -s pipelines/{one['name']}/dvc.yaml:register"
                )
    return "\n".join(lines)


def print_results(root: str | Path) -> None:
    """Print the table and the whereabouts from the last report's ``summary.json``."""
    home = Path(root).absolute()
    summary = read_json(home / FOLDER / "summary.json")
    print(f"\n{result_table(summary)}\n\n{whereabouts(home, summary)}")
    for problem in summary["problems"]:
        print(_printable(f"problem: {problem}"))


def in_registry(uri: str, name: str, version: int) -> bool:
    """Whether a SQLite registry holds the version; True for other stores, which are not asked.

    DVC believes a model to be registered as long as ``registered.json`` is there, even after the database was
    deleted.
    """
    file = database_file(uri)
    if file is None:
        return True
    if not file.exists():
        return False
    try:
        with sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True) as connection:
            query = "SELECT 1 FROM model_versions WHERE name = ? AND version = ?"
            return connection.execute(query, (name, version)).fetchone() is not None
    except sqlite3.Error:
        return True


def _printable(text: str) -> str:
    """Without control characters: a label must not move the cursor or colour the terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
