"""Which branch explains which label, and names of labels that are safe in files and metrics."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from core.errors import ConfigError, DataError

BRANCHES = ("rhythm", "morphology", "global")
SHIPPED = Path(__file__).with_name("branches.yaml")
_SUPER = {"NORM": "global"}
_SUB = {"NORM": "global", "_AVB": "rhythm"}


def read_branches(path: str | os.PathLike[str] | None = None) -> dict[str, list[str]]:
    """Branch -> its labels in order, from a YAML file; the shipped grouping of the 71 SCP codes by default.

    Raises:
        ConfigError: no mapping of branch names to lists, an unknown branch, a label in two branches.

    >>> {branch: len(codes) for branch, codes in read_branches().items()}
    {'rhythm': 16, 'morphology': 52, 'global': 3}
    """
    import yaml

    place = Path(path) if path is not None else SHIPPED
    try:
        raw = yaml.safe_load(place.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"branch map {place}", seen=str(error), expected="a YAML file") from None
    if not isinstance(raw, dict) or not all(isinstance(codes, list) for codes in raw.values()):
        raise ConfigError(f"branch map {place}", expected=f"lists of labels under {', '.join(BRANCHES)}")
    unknown = sorted(set(map(str, raw)) - set(BRANCHES))
    if unknown:
        raise ConfigError(f"branch map {place}: branches", seen=unknown, expected=", ".join(BRANCHES))
    found = {branch: [str(code) for code in raw.get(branch, [])] for branch in BRANCHES}
    everything = [code for codes in found.values() for code in codes]
    twice = sorted({code for code in everything if everything.count(code) > 1})
    if twice:
        raise ConfigError(f"branch map {place}: labels in two places", seen=twice, expected="each once")
    return found


def assign_branches(
    labels: Sequence[str], branches: Mapping[str, Sequence[str]] | None, *, kind: str = "codes"
) -> dict[str, list[str]]:
    """Branch -> the given labels that it explains, in the order of the map; branches without any are left out.

    Args:
        labels: all labels of a model.
        branches: the map; None: one branch (``morphology``) explains everything.
        kind: "superdiagnostic" or "subdiagnostic": the labels are classes of codes, and NORM is global, AV
            blocks are rhythm, all others morphology.

    Raises:
        DataError: a label that the map does not hold.

    >>> assign_branches(["NORM", "SR", "PVC"], read_branches())
    {'rhythm': ['SR'], 'morphology': ['PVC'], 'global': ['NORM']}
    """
    if kind in ("superdiagnostic", "subdiagnostic"):
        rule = _SUPER if kind == "superdiagnostic" else _SUB
        chosen = {label: rule.get(label, "morphology") for label in labels}
        groups = {branch: [label for label in labels if chosen[label] == branch] for branch in BRANCHES}
    elif branches is None:
        groups = {"morphology": list(labels)}
    else:
        known = {code for codes in branches.values() for code in codes}
        lost = [label for label in labels if label not in known]
        if lost:
            raise DataError(
                "labels in no branch",
                seen=lost[:10],
                expected="each label in one branch of the branch map",
                remedy="add them to a file of your own and name it in data.branches",
            )
        wanted = set(labels)
        groups = {branch: [code for code in branches[branch] if code in wanted] for branch in branches}
    return {branch: codes for branch, codes in groups.items() if codes}


def label_slugs(labels: Sequence[str]) -> dict[str, str]:
    """Label -> a name that is safe as file and as metric name, distinct for distinct labels.

    >>> label_slugs(["LAO/LAE", "PRC(S)", "NST_"])
    {'LAO/LAE': 'LAO_LAE', 'PRC(S)': 'PRC_S', 'NST_': 'NST_'}
    """
    slugs: dict[str, str] = {}
    for label in labels:
        base = re.sub(r"[^A-Za-z0-9_.-]+", "_", label)
        base = (base if base.endswith("_") and label.endswith("_") else base.rstrip("_")) or "label"
        slug, number = base, 2
        while slug in slugs.values():
            slug, number = f"{base}_{number}", number + 1
        slugs[label] = slug
    return slugs
