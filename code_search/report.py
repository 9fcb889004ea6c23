"""What the evaluate stage hands on: numbers, tables, figures, and the rank of every query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from code_search.evaluate import Task, Vectors, rank_task
from code_search.figures import parts_figure, retrieval_figure, robustness_figure, training_figure
from code_search.ranker import Ranker
from code_search.robustness import robustness
from code_search.scores import (
    BASELINE,
    NOTES,
    PRIMARY,
    PRIMARY_TASK,
    metrics,
    ranks_frame,
    recall_table,
    robustness_table,
    task_digest,
)
from core.data.checks import disarmed


def evaluate(
    tasks: Sequence[Task],
    vectors: Vectors,
    ranker: Ranker,
    folder: Path,
    *,
    histories: Mapping[str, Sequence[Mapping[str, float]]],
    fitted: Mapping[str, float],
    bootstrap: int,
    functions: int,
    counts: Sequence[int | None],
    rates: Sequence[float],
    draws: int,
) -> dict[str, Any]:
    """Search every task, measure robustness on the first two, write figures and ``ranks.csv``.

    Args:
        tasks: from `sample_tasks`, and any further ones.
        vectors: of the encoder.
        ranker: of the model.
        folder: existing folder, named ``evaluation`` below the pipeline's outputs in the end.
        histories: of the training stages, for a figure.
        fitted: validation MRR of `code_search.evaluate.fit_ranker`, for a figure.
        bootstrap: resamples.
        functions, counts, rates, draws: of `robustness`: on how many functions, and how much is renamed.

    Returns:
        The part of `core.tracking.Result` that evaluation decides.
    """
    primary = next(task for task in tasks if task.name == PRIMARY_TASK)
    ranks = [rank_task(task, vectors, ranker) for task in tasks]
    found = metrics(tasks, ranks, bootstrap)
    points = [
        point
        for task in tasks[:2]
        for point in robustness(
            _first(task, functions), vectors, ranker, counts=counts, rates=rates, seeds=range(draws)
        )
    ]
    disarmed(ranks_frame(tasks, ranks)).to_csv(folder / "ranks.csv", index=False)
    figures = {
        retrieval_figure(folder / "retrieval.png", tasks, found): (
            "Mean reciprocal rank of BM25, dense and hybrid search, with 95 % intervals"
        ),
        robustness_figure(folder / "robustness.png", points): (
            "Search after renaming variables of the right answer; n functions have so many variables"
        ),
        training_figure(folder / "training.png", histories): (
            "Loss, validation MRR and collapse diagnostics of the trainings"
        ),
        parts_figure(folder / "parts.png", fitted): (
            "Validation MRR of hybrid search, and of what is left without each of its scores"
        ),
    }
    return {
        "evaluation_digest": task_digest(primary),
        "primary": {"name": PRIMARY, "higher_is_better": True, "baseline": BASELINE},
        "metrics": found,
        "figures": [
            {"file": f"evaluation/{path.name}", "caption": caption} for path, caption in figures.items()
        ],
        "tables": [recall_table(tasks, ranks), robustness_table(points)],
        "notes": [*NOTES, _weights(ranker)],
    }


def _weights(ranker: Ranker) -> str:
    shown = ", ".join(f"{name} {value:.3g}" for name, value in ranker.all.items())
    return f"Weights of the hybrid ranking: {shown}." if shown else "The hybrid ranking was not fitted."


def _first(task: Task, count: int) -> Task:
    """The first ``count`` queries of a task with one candidate a query."""
    return replace(
        task,
        queries=task.queries[:count],
        relevant=task.relevant[:count],
        candidates=task.candidates[:count],
        groups=task.groups[:count],
    )
