"""The data card: which data a model was trained and tested on, as validation found them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from core.tracking.card import code, plain
from core.tracking.run import flatten

_COUNTS = ("checked", "accepted", "quarantined", "warnings")
_APART = {*_COUNTS, "mode", "by_kind", "source", "data_digest", "findings"}
MOST_FACTS = 60


def data_card(name: str, validation: Mapping[str, Any]) -> str:
    """Markdown card from ``validation.json``: counts, what was left out and why, what the data hold.

    The items that were left out are counted, never named: their paths and ids may tell of persons.

    Args:
        name: of the model.
        validation: as `core.data.checks.Quarantine.finish` writes it.

    >>> found = {"checked": 3, "accepted": 2, "quarantined": 1, "warnings": 0, "by_kind": {"nan": 1}, "source": "demo",
    ...          "data_digest": "d1", "patients": {"train": 2}, "findings": [{"file": "p7.png"}]}
    >>> print(data_card("ecg", found).splitlines()[6])
    - Items: 3 checked, 2 accepted, 1 quarantined, 0 warnings
    """
    demo = " (generated demo data)" if validation.get("source") == "demo" else ""
    counts = ", ".join(f"{validation[key]} {key}" for key in _COUNTS if key in validation)
    lines = [
        f"# Data of {plain(name)}",
        "",
        "As the pipeline's validation found them; the data themselves are not part of the model.",
        "",
        f"- Source: {plain(validation.get('source', 'not stated'))}{demo}",
        f"- Digest: `{code(str(validation.get('data_digest', 'not stated')))}`",
        f"- Items: {counts or 'not counted'}",
    ]
    kinds = validation.get("by_kind") or {}
    if kinds:
        lines += ["", "## Left out, or worth a look", "", "| reason | items |", "| --- | ---: |"]
        lines += [f"| {plain(kind)} | {count} |" for kind, count in kinds.items()]
    facts = flatten({key: value for key, value in validation.items() if key not in _APART})
    if facts:
        lines += ["", "## What they hold", "", "| fact | value |", "| --- | --- |"]
        lines += [
            f"| {plain(key)} | {plain(_short(value))} |" for key, value in list(facts.items())[:MOST_FACTS]
        ]
        if len(facts) > MOST_FACTS:
            lines += ["", f"{len(facts) - MOST_FACTS} more facts are in the pipeline's `validation.json`."]
    return "\n".join(lines) + "\n"


def _short(value: object) -> object:
    """A list as its length where it is long: it may name items."""
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) > 8:
        return f"{len(value)} values"
    return value
