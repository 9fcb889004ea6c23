"""Whether the highlighted window is where the evidence is: on recordings whose evidence windows are known."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medical.ecg.explain import best_prototype, occlusion_check, window_of
from medical.ecg.model.network import PrototypeNetwork

Events = Mapping[tuple[str, str], tuple[float, float]]
BRANCH = "morphology"


def read_events(path: str | os.PathLike[str]) -> dict[tuple[str, str], tuple[float, float]]:
    """(ecg_id, label) -> (start, end) in seconds from ``demo_events.csv``; empty where there is no such file."""
    import pandas as pd

    place = Path(path)
    if not place.is_file():
        return {}
    table = pd.read_csv(place, dtype={"ecg_id": str, "label": str})
    return {(row.ecg_id, row.label): (row.start_s, row.end_s) for row in table.itertuples()}


@torch.inference_mode()
def window_rows(
    network: PrototypeNetwork,
    signals: np.ndarray,
    targets: np.ndarray,
    ids: Sequence[str],
    *,
    threshold: float = 0.5,
    events: Events | None = None,
    labels: Sequence[str] | None = None,
    most: int = 400,
) -> list[dict[str, Any]]:
    """One row a true positive of a label that the morphology branch explains.

    The highlighted window is where the label's best contributing prototype was found.

    Args:
        signals: (N, 12, T) preprocessed. targets: (N, C). ids: of the recordings.
        events: known evidence; labels without any are looked at for occlusion only.
        labels: among the branch's; those of ``events`` by default, all where there are none.
        most: rows.

    Returns:
        ``id``, ``label``, ``start_s``, ``end_s``; ``drop``, ``control_drop`` of `occlusion_check`; with an event
            ``overlap`` (share of the event inside the window), ``centred`` (its middle is), ``chance`` (how
            likely a window placed at random has half of the event).
    """
    if BRANCH not in network.branches:
        return []
    branch: Any = network.branches[BRANCH]
    events = events or {}
    known = (
        labels or sorted({label for _, label in events} & set(branch.config.labels)) or branch.config.labels
    )
    fs, samples = network.preprocessing.fs, network.preprocessing.samples
    found: list[dict[str, Any]] = []
    for row, name in enumerate(ids):
        present = [label for label in known if targets[row, network.labels.index(label)]]
        if not present or len(found) >= most:
            continue
        x = torch.from_numpy(np.array(signals[row], dtype=np.float32))
        similar, windows = network.similarities(x[None])
        logits, parts = network.logits(similar)[0], network.contributions(similar)[0]
        for label in present:
            c = network.labels.index(label)
            if float(logits[c].sigmoid()) < threshold:
                continue
            window = window_of(network, best_prototype(network, parts, c, BRANCH), windows, 0)
            start, end = window["start"], window["end"]
            one = {"id": str(name), "label": label, "start_s": start / fs, "end_s": end / fs}
            one |= occlusion_check(network, x, c, start, end, seed=row)
            event = events.get((str(name), label))
            if event:
                one |= _placement(start, end, event[0] * fs, event[1] * fs, samples)
            found.append(one)
    return found


def window_summary(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Shares over rows: ``covered`` (half of the event or more inside), ``centred``, ``chance``, ``lowered`` (of
    the rows, occlusion lowers the logit), ``lowered_more`` (by more than elsewhere), mean ``drop`` and
    ``control_drop``.
    """
    found: dict[str, float] = {"n": float(len(rows))}
    placed = [row for row in rows if "overlap" in row]
    if placed:
        found["covered"] = float(np.mean([row["overlap"] >= 0.5 for row in placed]))
        found["centred"] = float(np.mean([row["centred"] for row in placed]))
        found["chance"] = float(np.mean([row["chance"] for row in placed]))
    if rows:
        drop = np.array([row["drop"] for row in rows])
        control = np.array([row["control_drop"] for row in rows])
        found["lowered"] = float(np.mean(drop > 0))
        found["lowered_more"] = float(np.mean(drop > control))
        found["drop"], found["control_drop"] = float(drop.mean()), float(np.nanmean(control))
    return found


def _placement(start: int, end: int, low: float, high: float, samples: int) -> dict[str, float]:
    def share(at: float) -> float:
        return max(0.0, min(high, at + end - start) - max(low, at)) / (high - low)

    places = range(samples - (end - start) + 1)
    return {
        "overlap": share(start),
        "centred": float(start <= (low + high) / 2 < end),
        "chance": float(np.mean([share(at) >= 0.5 for at in places])),
    }
