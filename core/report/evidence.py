"""The committed evidence, ``reports/<pipeline>/evidence.json``: a comparison repeated over seeds."""

from __future__ import annotations

import os
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from pydantic import ConfigDict, Field

from core.config import Settings, parse_settings
from core.errors import DataError
from core.files import read_json


class Difference(Settings):
    """Paired difference of two arms over seeds, with its 95 % interval."""

    mean: float | None
    low: float | None = None
    high: float | None = None


class Evidence(Settings):
    """One evidence file. Further keys are allowed and not shown."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, allow_inf_nan=False)

    claim: str
    source: str
    seeds: list[int]
    arms: dict[str, dict[str, list[float | None]]]
    differences: dict[str, dict[str, Difference]] = Field(default_factory=dict)
    primary: str | None = None
    shown: list[str] = Field(default_factory=list)
    minutes: float | None = None
    note: str = ""


def read_evidence(path: str | os.PathLike[str]) -> Evidence:
    """Read one file.

    Raises:
        DataError: naming the key that is wrong.
    """
    raw = read_json(path)
    try:
        return parse_settings(raw, Evidence, origin=Path(path).as_posix())
    except ValueError as error:
        raise DataError(str(error)) from None


def shown_metrics(evidence: Evidence) -> tuple[list[str], list[str]]:
    """(metrics that tables show, the primary first; the others, which the file has).

    >>> one = Evidence(claim="a beats b", source="demo", seeds=[0], arms={"a": {"x": [1.0], "y": [2.0], "z": [3.0]}},
    ...                primary="z", shown=["y"])
    >>> shown_metrics(one)
    (['z', 'y'], ['x'])
    """
    measured = dict.fromkeys(name for values in evidence.arms.values() for name in values)
    first = [evidence.primary] if evidence.primary else []
    wanted = [name for name in dict.fromkeys([*first, *evidence.shown]) if name in measured]
    others = [name for name in measured if name not in wanted]
    return (wanted, others) if evidence.shown else (wanted + others, [])


def evidence_view(evidence: Evidence) -> dict[str, Any]:
    """What the report shows: mean and spread of each arm, and whether each difference is clear of zero.

    >>> one = Evidence(claim="a beats b", source="demo", seeds=[0, 1], arms={"a": {"mrr": [0.5, 0.7]}})
    >>> evidence_view(one)["arms"][0]["cells"][0]["mean"]
    0.6
    """
    metrics, others = shown_metrics(evidence)
    arms = []
    for arm, values in evidence.arms.items():
        cells = []
        for metric in metrics:
            found = [value for value in values.get(metric, []) if value is not None]
            spread = stdev(found) if len(found) > 1 else None
            cells.append({"metric": metric, "mean": fmean(found) if found else None, "spread": spread})
        arms.append({"name": arm, "cells": cells})
    differences = []
    for pair, by_metric in evidence.differences.items():
        for metric, value in by_metric.items():
            clear = value.low is not None and value.high is not None and value.low * value.high > 0
            differences.append({"pair": pair, "metric": metric, **value.model_dump(), "decided": clear})
    return {
        "claim": evidence.claim,
        "source": evidence.source,
        "seeds": len(evidence.seeds),
        "minutes": evidence.minutes,
        "note": evidence.note,
        "metrics": metrics,
        "others": len(others),
        "arms": arms,
        "differences": differences,
    }
