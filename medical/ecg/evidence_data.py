"""Prepared data for the evidence, kept in a temporary folder: generated anew for each seed, or read once."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from core.data.checks import Quarantine
from medical.ecg.data.branches import read_branches
from medical.ecg.data.sources import check_items, read_items
from medical.ecg.prepared import Prepared, load_prepared, prepare
from medical.ecg.preprocess import Preprocessing
from medical.ecg.settings import Data, Signal
from medical.ecg.windows import Events, read_events


def evidence_data(data: Data, signal: Signal, seed: int) -> tuple[Prepared, Events]:
    """Read, check and prepare a source; the demo is generated with this seed. Signals end up in memory."""
    preprocessing = Preprocessing(**signal.model_dump(exclude={"standardise"}))
    with tempfile.TemporaryDirectory(prefix="kindred-ecg-") as scratch:
        root, events = str(data.root), Path(scratch)
        if data.source == "demo":
            from medical.ecg.demo import EVENTS_FILE, write_demo

            root = str(write_demo(Path(scratch) / "demo", seed=seed, **data.demo.model_dump()))
            events = Path(root) / EVENTS_FILE
        reading = {"manifest", "rate", "labels", "min_likelihood", "unknown_codes", "folds", "branches"}
        items = read_items(data.source, root, **data.model_dump(include=reading))
        accepted = check_items(items, preprocessing.form, Quarantine(data.on_problem))
        shipped = data.source in ("demo", "ptbxl") or data.branches
        prepare(
            items.only([row["id"] for row in accepted]),
            Path(scratch) / "prepared",
            branches=read_branches(data.branches) if shipped else None,
            preprocessing=preprocessing,
            standardise=signal.standardise,
            min_positives=data.min_positives,
        )
        found = load_prepared(Path(scratch) / "prepared")
        return replace(found, signals=np.array(found.signals)), read_events(events)
