"""Which figures a run gets: AUROC by label, trainings, cases beside their prototypes, sheets of prototypes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.files import write_json
from medical.ecg import figures
from medical.ecg.evaluate import auroc
from medical.ecg.explain import explain, receptive_seconds
from medical.ecg.model.network import PrototypeNetwork
from medical.ecg.prepared import Prepared
from medical.ecg.review import prototype_title, window_seconds


def draw(
    folder: Path,
    prepared: Prepared,
    network: PrototypeNetwork,
    signals: np.ndarray,
    found: Mapping[str, np.ndarray],
    scores: Mapping[str, np.ndarray],
    truth: np.ndarray,
    histories: Mapping[str, Sequence[Mapping[str, float]]],
    *,
    cases: int,
    sheets: int,
    demo: bool,
    threshold: float,
) -> dict[Path, str]:
    """Draw everything into ``folder``; returns path -> caption.

    The AUROC of every label, the trainings, ``cases`` test recordings (their account as JSON, how a logit adds up,
    the recording beside its best prototype), and ``sheets`` prototypes of one label a branch.
    """
    start = "demo data · " if demo else ""
    areas = {name.replace("_", " "): auroc(truth, values) for name, values in scores.items()}
    drawn = {
        figures.auroc_figure(
            folder / "auroc.png",
            prepared.labels,
            areas,
            title=f"{start}AUROC by label, {len(truth)} test recordings",
        ): "AUROC of every label: prototypes, black box, logistic regression",
        figures.training_figure(
            folder / "training.png", histories
        ): "Loss and validation AUROC of the trainings",
    }
    ids = prepared.of("test", "id")
    for case, row in enumerate(_chosen_cases(found["probabilities"], truth, cases)):
        account = explain(network, signals[row : row + 1], ids=[ids[row]], threshold=threshold, raw=False)[0]
        write_json(folder / f"case_{case}.json", account)
        labels = prepared.of("test", "labels")[row]
        drawn |= _case(folder / f"case_{case}", prepared, network, signals[row], account, labels, start)
    if sheets:
        for name, place in network.places().items():
            label = network.branches[name].config.labels[0]  # type: ignore[operator, union-attr, index]
            own = [n for n in range(place.start, place.stop) if label in network.prototypes[n]["classes"]]
            drawn |= _sheet(folder, prepared, network, label, own[:sheets], start)
    return drawn


def _case(
    path: Path,
    prepared: Prepared,
    network: PrototypeNetwork,
    signal: np.ndarray,
    account: Mapping[str, Any],
    labels: Sequence[str],
    start: str,
) -> dict[Path, str]:
    """How a logit adds up, and the recording beside the prototype that gives most to it."""
    fs, name, label = prepared.preprocessing.fs, account["id"], _shown(account)
    said = f"p({label['label']}) = {label['probability']:.2f}"
    title = f"{start}ECG {name}: {said}, logit {label['logit']:+.2f}"
    total = figures.contribution_figure(path.with_name(f"{path.name}_sum.png"), label, title=title)
    best = max(label["contributions"], key=lambda one: one["contribution"])
    prototype = network.prototypes[best["prototype"]]
    branch: Any = network.branches[prototype["branch"]]
    own = None if prototype["branch"] == "global" else (best["start_s"], best["end_s"])
    beside = figures.case_figure(
        path.with_suffix(".png"),
        signal,
        _signal_of(prepared, prototype),
        fs,
        titles=(
            f"{start}test ECG {name} | labels: {', '.join(labels) or 'none'} | {said}",
            prototype_title(best["prototype"], prototype),
        ),
        windows=(own, window_seconds(prototype, fs)),
        caption=figures.CAPTION.format(seconds=receptive_seconds(branch, fs)),
    )
    return {
        total: f"Test ECG {name}: how the logit of {label['label']} adds up",
        beside: f"Test ECG {name} beside the prototype that gave most to {label['label']}",
    }


def _sheet(
    folder: Path,
    prepared: Prepared,
    network: PrototypeNetwork,
    label: str,
    numbers: Sequence[int],
    start: str,
) -> dict[Path, str]:
    """Some prototypes of a label under each other."""
    facts = [network.prototypes[number] for number in numbers]
    path = figures.gallery_figure(
        folder / f"prototypes_{prepared.facts['slugs'][label]}.png",
        [_signal_of(prepared, one) for one in facts],
        prepared.preprocessing.fs,
        titles=[prototype_title(number, one) for number, one in zip(numbers, facts, strict=True)],
        windows=[window_seconds(one, prepared.preprocessing.fs) for one in facts],
        title=f"{start}prototypes of {label} ({facts[0]['branch']} branch)",
    )
    return {path: f"Prototypes of {label}: training recordings, the compared window shaded"}


def _signal_of(prepared: Prepared, prototype: Mapping[str, Any]) -> np.ndarray:
    row = prepared.table.index[prepared.table["id"] == prototype["ecg_id"]][0]
    return np.asarray(prepared.signals[row])


def _shown(account: Mapping[str, Any]) -> dict[str, Any]:
    """The explained label to draw: the likeliest one that the morphology branch drives, else the likeliest."""
    driven = [
        one for one in account["labels"]
        if one["contributions"] and max(one["contributions"], key=lambda c: c["contribution"])["branch"] == "morphology"
    ]  # fmt: skip
    chosen: dict[str, Any] = (driven or account["labels"])[0]
    return chosen


def _chosen_cases(probabilities: np.ndarray, truth: np.ndarray, cases: int) -> list[int]:
    """Recordings to draw: of each label in turn the surest true positive, one with several labels where there is."""
    found: list[int] = []
    for c in range(truth.shape[1]):
        positive = np.flatnonzero(truth[:, c])
        if len(positive):
            row = int(positive[np.argmax(probabilities[positive, c] * (truth[positive].sum(1) > 1))])
            if row not in found:
                found.append(row)
    return found[:cases]
