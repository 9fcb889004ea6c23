"""The result of a pipeline: what its evaluate stage writes to ``outputs/<pipeline>/metrics.json``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from core.config import Settings, parse_settings
from core.errors import DataError
from core.files import read_json, write_json

NO_WIDTH = 1e-9
"""Relative width up to which an interval has none but by rounding."""


class Primary(Settings):
    """The one metric that decides about promotion; ``baseline`` names the metric it is shown against."""

    name: str
    higher_is_better: bool = True
    baseline: str | None = None


class Metric(Settings):
    """One number with its 95 % interval; ``n`` is the number of items it is measured on."""

    label: str
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    baseline: bool = False


class Figure(Settings):
    """An image, by its path below ``outputs/<pipeline>``."""

    file: str
    caption: str = ""


class Table(Settings):
    """A table of the report; cells are text or numbers."""

    title: str
    columns: list[str]
    rows: list[list[Any]]


class Result(Settings):
    """Everything the report, the model card and the promotion gate read about one run of a pipeline.

    ``evaluation_digest`` identifies the items that the primary metric is measured on and how (data, sampling,
    protocol); two versions are compared only when it is equal. Without it ``data_digest`` stands in.
    """

    pipeline: str
    title: str
    source: str
    demo: bool
    data_digest: str
    evaluation_digest: str | None = None
    primary: Primary
    metrics: dict[str, Metric]
    figures: list[Figure] = Field(default_factory=list)
    tables: list[Table] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)

    @property
    def score(self) -> float | None:
        """Value of the primary metric."""
        return self.metrics[self.primary.name].value

    @property
    def comparable(self) -> str:
        """The digest that two results must share to be compared."""
        return self.evaluation_digest or self.data_digest


def parse_result(raw: Mapping[str, Any], *, origin: str) -> Result:
    """Validate plain data as a :class:`Result`.

    Raises:
        DataError: naming the key that is wrong, or the primary metric that is not among the metrics.
    """
    try:
        result = parse_settings(dict(raw), Result, origin=origin)
    except ValueError as error:
        raise DataError(str(error)) from None
    for key, name in (("name", result.primary.name), ("baseline", result.primary.baseline)):
        if name is not None and name not in result.metrics:
            expected = f"one of the metrics: {', '.join(sorted(result.metrics))}"
            raise DataError(f"primary.{key} in {origin}", seen=name, expected=expected)
    return result


def read_result(path: str | os.PathLike[str]) -> Result:
    """Read and validate a ``metrics.json``."""
    raw = read_json(path)
    if not isinstance(raw, dict):
        raise DataError(f"{path}", seen=raw, expected="an object with the keys of core.tracking.Result")
    return parse_result(raw, origin=str(path))


def write_result(path: str | os.PathLike[str], raw: Mapping[str, Any]) -> Path:
    """Validate and write a ``metrics.json``: what could not be read back is not written.

    An interval without width is left out, and a note says so: resampling one group gives the value itself every time,
    which says nothing of how certain it is.
    """
    parse_result(raw, origin=str(path))
    return write_json(path, with_real_intervals(raw))


def with_real_intervals(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The same result, with no ``low`` and ``high`` where they are equal, and a note on those metrics.

    >>> one = {"metrics": {"auc": {"label": "AUC", "value": 0.7, "low": 0.7, "high": 0.7}}}
    >>> found = with_real_intervals(one)
    >>> found["metrics"]["auc"]["low"], found["notes"]
    (None, ['No interval for AUC: all test items belong to one group, or every resample of them gives the same.'])
    """
    metrics = dict(raw["metrics"])
    flat = [name for name, one in metrics.items() if _no_width(one.get("low"), one.get("high"))]
    if not flat:
        return dict(raw)
    metrics |= {name: {**metrics[name], "low": None, "high": None} for name in flat}
    named = ", ".join(metrics[name]["label"] for name in flat)
    note = f"No interval for {named}: all test items belong to one group, or every resample of them gives the same."
    return {**raw, "metrics": metrics, "notes": [*raw.get("notes", []), note]}


def _no_width(low: float | None, high: float | None) -> bool:
    return low is not None and high is not None and high - low <= NO_WIDTH * max(1.0, abs(low))
