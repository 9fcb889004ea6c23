"""What the evaluate stage hands on: numbers, tables, and figures, of which some explain single cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.data.checks import disarmed
from core.data.digest import evaluation_digest
from core.errors import DataError
from core.evaluation.bootstrap import bootstrap_interval
from core.evaluation.probes import linear_probe
from medical.alignment.cases import fuse
from medical.alignment.evaluate import (
    SUBSETS,
    Auroc,
    Direction,
    Embedded,
    embed,
    findings_by_pattern,
    retrieval,
    zero_shot,
)
from medical.alignment.explained import explain_case
from medical.alignment.figures import (
    NAMES,
    case_figure,
    findings_figure,
    learning_figure,
    missing_figure,
    phrase_figure,
    retrieval_figure,
)
from medical.alignment.pointing import Pointed, point
from medical.alignment.prepared import Prepared
from medical.alignment.prompts import Prompts
from medical.alignment.space import Space

FOLDER = "evaluation"
"""What the folder is called in the end, below the pipeline's outputs."""


def evaluate(
    space: Space,
    prepared: Prepared,
    prompts: Prompts,
    folder: Path,
    *,
    history: Sequence[Mapping[str, float]],
    patterns: Mapping[str, int],
    truth: Path | None,
    bootstrap: int,
    explained: int,
    demo: bool,
) -> dict[str, Any]:
    """Measure a space on the test patients.

    Args:
        folder: existing; gets ``retrieval.csv`` and the figures.
        history: of the training. patterns: items by presence pattern, of the whole data set.
        truth: table of boxes for phrases, where there is one.
        bootstrap: resamples of patients. explained: how many cases are drawn.

    Returns:
        The part of `core.tracking.Result` that evaluation decides.
    """
    rows = prepared.rows("test")
    found = embed(space, prepared, rows)
    directions = retrieval(space, prepared, rows, found, samples=bootstrap)
    if not directions:
        raise DataError("test items", seen="no two modalities of any item", expected="pairs to find again")
    names = [name for name in prepared.labels if name in prompts.findings]
    aurocs = zero_shot(space, prepared, rows, found, prompts, samples=bootstrap) if names else []
    by_pattern = findings_by_pattern(space, prepared, rows, found)
    pointed = [] if truth is None else point(space, prepared, rows, truth, prefix=prompts.prefix)
    metrics = _retrieval_metrics(directions, bootstrap)
    metrics |= _auroc_metrics(aurocs)
    metrics |= _probe_metrics(space, prepared, rows, found, bootstrap)
    metrics |= _pointing_metrics(pointed, prepared, bootstrap)
    _write_ranks(folder / "retrieval.csv", directions)
    figures = _figures(
        folder, space, prepared, prompts, rows, directions, aurocs, by_pattern, patterns, pointed, history,
        explained, " (demo data)" if demo else "",
    )  # fmt: skip
    table = prepared.table.iloc[rows]
    digest = evaluation_digest(
        table["id"].tolist(), prepared.present[rows], protocol={"ties": "average", "same patient": "left out"}
    )
    return {
        "evaluation_digest": digest,
        "primary": {"name": "r5", "higher_is_better": True, "baseline": "r5_chance"},
        "metrics": metrics,
        "figures": figures,
        "tables": [_retrieval_table(directions), _auroc_table(aurocs), _pattern_table(by_pattern, patterns)],
        "notes": [
            f"Objective: {space.method}. Retrieval is among the test items; other items of the asking patient are "
            "left out, ties count one half, intervals resample patients.",
            "Zero-shot findings are measured against labels of the data set; where these were mined from the reports, "
            "reports may leak them.",
            *(["The finding Mismatch can be told only from film and ECG together."] if demo else []),
        ],
    }


