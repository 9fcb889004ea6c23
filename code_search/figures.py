"""The figures of the report: retrieval, robustness to renaming, training curves, the fusion weight."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from code_search.evaluate import RANKINGS, Task
from code_search.robustness import Point
from code_search.scores import TITLES
from core.figures import canvas, save_figure, whiskers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"bm25": "#7a7a7a", "lexical": "#009e73", "dense": "#0072b2", "hybrid": "#d55e00"}
MARKS = {"bm25": "s", "lexical": "^", "dense": "o", "hybrid": "D"}


def retrieval_figure(
    path: str | os.PathLike[str], tasks: Sequence[Task], metrics: Mapping[str, Mapping[str, Any]]
) -> Path:
    """MRR of every ranking and task with its 95 % interval, one line a task."""
    figure, (axes,) = canvas(1, width=6.4, height=0.9 + 0.62 * len(tasks))
    for offset, ranking in zip((0.27, 0.09, -0.09, -0.27), RANKINGS):
        found = [metrics[f"mrr_{ranking}_{task.name}"] for task in tasks]
        values = [one["value"] for one in found]
        spread = whiskers(values, [one["low"] for one in found], [one["high"] for one in found])
        places = [len(tasks) - 1 - row + offset for row in range(len(tasks))]
        axes.errorbar(
            values, places, xerr=spread, fmt=MARKS[ranking], color=COLOURS[ranking], label=TITLES[ranking],
            markersize=5, capsize=2, linewidth=1.2,
        )  # fmt: skip
    axes.set_yticks(range(len(tasks)), [task.label for task in reversed(tasks)])
    axes.set_xlim(0, 1)
    axes.set_xlabel("mean reciprocal rank, 95 % interval")
    axes.grid(axis="y", visible=False)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)
    return save_figure(figure, path)


def robustness_figure(path: str | os.PathLike[str], points: Sequence[Point]) -> Path:
    """MRR against the variables renamed, and against their share; a dash: the same functions before."""
    tasks = list(dict.fromkeys(point.task for point in points))
    figure, panels = canvas(2 * len(tasks), columns=2, width=7.2, height=2.5 * len(tasks) + 0.4)
    for row, task in enumerate(tasks):
        for axes, axis in zip(panels[2 * row : 2 * row + 2], ("count", "rate")):
            _robustness_panel(axes, [p for p in points if p.task == task and p.axis == axis], axis)
            axes.set_title(f"function names {task}", fontsize=9)
    for axes in panels[::2]:
        axes.set_ylabel("mean reciprocal rank")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=5, frameon=False)
    return save_figure(figure, path)


def _robustness_panel(axes: Axes, points: list[Point], axis: str) -> None:
    levels = list(dict.fromkeys(point.level for point in points))
    for ranking, offset in zip(RANKINGS, (-0.12, -0.04, 0.04, 0.12)):
        line = [point for point in points if point.ranking == ranking]
        places = [place + offset for place in range(len(line))]
        values = [p.mrr for p in line]
        spread = whiskers(values, [p.low for p in line], [p.high for p in line])
        axes.errorbar(
            places, values, yerr=spread, fmt=MARKS[ranking], color=COLOURS[ranking],
            label=TITLES[ranking], markersize=4, capsize=2, linewidth=1.2,
        )  # fmt: skip
        joined = sum(
            p.level is not None for p in line
        )  # "all" does not go on from 8: it is of other functions
        axes.plot(places[:joined], [p.mrr for p in line[:joined]], color=COLOURS[ranking], linewidth=1.2)
    hybrid = [point for point in points if point.ranking == "hybrid"]
    axes.plot(
        [place + 0.12 for place in range(len(hybrid))], [p.before for p in hybrid], "_", markersize=10,
        color="#222222", label="hybrid, the same functions before",
    )  # fmt: skip
    name = (lambda level: f"{level:.0%}") if axis == "rate" else (lambda level: f"{level:.0f}")
    labels = ["all" if level is None else name(level) for level in levels]
    ticks = [f"{label}\nn={point.n}" for label, point in zip(labels, hybrid)]
    axes.set_xticks(range(len(levels)), ticks, fontsize=8)
    axes.set_xlabel("variables renamed" if axis == "count" else "share of the variables renamed")
    axes.set_ylim(0, 1)


def training_figure(
    path: str | os.PathLike[str], histories: Mapping[str, Sequence[Mapping[str, float]]]
) -> Path:
    """Loss, validation MRR and collapse diagnostics over the steps, one row a training stage."""
    kept = {stage: history for stage, history in histories.items() if history}
    figure, panels = canvas(3 * len(kept), columns=3, width=9.6, height=2.3 * max(1, len(kept)))
    groups = (
        ("loss", {"loss": "#0072b2"}),
        ("validation MRR", {"valid_mrr_shown": "#d55e00", "valid_mrr_hidden": "#e69f00"}),
        ("embeddings", {"embedding_std": "#009e73", "alignment": "#cc79a7", "uniformity": "#7a7a7a"}),
    )
    for row, (stage, history) in enumerate(kept.items()):
        for axes, (title, curves) in zip(panels[3 * row : 3 * row + 3], groups):
            for name, colour in curves.items():
                _curve(axes, history, name, colour)
            axes.set_title(f"{stage}: {title}", fontsize=9)
            if axes.get_lines() and len(curves) > 1:
                axes.legend(fontsize=8, frameon=False)
    for axes in panels[-3:]:
        axes.set_xlabel("step")
    return save_figure(figure, path)


def _curve(axes: Axes, history: Sequence[Mapping[str, float]], name: str, colour: str) -> None:
    found = [(one["step"], one[name]) for one in history if name in one]
    if found:
        label = (
            name.removeprefix("valid_mrr_").replace("shown", "names shown").replace("hidden", "names hidden")
        )
        mark = "o" if len(found) < 12 else ""
        label = label.replace("embedding_std", "embedding std")
        axes.plot(*zip(*found), color=colour, label=label, linewidth=1.3, marker=mark, markersize=3)


def parts_figure(path: str | os.PathLike[str], fitted: Mapping[str, float]) -> Path:
    """Validation MRR of the hybrid ranking, of the one by words, and without each score."""
    figure, (axes,) = canvas(1, width=4.8, height=0.8 + 0.28 * len(fitted))
    names = {"all": "hybrid", "words": "words alone"}
    for place, (name, value) in enumerate(fitted.items()):
        kind = {"all": "hybrid", "words": "lexical"}.get(name, "bm25")
        axes.plot([value], [place], MARKS[kind], color=COLOURS[kind])
        axes.annotate(
            f"{value:.3f}", (value, place), textcoords="offset points", xytext=(8, 0), va="center", fontsize=8
        )
    axes.set_yticks(range(len(fitted)), [names.get(name, f"hybrid {name}") for name in fitted])
    axes.set_ylim(len(fitted) - 0.5, -0.5)
    axes.margins(x=0.3)
    axes.set_xlabel("MRR on validation, names shown and hidden")
    return save_figure(figure, path)
