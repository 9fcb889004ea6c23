"""What the evaluate stage hands on: numbers, tables, figures, a CSV of patients, and masks as NIfTI files."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.data.checks import disarm
from core.data.digest import evaluation_digest
from core.errors import DataError
from core.evaluation.bootstrap import bootstrap_difference, bootstrap_interval
from core.files import atomic_write
from medical.mri.data.checks import read_image
from medical.mri.data.nifti import write_mask
from medical.mri.evaluate import Scored, score_volumes
from medical.mri.figures import labels_figure, learning_figure, overlay_figure, position_figure
from medical.mri.model import load_model
from medical.mri.prepared import Prepared
from medical.mri.runs import PRETRAINED, RANDOM, SELF_TRAINING, Run

FOLDER = "evaluation"
"""What the folder is called in the end, below the pipeline's outputs."""


def evaluate(
    prepared: Prepared,
    runs: Sequence[Run],
    models: Path,
    encoders: Mapping[str, Path],
    folder: Path,
    *,
    served: Run,
    histories: Mapping[str, Sequence[Mapping[str, float]]],
    bootstrap: int,
    demo: bool,
) -> dict[str, Any]:
    """Score every run on the test volumes, in the voxels of their files.

    Args:
        runs: what was fine-tuned; ``models`` holds a network's folder for each.
        encoders: name -> network folder, whose embeddings of the test slices are drawn.
        folder: existing; gets ``patients.csv``, ``masks/`` and the figures.
        served: the run whose masks and distances are reported.
        histories: of the two pretrainings.
        bootstrap: resamples of patients.

    Returns:
        The part of `core.tracking.Result` that evaluation decides.
    """
    test = prepared.volumes("test", labelled=True)
    scores: dict[str, list[Scored]] = {}
    for run in runs:
        net, _, _ = load_model(models / run.name, size=prepared.size, classes=prepared.classes)
        scores[run.name] = score_volumes(net, prepared, test, distances=run == served)
    own = [one for one in scores[served.name] if np.isfinite(one.mean_dice)]
    if not own:
        raise DataError("test volumes", seen="no structure in any mask", expected="at least one")
    groups = [one.case.group for one in own]
    points = [_point(run, scores[run.name], bootstrap) for run in runs]
    metrics = {f"dice_{p['init']}_{p['labelled']}": _dice_metric(p) for p in points}
    metrics |= _gains(runs, scores, bootstrap)
    for index, name in enumerate(prepared.structures):
        metrics |= _structure(name, index, own, groups, bootstrap)
    _write_patients(folder / "patients.csv", {run: scores[run.name] for run in runs}, prepared.structures)
    for one in own:
        write_mask(folder / "masks" / f"{one.case.id}.nii.gz", one.found, one.geometry)
    figures = _figures(folder, prepared, runs, points, own, encoders, histories, demo)
    digest = evaluation_digest(
        [one.case.id for one in own],
        [int(one.truth.sum(dtype=np.int64)) for one in own],
        protocol={"space": "native", "structures": list(prepared.structures)},
    )
    baseline = f"dice_{RANDOM}_{served.labelled}"
    return {
        "evaluation_digest": digest,
        "primary": {
            "name": f"dice_{served.init}_{served.labelled}",
            "higher_is_better": True,
            "baseline": baseline if baseline in metrics else None,
        },
        "metrics": metrics,
        "figures": figures,
        "tables": [_run_table(points, scores), _structure_table(own, prepared.structures)],
        "notes": [
            f"Dice is of whole volumes in the voxels of the files, mean over structures, then over {len(own)} test "
            "volumes; intervals resample patients.",
            "A structure that is absent from reference and answer counts nowhere; one that is absent from the "
            "reference only counts as Dice 0.",
            f"The served network: {served.init.replace('_', '-')}, {served.labelled} labelled volume(s).",
        ],
    }


def _point(run: Run, scored: Sequence[Scored], samples: int) -> dict[str, Any]:
    kept = [one for one in scored if np.isfinite(one.mean_dice)]
    values = [one.mean_dice for one in kept]
    low, high = bootstrap_interval(values, [one.case.group for one in kept], samples)
    return {
        "init": run.init, "labelled": run.labelled, "value": float(np.mean(values)), "low": low, "high": high,
        "n": len(values),
    }  # fmt: skip


def _dice_metric(point: Mapping[str, Any]) -> dict[str, Any]:
    labels = f"{point['labelled']} labelled volume{'s' if point['labelled'] != 1 else ''}"
    start = {RANDOM: "random start", PRETRAINED: "pretrained"}.get(
        point["init"], point["init"].replace("_", "-")
    )
    return {
        "label": f"Dice, {start}, {labels}",
        "value": point["value"], "low": point["low"], "high": point["high"], "n": point["n"],
        "baseline": point["init"] == RANDOM,
    }  # fmt: skip


def _gains(runs: Sequence[Run], scores: Mapping[str, Sequence[Scored]], samples: int) -> dict[str, Any]:
    """Pretrained, and self-trained after that, minus random with the same labels, paired by patient."""
    names = {(run.init, run.labelled): run.name for run in runs}
    found = {}
    for count, init in product(sorted({run.labelled for run in runs}), (PRETRAINED, SELF_TRAINING)):
        pair = [scores.get(names.get((one, count), "")) for one in (init, RANDOM)]
        if pair[0] is None or pair[1] is None:
            continue
        both = [(a, b) for a, b in zip(*pair) if np.isfinite(a.mean_dice) and np.isfinite(b.mean_dice)]  # type: ignore[arg-type]
        value, low, high = bootstrap_difference(
            [a.mean_dice for a, _ in both],
            [b.mean_dice for _, b in both],
            [a.case.group for a, _ in both],
            samples,
        )
        key = f"gain_{count}" if init == PRETRAINED else f"gain_{init}_{count}"
        found[key] = {
            "label": f"Dice, {init.replace('_', '-')} minus random start, {count} labelled",
            "value": value, "low": low, "high": high, "n": len(both),
        }  # fmt: skip
    return found


