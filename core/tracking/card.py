"""The model card: what was trained on what, how good it is, and what it must not be used for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from core.tracking.result import Metric, Result
from core.tracking.run import flatten

MODEL_CARD, DATA_CARD = "model_card.md", "data_card.md"
LONGEST_DESCRIPTION = 5000
"""What MLflow's tables hold; SQLite does not mind more, PostgreSQL and MySQL do."""
_MARKUP = re.compile(r"([\\`*_{}\[\]<>|#])")


def model_card(
    name: str,
    result: Result,
    *,
    params: Mapping[str, Any],
    limits: Sequence[str],
    weights_sha256: str,
    provenance: Mapping[str, str] | None = None,
) -> str:
    """Markdown card generated from the result, the parameters and the stated limits; nothing typed by hand.

    Text from data (labels, notes, sources) is escaped, so that it cannot add headings, links or HTML.
    """
    kind = "generated demo data: the figures show that the pipeline works, not how good it is in the field"
    lines = [
        f"# {plain(result.title)}",
        "",
        f"Model `{name}`, weights SHA-256 `{weights_sha256}`.",
        "",
        "## Data",
        "",
        f"- Source: {plain(result.source)}" + (f" ({kind})" if result.demo else ""),
        f"- Digest: `{code(result.data_digest)}`; evaluated on `{code(result.comparable)}`",
        "",
        "## Results",
        "",
        "| Metric | Value | 95 % interval | n |",
        "| --- | ---: | :---: | ---: |",
        *(_row(key, metric, result.primary.name) for key, metric in result.metrics.items()),
        "",
        f"Promotion is decided by {plain(result.metrics[result.primary.name].label)} "
        f"({'higher' if result.primary.higher_is_better else 'lower'} is better).",
    ]
    if result.notes:
        lines += ["", "## Notes", "", *(f"- {plain(note)}" for note in result.notes)]
    stated = [f"- {plain(limit)}" for limit in limits] or ["- None were stated; treat every use as untested."]
    lines += ["", "## Limits", "", *stated]
    lines += ["", "## Parameters", "", "| Name | Value |", "| --- | --- |"]
    lines += [f"| {plain(key)} | {plain(value)} |" for key, value in flatten(params).items()]
    if provenance:
        lines += [
            "",
            "## Provenance",
            "",
            *(f"- {plain(key)}: `{code(value)}`" for key, value in provenance.items()),
        ]
    return "\n".join(lines) + "\n"


def excerpt(card: str, longest: int = LONGEST_DESCRIPTION) -> str:
    """The card as a version's description: whole lines, and where the rest is.

    >>> print(excerpt("# A" + chr(10) + "line " * 20 + chr(10) + "last", longest=70))
    # A
    <BLANKLINE>
    Cut here: the whole card is model_card.md of the run.
    """
    if len(card) <= longest:
        return card
    rest = f"\n\nCut here: the whole card is {MODEL_CARD} of the run."
    return card[: card.rindex("\n", 0, longest - len(rest) + 1)] + rest


def _row(key: str, metric: Metric, primary: str) -> str:
    label = (
        plain(metric.label)
        + (" (baseline)" if metric.baseline else "")
        + (" **primary**" if key == primary else "")
    )
    interval = "" if metric.low is None or metric.high is None else f"{metric.low:.4g} to {metric.high:.4g}"
    value = "not a number" if metric.value is None else f"{metric.value:.4g}"
    return f"| {label} | {value} | {interval} | {metric.n or ''} |"


def plain(value: object) -> str:
    """Text in one line, with Markdown and HTML signs escaped."""
    return _MARKUP.sub(r"\\\1", " ".join(str(value).split()))


def code(value: str) -> str:
    """Text for between backticks."""
    return " ".join(value.split()).replace("`", "'")
