"""What the evaluate stage hands on: numbers, tables, figures, and report.html."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.data.digest import evaluation_digest
from core.files import atomic_write
from medical.ct.coverage import height_deciles, kept_by, warnings_of
from medical.ct.evaluate import classification
from medical.ct.figures import (
    NAMES,
    coverage_figure,
    curve_figure,
    downstream_figure,
    gallery_figure,
    training_figure,
)
from medical.ct.images import Load
from medical.ct.index import slice_name
from medical.ct.page import image_address, png_address, render
from medical.ct.select import METHODS

if TYPE_CHECKING:
    import pandas as pd

HOW = {"probe": "linear probe", "finetuned": "fine-tuned"}
METRICS = {"auc": "AUC", "f1": "F1", "accuracy": "accuracy"}
_THUMB = 128


def evaluate(
    table: pd.DataFrame,
    series: pd.DataFrame,
    folder: Path,
    *,
    selection: Mapping[str, Any],
    curve: Sequence[Mapping[str, Any]],
    hashing: Mapping[str, Any],
    rejected: pd.DataFrame,
    runs: Mapping[str, Any],
    probes: Mapping[str, Mapping[str, np.ndarray]],
    load: Load,
    demo: bool,
    digest: str,
    bootstrap: int,
    gallery: int,
    seed: int,
) -> dict[str, Any]:
    """Everything that is reported about one selection.

    Args:
        table: slices with columns of `medical.ct.workflow.with_selection`. series: of `series_table`.
        folder: existing folder, named ``evaluation`` below the pipeline's outputs in the end.
        selection, curve, hashing, rejected, runs, probes: what the stages before wrote.
        load: reads small images of rows, for the gallery.
        digest: of the data. bootstrap: resamples. gallery: number of groups shown.

    Returns:
        The part of `core.tracking.Result` that evaluation decides.
    """
    keep, labels = table["kept"].to_numpy(bool), table["label"].to_numpy()
    volumes, positions = table["series"].to_numpy(str), table["z_mm"].to_numpy(float)
    ratio, method = float(keep.mean()), str(selection["method"])
    notes = warnings_of(keep, volumes, positions, labels)
    metrics, primary, identity = _metrics(table, probes, runs, bootstrap, seed, ratio)
    deciles = kept_by(keep, height_deciles(volumes, positions))
    facts = series.set_index("series").loc[volumes]
    known = labels >= 0
    groups = {
        "label": kept_by(keep[known], labels[known]),
        "scanner": _named(kept_by(keep, facts["scanner"].to_numpy(str))),
        "region": _named(kept_by(keep, facts["region"].to_numpy(str))),
    }
    pairs = example_pairs(table, gallery, rising=METHODS[method].rising, load=load)
    chosen = int(selection["threshold"]) if method == "dhash" else None
    figures = {
        curve_figure(folder / "curve.png", curve, chosen=chosen, demo=demo): "Kept share by hash threshold",
        coverage_figure(folder / "coverage.png", deciles, groups, overall=ratio, demo=demo): (
            "Kept share by height in the body, label and scanner"
        ),
        gallery_figure(folder / "gallery.png", pairs, measure=method, demo=demo): (
            "Kept slices, and the removed slice least like each"
        ),
        downstream_figure(folder / "downstream.png", metrics, runs, demo=demo): (
            "Downstream AUC after pretraining on all and on kept slices, and the time that took"
        ),
        training_figure(
            folder / "training.png", runs, demo=demo
        ): "Loss and effective rank of both pretrainings",
    }
    tables = [
        _curve_table(curve),
        _group_table("Kept share by tenth of the body, from the feet", deciles),
        *(_group_table(f"Kept share by {name}", rows) for name, rows in groups.items() if rows),
        _group_table("Kept share by volume", kept_by(keep, volumes)),
        _speed_table(hashing, runs),
        _rejected_table(rejected),
    ]
    overlap = set(table.loc[table["split"] == "train", "patient"]) & set(
        table.loc[table["split"] == "test", "patient"]
    )
    shared = f"Patients both in pretraining and in the test: {len(overlap)}."
    listed = [{"file": f"evaluation/{path.name}", "caption": caption} for path, caption in figures.items()]
    atomic_write(
        folder / "report.html",
        render(
            demo=demo, kept=int(keep.sum()), slices=len(keep), ratio=ratio, method=method,
            threshold=float(selection["threshold"]), warnings=notes, shared=shared, pairs=pairs, tables=tables,
            figures=[{"data": png_address(path.read_bytes()), "caption": caption} for path, caption in figures.items()],
        ),
    )  # fmt: skip
    return {
        "evaluation_digest": evaluation_digest([digest], identity, protocol={"primary": primary["name"]}),
        "primary": primary,
        "metrics": metrics,
        "figures": listed,
        "tables": tables,
        "notes": [*notes, shared],
    }


def example_pairs(table: pd.DataFrame, count: int, *, rising: bool, load: Load) -> list[dict[str, Any]]:
    """Spread over the groups by size: a kept slice, the removed one least like it, the size of its group.

    Args:
        rising: whether a higher score means more alike.
    """
    lost = table[~table["kept"] & (table["representative"] >= 0)]
    if not len(lost):
        return []
    sign = 1 if rising else -1
    worst = (
        lost.assign(order=sign * lost["score"])
        .sort_values("order", kind="stable")
        .groupby("representative")
        .head(1)
    )
    worst = worst.sort_values(["order", "series", "slice"], kind="stable")
    picked = worst.iloc[np.unique(np.linspace(0, len(worst) - 1, min(count, len(worst))).astype(int))]
    kept = table.iloc[picked["representative"].to_numpy()]
    above, below = load(kept, _THUMB), load(picked, _THUMB)
    return [
        {
            "kept": above[number],
            "removed": below[number],
            "kept_data": image_address(above[number]),
            "removed_data": image_address(below[number]),
            "score": float(picked["score"].iloc[number]),
            "size": int(kept["group_size"].iloc[number]),
            "name": slice_name(kept.iloc[number]),
        }
        for number in range(len(picked))
    ]


def _metrics(
    table: pd.DataFrame,
    probes: Mapping[str, Mapping[str, np.ndarray]],
    runs: Mapping[str, Any],
    bootstrap: int,
    seed: int,
    ratio: float,
) -> tuple[dict[str, Any], dict[str, Any], list[int]]:
    """(metrics, primary, what was scored): AUC of the probe where there are labels, else the rank."""
    found: dict[str, Any] = {}
    patients = table["patient"].to_numpy(str)
    truth: list[int] = []
    for name, scores in probes.items():
        for how in HOW:
            if how not in scores:
                continue
            truth = [int(one) for one in scores["truth"]]
            scored = classification(truth, scores[how], patients[scores["test"]], bootstrap, seed)
            for metric, one in scored.items():
                found[f"{metric}_{how}_{name}"] = {
                    "label": f"{METRICS[metric]}, {HOW[how]}, pretrained on {NAMES[name]}",
                    "value": one.value, "low": one.low, "high": one.high, "n": one.n, "baseline": name == "full",
                }  # fmt: skip
    plain = {
        "kept_ratio": ("kept share of the slices", ratio, len(table)),
        "speed_up": (
            "pretraining time, all over kept slices",
            runs["full"]["seconds"] / max(runs["reduced"]["seconds"], 1e-9), 1,
        ),
        "rank_reduced": ("effective rank, kept slices", float(probes["reduced"]["diagnostics"][1]), len(table)),
        "rank_full": ("effective rank, all slices", float(probes["full"]["diagnostics"][1]), len(table)),
    }  # fmt: skip
    found |= {name: {"label": label, "value": value, "n": n} for name, (label, value, n) in plain.items()}
    lesions = table["label"].to_numpy() > 0
    if lesions.any():
        share = float((~table["kept"].to_numpy(bool))[lesions].mean())
        found["labelled_removed"] = {
            "label": "share of labelled slices removed", "value": share, "n": int(lesions.sum())
        }  # fmt: skip
    if truth:
        return found, {"name": "auc_probe_reduced", "baseline": "auc_probe_full"}, truth
    return found, {"name": "rank_reduced", "baseline": "rank_full"}, []


def _named(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["group"]]


def _curve_table(curve: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    columns = ["threshold", "kept", "ratio", "lowest", "median", "highest"]
    rows = [[_short(row[name]) for name in columns] for row in curve]
    return {"title": "Kept share by hash threshold, and over volumes", "columns": columns, "rows": rows}


def _group_table(title: str, rows: Sequence[Mapping[str, Any]], most: int = 40) -> dict[str, Any]:
    shown = [[row["group"], row["slices"], row["kept"], _short(row["ratio"])] for row in rows[:most]]
    more = f" (the first {most} of {len(rows)})" if len(rows) > most else ""
    return {"title": title + more, "columns": ["group", "slices", "kept", "ratio"], "rows": shown}


def _speed_table(hashing: Mapping[str, Any], runs: Mapping[str, Any]) -> dict[str, Any]:
    rows = [
        [
            "hashing",
            hashing["slices"],
            "",
            hashing["seconds"],
            f"{hashing['series_hashed_now']} series hashed now",
        ]
    ]
    for name in NAMES:
        run = runs[name]
        rows.append(
            [f"pretraining, {NAMES[name]}", run["slices"], run["steps"], round(run["seconds"], 2),
             f"{run['seconds_reading']} s of reading"]
        )  # fmt: skip
    return {"title": "Speed", "columns": ["what", "slices", "steps", "seconds", "note"], "rows": rows}


def _rejected_table(rejected: pd.DataFrame) -> dict[str, Any]:
    rows = [[kind, len(part), part["file"].iloc[0]] for kind, part in rejected.groupby("kind", sort=True)]
    return {"title": "Left out", "columns": ["reason", "files or slices", "first"], "rows": rows}


def _short(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value