def _structure(
    name: str, index: int, own: Sequence[Scored], groups: Sequence[str], samples: int
) -> dict[str, Any]:
    found = {}
    for key, title in (("dice", "Dice"), ("hd95", "95 % Hausdorff distance (mm)")):
        values = np.array([getattr(one, key)[index] for one in own])
        there = np.isfinite(values)
        if there.any():
            kept = [group for group, ok in zip(groups, there) if ok]
            low, high = bootstrap_interval(values[there], kept, samples)
            mean = float(values[there].mean())
            found[f"{key}_{name}"] = {
                "label": f"{title}, {name}", "value": mean, "low": low, "high": high, "n": int(there.sum())
            }  # fmt: skip
    return found


def _figures(
    folder: Path,
    prepared: Prepared,
    runs: Sequence[Run],
    points: Sequence[Mapping[str, Any]],
    own: Sequence[Scored],
    encoders: Mapping[str, Path],
    histories: Mapping[str, Sequence[Mapping[str, float]]],
    demo: bool,
) -> list[dict[str, str]]:
    mark = " (demo data)" if demo else ""
    ranked = sorted(own, key=lambda one: one.mean_dice, reverse=True)
    picked = {"best": ranked[0], "median": ranked[len(ranked) // 2], "worst": ranked[-1]}
    chosen = {word: (one, read_image(one.case, prepared.reading)[0].voxels) for word, one in picked.items()}
    rows, position = slice_embeddings(prepared, encoders)
    made = {
        labels_figure(folder / "labels.png", points, title=f"Few labels{mark}"): (
            "Dice on the test patients against the number of labelled volumes"
        ),
        overlay_figure(
            folder / "overlays.png",
            chosen,
            prepared.structures,
            title=f"Best, median and worst patient{mark}",
        ): "Reference and answer of the served network in the best, the median and the worst test volume",
        position_figure(folder / "position.png", rows, position, title=f"Slices of test volumes{mark}"): (
            "Embeddings of the test slices, coloured by their place in the volume"
        ),
        learning_figure(
            folder / "learning.png", histories, [run.to_json() for run in runs], title=f"Learning{mark}"
        ): "Losses of the two pretrainings and validation Dice of the fine-tunings",
    }
    return [{"file": f"{FOLDER}/{path.name}", "caption": caption} for path, caption in made.items()]


@torch.no_grad()
def slice_embeddings(
    prepared: Prepared, encoders: Mapping[str, Path]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Pooled coarsest maps of the test slices by each encoder, {name: (N, d)}, and the slices' positions (N,)."""
    members = prepared.volumes("test")
    images = np.concatenate([prepared.images[prepared.slices(number)] for number in members])
    position = np.concatenate(
        [(np.arange(prepared.depths[number]) + 1) / prepared.depths[number] for number in members]
    )
    found = {}
    for name, folder in encoders.items():
        net, _, _ = load_model(folder, size=prepared.size)
        parts = [
            net.encoder(torch.from_numpy(images[at : at + 32])[:, None]) for at in range(0, len(images), 32)
        ]
        found[name] = torch.cat(parts).numpy()
    return found, position


def _write_patients(path: Path, scores: Mapping[Run, Sequence[Scored]], structures: Sequence[str]) -> None:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        ["start", "labelled", "id", "group", "structure", "dice", "hd95_mm", "ml", "reference_ml"]
    )
    for run, scored in scores.items():
        for one in scored:
            for index, name in enumerate(structures):
                numbers = [one.dice[index], one.hd95[index], *one.millilitres[index]]
                cells = ["" if np.isnan(value) else f"{value:.6g}" for value in numbers]
                named = [disarm(text) for text in (one.case.id, one.case.group, name)]
                writer.writerow([run.init, run.labelled, *named, *cells])
    atomic_write(path, out.getvalue())


def _run_table(points: Sequence[Mapping[str, Any]], scores: Mapping[str, Sequence[Scored]]) -> dict[str, Any]:
    spread = {name: np.nanstd([one.mean_dice for one in scored]) for name, scored in scores.items()}
    return {
        "title": "Mean Dice on the test patients",
        "columns": ["start", "labelled volumes", "Dice", "95 % interval", "SD over volumes"],
        "rows": [
            [
                p["init"].replace("_", "-"), p["labelled"], round(p["value"], 3), f"{p['low']:.3f} to {p['high']:.3f}",
                round(float(deviation), 3),
            ]
            for p, deviation in zip(points, spread.values())
        ],
    }  # fmt: skip


def _structure_table(own: Sequence[Scored], structures: Sequence[str]) -> dict[str, Any]:
    rows = []
    for index, name in enumerate(structures):
        dice = np.array([one.dice[index] for one in own])
        distance = np.array([one.hd95[index] for one in own])
        rows.append(
            [
                name, round(float(np.nanmean(dice)), 3) if np.isfinite(dice).any() else None,
                round(float(np.nanmean(distance)), 2) if np.isfinite(distance).any() else None,
                int(np.isnan(dice).sum()), int((np.isnan(distance) & ~np.isnan(dice)).sum()),
            ]
        )  # fmt: skip
    return {
        "title": "Structures, served network",
        "columns": ["structure", "Dice", "HD95 (mm)", "absent from both", "absent from one"],
        "rows": rows,
    }