def _retrieval_metrics(directions: Sequence[Direction], samples: int) -> dict[str, Any]:
    hits = np.concatenate([one.ranks <= 5 for one in directions])
    subjects = np.concatenate([one.subjects for one in directions])
    low, high = bootstrap_interval(hits, subjects.tolist(), samples)
    chance = float(np.mean([min(1.0, 5 / one.candidates) for one in directions for _ in range(one.n)]))
    found: dict[str, Any] = {
        "r5": {
            "label": "Recall at 5, all directions", "value": float(hits.mean()), "low": low, "high": high,
            "n": len(hits),
        },
        "r5_chance": {"label": "Recall at 5 by chance", "value": chance, "n": len(hits), "baseline": True},
    }  # fmt: skip
    for one in directions:
        found[f"r5_{one.name}"] = {
            "label": f"Recall at 5, {NAMES[one.source]} to {NAMES[one.target]}", "value": one.recall[5],
            "low": one.low, "high": one.high, "n": one.n,
        }  # fmt: skip
    return found


def _auroc_metrics(aurocs: Sequence[Auroc]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for subset in SUBSETS:
        values = [one for one in aurocs if one.subset == subset]
        if values:
            found[f"zero_shot_{subset.replace('+', '_')}"] = {
                "label": f"Zero-shot AUROC, mean over findings, {NAMES[subset]}",
                "value": float(np.mean([one.value for one in values])), "n": max(one.n for one in values),
            }  # fmt: skip
    return found


def _probe_metrics(
    space: Space, prepared: Prepared, rows: np.ndarray, test: Embedded, samples: int
) -> dict[str, Any]:
    """Linear probes on single modalities and on the mean of all that is there, where all labels are known."""
    train_rows = prepared.rows("train")
    train = embed(space, prepared, train_rows)
    sides = {"xray": ("xray",), "ecg": ("ecg",), "fused": ()}
    found: dict[str, Any] = {}
    for name, members in sides.items():
        parts = []
        for which, data in ((train_rows, train), (rows, test)):
            keep = np.intersect1d(
                data.of(members) if members else np.arange(len(which)), _labelled(prepared, which)
            )
            vectors = data.rows[name][keep] if members else fuse(data.stack(), data.present)[keep]
            parts.append((vectors, prepared.targets[which[keep]].astype(int), which[keep]))
        (x, y, _), (x_test, y_test, kept) = parts
        able = (
            [c for c in range(y.shape[1]) if len(set(y[:, c])) == 2 and len(set(y_test[:, c])) == 2]
            if len(y)
            else []
        )
        if not able or len(x_test) < 2:
            continue
        groups = prepared.table["subject"].iloc[kept].tolist()
        probe = linear_probe(
            x, y[:, able], x_test, y_test[:, able], metric="auroc", groups=groups, samples=min(samples, 200)
        )
        found[f"probe_{name}"] = {
            "label": f"Linear probe, macro AUROC, {NAMES.get(name, 'all that is there')}", "value": probe.value,
            "low": probe.low, "high": probe.high, "n": probe.n,
        }  # fmt: skip
    return found


def _labelled(prepared: Prepared, rows: np.ndarray) -> np.ndarray:
    if not prepared.labels:
        return np.zeros(0, dtype=np.int64)
    return np.flatnonzero(np.isfinite(prepared.targets[rows]).all(axis=1))


def _pointing_metrics(pointed: Sequence[Pointed], prepared: Prepared, samples: int) -> dict[str, Any]:
    if not pointed:
        return {}
    subjects = prepared.table["subject"].iloc[[one.row for one in pointed]].tolist()
    found: dict[str, Any] = {}
    for name, label in (
        ("hit", "Pointing game, phrases on films, beyond the average film"),
        ("published", "Pointing game, plain cosine maps"),
    ):
        hits = np.array([getattr(one, name) for one in pointed], dtype=float)
        low, high = bootstrap_interval(hits, subjects, samples)
        key = "pointing" if name == "hit" else "pointing_cosine"
        found[key] = {"label": label, "value": float(hits.mean()), "low": low, "high": high, "n": len(hits)}
    noise = [one.cnr for one in pointed if np.isfinite(one.cnr)]
    return found | {
        "pointing_chance": {
            "label": "Pointing game by chance (area of the boxes)",
            "value": float(np.mean([one.area for one in pointed])), "n": len(pointed), "baseline": True,
        },
        "pointing_cnr": {"label": "Contrast to noise of phrase maps", "value": float(np.mean(noise)), "n": len(noise)},
    }  # fmt: skip


def _figures(
    folder: Path, space: Space, prepared: Prepared, prompts: Prompts, rows: np.ndarray,
    directions: Sequence[Direction], aurocs: Sequence[Auroc], by_pattern: Sequence[tuple[str, int, float]],
    patterns: Mapping[str, int], pointed: Sequence[Pointed], history: Sequence[Mapping[str, float]],
    explained: int, mark: str,
) -> list[dict[str, str]]:  # fmt: skip
    made = {
        retrieval_figure(folder / "retrieval.png", directions, title=f"Retrieval{mark}"): (
            "Recall of retrieval in six directions on the test items"
        ),
        learning_figure(
            folder / "learning.png", history, title=f"Learning{mark}"
        ): "The training of the space",
    }
    if aurocs:
        path = findings_figure(folder / "findings.png", aurocs, title=f"Zero-shot findings{mark}")
        made[path] = "AUROC of findings by prompts alone, from the film, the ECG and both"
    if by_pattern:
        path = missing_figure(folder / "missing.png", by_pattern, patterns, title=f"Missing modalities{mark}")
        made[path] = "Findings from whatever modalities there are"
    chosen = _spread(pointed)
    if chosen:
        shown = [
            {"film": prepared.film(one.row), "map": one.values, "phrase": one.phrase, "boxes": one.boxes}
            for one in chosen
        ]
        path = phrase_figure(
            folder / "phrases.png", shown, title=f"Phrases on films, boxes: where it is{mark}"
        )
        made[path] = "Phrases on films, beyond the average film; boxes show where the finding was drawn"
    complete = rows[prepared.present[rows].all(axis=1)]
    for number, row in enumerate(complete[:explained], start=1):
        case = explain_case(space, prepared, prompts, int(row))
        name = prepared.table["id"].iloc[row]
        path = case_figure(folder / f"case{number}.png", case, title=f"Case {name}{mark}")
        made[path] = f"What the model looked at in case {name}"
    return [{"file": f"{FOLDER}/{path.name}", "caption": caption} for path, caption in made.items()]


def _spread(pointed: Sequence[Pointed], most: int = 5) -> list[Pointed]:
    """A hit and a miss of each finding in turn, so that the figure does not flatter."""
    chosen: list[Pointed] = []
    for finding in dict.fromkeys(one.finding for one in pointed):
        for hit in (True, False):
            chosen += [one for one in pointed if one.finding == finding and one.hit == hit][:1]
    return chosen[:most]


def _retrieval_table(directions: Sequence[Direction]) -> dict[str, Any]:
    rows = [
        [
            NAMES[one.source], NAMES[one.target], one.n, one.candidates,
            *(round(one.recall[k], 3) for k in (1, 5, 10)), round(one.mrr, 3), one.median_rank,
            round(1 / one.candidates, 4),
        ]
        for one in directions
    ]  # fmt: skip
    columns = [
        "asks",
        "for",
        "queries",
        "candidates",
        "R@1",
        "R@5",
        "R@10",
        "MRR",
        "median rank",
        "R@1 by chance",
    ]
    return {"title": "Retrieval in six directions", "columns": columns, "rows": rows}


def _auroc_table(aurocs: Sequence[Auroc]) -> dict[str, Any]:
    rows = [
        [one.finding, NAMES[one.subset], round(one.value, 3), f"{one.low:.3f} to {one.high:.3f}", one.n]
        for one in aurocs
    ]
    return {"title": "Zero-shot findings", "columns": ["finding", "from", "AUROC", "95 %", "n"], "rows": rows}


def _pattern_table(found: Sequence[tuple[str, int, float]], counts: Mapping[str, int]) -> dict[str, Any]:
    values = {name: (n, value) for name, n, value in found}
    rows = [
        [name, count, *((values[name][0], round(values[name][1], 3)) if name in values else (0, None))]
        for name, count in counts.items()
    ]
    columns = ["modalities", "items with just these", "test items that have them", "macro AUROC of the head"]
    return {"title": "Missing modalities", "columns": columns, "rows": rows}


def _write_ranks(path: Path, directions: Sequence[Direction]) -> None:
    import pandas as pd

    table = pd.concat(
        pd.DataFrame({"direction": one.name, "subject": one.subjects, "rank": one.ranks})
        for one in directions
    )
    disarmed(table).to_csv(path, index=False)
