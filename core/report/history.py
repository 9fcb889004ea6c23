"""The previous run of each pipeline, kept so that the report can say what changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.errors import DataError
from core.files import read_json, write_json
from core.tracking.result import Result

FOLDER = Path(".kindred") / "previous"


def previous_run(root: Path, result: Result, version: int | None) -> dict[str, Any] | None:
    """Remember this result, and return the one before it: its metric values, data digest and model version.

    A result that equals the remembered one changes nothing, so that building the report twice is harmless.
    """
    file = root / FOLDER / f"{result.pipeline}.json"
    current = {
        "values": {name: metric.value for name, metric in result.metrics.items()},
        "data_digest": result.data_digest,
        "evaluation_digest": result.comparable,
        "version": version,
    }
    try:
        kept = read_json(file) if file.exists() else {}
        known = kept.get("current")
        if known == current:
            return kept.get("previous")
    except (DataError, AttributeError):
        known = None  # a damaged memory costs one comparison, not the report
    write_json(file, {"current": current, "previous": known})
    return known


def changes(result: Result, before: dict[str, Any] | None) -> dict[str, float]:
    """Metric name -> value minus previous value, where both are numbers and the evaluation was the same."""
    if not before or before.get("evaluation_digest") != result.comparable:
        return {}
    values = before.get("values", {})
    return {
        name: metric.value - values[name]
        for name, metric in result.metrics.items()
        if metric.value is not None and isinstance(values.get(name), int | float)
    }
