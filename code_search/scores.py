"""From ranks to the numbers of the report: metrics with intervals, tables, the row of every query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from code_search.evaluate import RANKINGS, Task
from code_search.robustness import Point
from core.data.digest import evaluation_digest
from core.evaluation.bootstrap import bootstrap_difference, bootstrap_interval
from core.evaluation.retrieval import reciprocal, retrieval_metrics

if TYPE_CHECKING:
    import pandas as pd

TITLES = {"bm25": "BM25", "lexical": "words", "dense": "dense", "hybrid": "hybrid"}
PRIMARY_TASK = "full"
PRIMARY, BASELINE = f"mrr_hybrid_{PRIMARY_TASK}", f"mrr_bm25_{PRIMARY_TASK}"
Ranks = Mapping[str, np.ndarray]

NOTES = [
    "A rank counts candidates that tie with the right one half. Intervals are 95 %, from resampling whole "
    "repositories (in the standard library: top-level packages and modules).",
    "BM25 is the plain baseline. The ranking by words counts names more and knows words that translate each other; "
    "the hybrid ranking adds the vectors. Their weights were fitted on validation functions.",
]


def metrics(tasks: Sequence[Task], ranks: Sequence[Ranks], samples: int = 1000) -> dict[str, dict[str, Any]]:
    """``mrr_<ranking>_<task>`` of every ranking and task, and ``gain_<task>``: hybrid minus BM25, paired.

    Args:
        ranks: for each task, the ranks by ranking, from `rank_task`.
        samples: bootstrap resamples.

    Returns:
        The ``metrics`` of `core.tracking.Result`.
    """
    found: dict[str, dict[str, Any]] = {}
    for task, by_ranking in zip(tasks, ranks, strict=True):
        values = {name: reciprocal(by_ranking[name], task.cutoff) for name in RANKINGS}
        for name in RANKINGS:
            low, high = bootstrap_interval(values[name], task.groups, samples)
            found[f"mrr_{name}_{task.name}"] = {
                "label": f"MRR, {TITLES[name]}, {task.label}",
                "value": float(values[name].mean()),
                "low": low,
                "high": high,
                "n": len(values[name]),
                "baseline": name == "bm25",
            }
        gain, low, high = bootstrap_difference(values["hybrid"], values["bm25"], task.groups, samples)
        found[f"gain_{task.name}"] = {
            "label": f"MRR gained over BM25, hybrid, {task.label}",
            "value": gain,
            "low": low,
            "high": high,
            "n": len(values["hybrid"]),
            "baseline": False,
        }
    return found


def retrieval_rows(found: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row a task out of `metrics`: the MRR of each ranking with its interval, and what hybrid gains over BM25.

    >>> numbers = {"label": "MRR, BM25, 9 candidates, names shown", "value": 0.51234, "low": 0.5, "high": 0.6, "n": 9}
    >>> retrieval_rows({"mrr_bm25_shown": numbers})
    [{'task': 'shown', 'candidates': '9 candidates, names shown', 'queries': 9, 'bm25': [0.5123, 0.5, 0.6]}]
    """
    start = "mrr_bm25_"
    rows = []
    for key, metric in found.items():
        if not key.startswith(start):
            continue
        task = key.removeprefix(start)
        keys = {name: f"mrr_{name}_{task}" for name in RANKINGS} | {"gain": f"gain_{task}"}
        values = {
            name: [round(found[key][part], 4) for part in ("value", "low", "high")]
            for name, key in keys.items()
            if key in found
        }
        label = metric["label"].removeprefix(f"MRR, {TITLES['bm25']}, ")
        rows.append({"task": task, "candidates": label, "queries": metric["n"], **values})
    return rows


def recall_table(tasks: Sequence[Task], ranks: Sequence[Ranks]) -> dict[str, Any]:
    """MRR and recall at 1, 5 and 10 of every ranking and task."""
    rows = []
    for task, by_ranking in zip(tasks, ranks, strict=True):
        for name in RANKINGS:
            one = retrieval_metrics(by_ranking[name], mrr_cutoff=task.cutoff)
            rows.append([task.label, TITLES[name], len(task.queries), *(round(v, 4) for v in one.values())])
    columns = ["candidates", "ranking", "queries", "MRR", "R@1", "R@5", "R@10"]
    return {"title": "Retrieval", "columns": columns, "rows": rows}


def robustness_table(points: Sequence[Point]) -> dict[str, Any]:
    """One row a ranking and amount of renaming."""
    rows = [
        [
            "names shown" if point.task == "shown" else f"names {point.task}",
            _amount(point),
            TITLES[point.ranking],
            point.n,
            round(point.before, 4),
            round(point.mrr, 4),
            f"{point.low:.3f} to {point.high:.3f}",
            None if point.stayed is None else round(point.stayed, 3),
            point.first,
        ]
        for point in points
    ]
    columns = [
        "function names",
        "renamed",
        "ranking",
        "n",
        "MRR before",
        "MRR after",
        "95 %",
        "first stayed",
        "of",
    ]
    return {"title": "Variables of the right answer renamed", "columns": columns, "rows": rows}


def _amount(point: Point) -> str:
    if point.axis == "rate":
        return f"{point.level or 0:.0%} of the variables"
    return "all variables" if point.level is None else f"{point.level:.0f} variables"


def ranks_frame(tasks: Sequence[Task], ranks: Sequence[Ranks]) -> pd.DataFrame:
    """One row a task and query: the query, the place of its function, and the rank in each ranking."""
    import pandas as pd

    return pd.concat(
        pd.DataFrame(
            {
                "task": task.name,
                "query": task.queries,
                "function": [task.candidates[row].id for row in task.relevant],
                "name": [task.candidates[row].qualified for row in task.relevant],
                **{name: by_ranking[name] for name in RANKINGS},
            }
        )
        for task, by_ranking in zip(tasks, ranks, strict=True)
    )


def task_digest(task: Task) -> str:
    """SHA-256 over queries, answers, candidates and cutoff: results are comparable where it is equal."""
    candidates = [[function.id, function.code] for function in task.candidates]
    return evaluation_digest(
        [task.queries, candidates], task.relevant, protocol={"mrr_cutoff": task.cutoff, "ties": "average"}
    )
