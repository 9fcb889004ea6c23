"""What the evaluate stage hands on: numbers with intervals, tables, figures, cases as JSON, prototypes as prints."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.data.checks import disarmed
from core.data.digest import evaluation_digest
from core.evaluation.bootstrap import bootstrap_interval
from core.files import write_json
from medical.ecg.baseline import logistic_scores, simple_features
from medical.ecg.drawing import draw
from medical.ecg.evaluate import auroc, f_max, label_rows, macro_difference, macro_interval, micro_f1
from medical.ecg.explain import receptive_seconds
from medical.ecg.model.network import PrototypeNetwork
from medical.ecg.prepared import Prepared
from medical.ecg.windows import Events, window_rows, window_summary

PRIMARY, BASELINE = "auroc_prototypes", "auroc_black_box"
TITLES = {
    "prototypes": "Prototype network",
    "black_box": "Black box, same backbones",
    "logistic": "Logistic regression",
}


def evaluate(
    prepared: Prepared,
    network: PrototypeNetwork,
    black_box: np.ndarray,
    folder: Path,
    *,
    projection: Mapping[str, Any],
    histories: Mapping[str, Sequence[Mapping[str, float]]],
    events: Events | None = None,
    bootstrap: int = 1000,
    cases: int = 3,
    sheets: int = 3,
    threshold: float = 0.5,
    demo: bool = False,
) -> dict[str, Any]:
    """Score the test recordings, check the highlighted windows, draw, and write everything into ``folder``.

    Args:
        black_box: (n, C) logits of the comparison on the test recordings.
        projection: report of `medical.ecg.learn.stages.project_and_fuse`.
        histories: of the trainings, for a figure.
        events: known evidence windows (demo).

    Returns:
        The part of `core.tracking.Result` that evaluation decides.
    """
    rows = prepared.rows("test")
    truth, patients = prepared.truth("test"), prepared.of("test", "patient")
    signals = np.asarray(prepared.signals[rows])
    found = network.predict(signals, raw=False)
    plain = logistic_scores(
        simple_features(np.asarray(prepared.signals[prepared.rows("train")]), prepared.preprocessing.fs),
        prepared.truth("train"),
        simple_features(signals, prepared.preprocessing.fs),
    )
    scores = {"prototypes": found["logits"], "black_box": black_box, "logistic": plain}
    exact = float(
        np.abs(
            network.contributions(torch.from_numpy(found["similarities"])).sum(-1).numpy()
            + network.bias.numpy()
            - found["logits"]
        ).max()
    )
    windows = window_rows(
        network, signals, truth, prepared.of("test", "id"), threshold=threshold, events=events
    )
    metrics = _metrics(scores, truth, patients, found["probabilities"], bootstrap, exact, projection)
    metrics |= _window_metrics(windows, bootstrap)
    _write_tables(folder, prepared, network, found, truth, windows)
    drawn = draw(
        folder, prepared, network, signals, found, scores, truth, histories, cases=cases, sheets=sheets, demo=demo,
        threshold=threshold,
    )  # fmt: skip
    return {
        "evaluation_digest": evaluation_digest(
            prepared.of("test", "id"),
            truth,
            protocol={"labels": prepared.labels, "data": prepared.facts["digest"]},
        ),
        "primary": {"name": PRIMARY, "higher_is_better": True, "baseline": BASELINE},
        "metrics": metrics,
        "figures": [
            {"file": f"evaluation/{path.name}", "caption": caption} for path, caption in drawn.items()
        ],
        "tables": [_label_table(prepared, truth, scores), _projection_table(projection)],
        "notes": _notes(prepared, network, truth, windows, projection, demo),
    }


def _metrics(
    scores: Mapping[str, np.ndarray],
    truth: np.ndarray,
    patients: Sequence[Any],
    probabilities: np.ndarray,
    bootstrap: int,
    exact: float,
    projection: Mapping[str, Any],
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, values in scores.items():
        found[f"auroc_{name}"] = {
            "label": f"{TITLES[name]}, macro AUROC",
            **macro_interval(truth, values, patients, samples=bootstrap),
            "baseline": name != "prototypes",
        }
    for name in ("black_box", "logistic"):
        found[f"gain_{name}"] = {
            "label": f"Macro AUROC, prototypes less {TITLES[name].lower()}",
            **macro_difference(truth, scores["prototypes"], scores[name], patients, samples=bootstrap),
        }
    best, at = f_max(truth, probabilities)
    found["f_max"] = {"label": f"Micro F1 at its best threshold ({at:.2f})", "value": best, "n": len(truth)}
    found["f1"] = {"label": "Micro F1 at 0.5", "value": micro_f1(truth, probabilities), "n": len(truth)}
    area, weight = auroc(truth, scores["prototypes"]), truth.sum(0)
    usable = ~np.isnan(area)
    if usable.any():
        weighted = float((area[usable] * weight[usable]).sum() / weight[usable].sum())
        found["auroc_weighted"] = {"label": "AUROC weighted by positives", "value": weighted, "n": len(truth)}
    found["labels_scored"] = {"label": "Labels with both outcomes in test", "value": float(usable.sum())}
    found["sum_error"] = {"label": "Largest |logit - sum of contributions|", "value": exact, "n": len(truth)}
    parts = projection["branches"].values()
    drop = [one["auroc_after"] - one["auroc_before"] for one in parts]
    if drop and not np.isnan(drop).any():
        found["projection_change"] = {
            "label": "Change of validation AUROC by projection",
            "value": float(np.mean(drop)),
        }
    total = sum(one["prototypes"] for one in parts)
    repeated = sum(one["duplicate_rate"] * one["prototypes"] for one in parts) / total
    found["duplicate_rate"] = {
        "label": "Prototypes that repeat another",
        "value": float(repeated),
        "n": total,
    }
    return found


def _window_metrics(rows: Sequence[dict[str, Any]], bootstrap: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    summary = window_summary(rows)
    ids = [row["id"] for row in rows]
    lowers = "True positives where covering the window lowers the logit"
    names: dict[str, tuple[str, str, Callable[[dict[str, Any]], bool]]] = {
        "covered": ("window_covers", "True positives whose window covers the event", _covers),
        "lowered": ("occlusion_lowers", lowers, lambda row: row["drop"] > 0),
        "lowered_more": ("occlusion_specific", "... by more than covering as much elsewhere", _specific),
    }
    for key, (name, label, of) in names.items():
        if key in summary:
            low, high = bootstrap_interval([float(of(row)) for row in rows], ids, bootstrap)
            found[name] = {"label": label, "value": summary[key], "low": low, "high": high, "n": len(rows)}
    if "chance" in summary:
        label = "... where the window is put at random"
        found["window_chance"] = {
            "label": label,
            "value": summary["chance"],
            "n": len(rows),
            "baseline": True,
        }
    return found


def _covers(row: dict[str, Any]) -> bool:
    return bool(row["overlap"] >= 0.5)


def _specific(row: dict[str, Any]) -> bool:
    return bool(row["drop"] > row["control_drop"])


def _write_tables(
    folder: Path,
    prepared: Prepared,
    network: PrototypeNetwork,
    found: Mapping[str, np.ndarray],
    truth: np.ndarray,
    windows: Sequence[dict[str, Any]],
) -> None:
    import pandas as pd

    frame = pd.DataFrame(found["probabilities"], columns=prepared.labels)
    frame.insert(0, "id", prepared.of("test", "id"))
    disarmed(frame).to_csv(folder / "probabilities.csv", index=False, float_format="%.6f")
    rows = label_rows(prepared.labels, truth, found["probabilities"])
    for label, counts in prepared.facts["left_out"].items():
        rows.append({"label": label, "n_pos": counts["test"], "auroc": None, "auprc": None})
    disarmed(pd.DataFrame(rows)).to_csv(folder / "labels.csv", index=False)
    disarmed(pd.DataFrame(windows)).to_csv(folder / "windows.csv", index=False)
    write_json(folder / "prototypes.json", network.prototypes)


def _label_table(prepared: Prepared, truth: np.ndarray, scores: Mapping[str, np.ndarray]) -> dict[str, Any]:
    areas = {name: auroc(truth, values) for name, values in scores.items()}
    rows = [
        [
            label,
            int(truth[:, c].sum()),
            *(None if np.isnan(a[c]) else round(float(a[c]), 3) for a in areas.values()),
        ]
        for c, label in enumerate(prepared.labels)
    ]
    rows += [
        [f"{label} (left out)", counts["test"], None, None, None]
        for label, counts in prepared.facts["left_out"].items()
    ]
    return {
        "title": "AUROC by label",
        "columns": ["label", "positives", *(TITLES[n] for n in areas)],
        "rows": rows,
    }


def _projection_table(projection: Mapping[str, Any]) -> dict[str, Any]:
    keys = (
        "prototypes",
        "duplicate_rate",
        "auroc_before",
        "auroc_after",
        "auroc_classifier",
        "score_mean",
        "score_min",
    )
    rows = [
        [name, *(round(one[key], 4) if one[key] == one[key] else None for key in keys)]
        for name, one in projection["branches"].items()
    ]
    return {"title": "Projection on training recordings", "columns": ["branch", *keys], "rows": rows}


def _notes(
    prepared: Prepared,
    network: PrototypeNetwork,
    truth: np.ndarray,
    windows: Sequence[dict[str, Any]],
    projection: Mapping[str, Any],
    demo: bool,
) -> list[str]:
    skipped = [label for c, label in enumerate(prepared.labels) if not 0 < truth[:, c].sum() < len(truth)]
    branch: Any = next(iter(network.branches.values()))
    seconds = receptive_seconds(branch, prepared.preprocessing.fs)
    fusion = projection["fusion"]
    notes = [
        "Intervals are 95 %, by patient; labels without both outcomes in the test recordings are not averaged.",
        f"Fusion: penalty {fusion['penalty']} by validation, {fusion['weights_used']} of {fusion['weights']} weights.",
        f"A highlighted window is where the evidence is centred; one feature step sees {seconds:.1f} s of signal.",
    ]
    if demo:
        notes.insert(0, "Generated data: these numbers say that the pipeline works, nothing about patients.")
    if skipped:
        notes.append(f"Not averaged: {', '.join(skipped)}.")
    if prepared.left_out:
        notes.append(f"Left out for want of training recordings: {', '.join(prepared.left_out)}.")
    if windows:
        summary = window_summary(windows)
        notes.append(
            f"Covering the highlighted window lowers the logit by {summary['drop']:.2f} on average, covering as much "
            f"elsewhere by {summary['control_drop']:.2f} ({len(windows)} true positives)."
        )
    return notes
