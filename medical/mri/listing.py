"""The list of usable volumes, from validation to preparation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from core.data.digest import digest_of
from core.files import read_json, write_json
from medical.mri.data.case import SPLITS, Case, Listing
from medical.mri.data.checks import Reading

Facts = Mapping[str, Mapping[str, Any]]


def save_listing(path: Path, listing: Listing, facts: Facts, reading: Reading) -> None:
    """Write the cases, what is known of each, and how they are read."""
    write_json(
        path,
        {
            "structures": list(listing.structures),
            "label_map": sorted(listing.label_map.items()),
            "reading": asdict(reading),
            "cases": [asdict(case) for case in listing.cases],
            "facts": facts,
        },
    )


def load_listing(path: Path) -> tuple[Listing, dict[str, dict[str, Any]], Reading]:
    """Read what `save_listing` wrote."""
    raw = read_json(path)
    cases = tuple(Case(**case) for case in raw["cases"])
    labels = {int(value): int(name) for value, name in raw["label_map"]}
    return Listing(cases, tuple(raw["structures"]), labels), raw["facts"], Reading(**raw["reading"])


def validation_facts(listing: Listing, facts: Facts, reading: Reading) -> dict[str, Any]:
    """What the validation report says of the whole set."""
    cases = listing.cases
    lost = [one["foreground_lost"] for one in facts.values() if "foreground_lost" in one]
    return {
        "data_digest": digest_of(
            [[case.id, case.group, case.split, bool(case.label), facts[case.id]["digest"]] for case in cases],
            asdict(reading),
        ),
        "structures": list(listing.structures),
        "volumes": {split: sum(case.split == split for case in cases) for split in SPLITS},
        "labelled": {
            split: sum(case.split == split and bool(case.label) for case in cases) for split in SPLITS
        },
        "patients": {split: len({case.group for case in cases if case.split == split}) for split in SPLITS},
        "slices": sum(one["depth"] for one in facts.values()),
        "spacing": dict(
            Counter(" x ".join(f"{mm:g}" for mm in one["spacing"]) for one in facts.values()).most_common(5)
        ),
        "largest_anisotropy": max((one["anisotropy"] for one in facts.values()), default=None),
        "bias_corrected": reading.bias_correction,
        "largest_share_of_foreground_lost": max(lost, default=None),
        **listing.facts,
    }
