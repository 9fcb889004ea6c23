"""The figures of the report: probes against labels, trainings, test chips with their maps, label overlap."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.figures import STYLE, save_figure, whiskers
from earth_observation.labels import ClassTable
from earth_observation.quicklook import painted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from earth_observation.evaluate import Score

COLOURS = {"pretrained": "#0072b2", "random": "#7a7a7a"}


def probe_figure(
    path: str | os.PathLike[str], probes: Mapping[str, Mapping[float, Score]], *, title: str
) -> Path:
    """Linear-probe mAP against the share of labels, one line a start, with 95 % intervals over places."""
    figure, (axes,) = _canvas(1, width=5.6, height=3.6)
    for place, (name, found) in enumerate(probes.items()):
        x = [100 * share * (1 + 0.03 * place) for share in found]
        values = [score.value for score in found.values()]
        spread = whiskers(values, [s.low for s in found.values()], [s.high for s in found.values()])
        axes.errorbar(
            x, values, yerr=spread, marker="o", capsize=3, label=name, color=COLOURS.get(name), linewidth=1.4
        )
    axes.set_xscale("log")
    shares = [100 * share for share in next(iter(probes.values()))]
    axes.set_xticks(shares, [f"{share:g} %" for share in shares])
    axes.minorticks_off()
    axes.set_xlabel("labelled training chips")
    axes.set_ylabel("mAP (micro) on test chips")
    axes.set_title(title, fontsize=10)
    axes.legend(frameon=False)
    return save_figure(figure, path, dpi=120)


def training_figure(
    path: str | os.PathLike[str], histories: Mapping[str, Sequence[Mapping[str, float]]]
) -> Path:
    """Every recorded term of the trainings, a panel each, and the effective rank of the pretraining."""
    known = {name: history for name, history in histories.items() if history}
    figure, panels = _canvas(len(known) + 1, width=3.3 * (len(known) + 1), height=2.8)
    for axes, (name, history) in zip(panels, known.items()):
        steps = [record["step"] for record in history]
        for term in ("loss", "hard", "soft"):
            if term in history[0]:
                axes.plot(steps, [record[term] for record in history], label=term, linewidth=1.2)
        axes.set_title(name, fontsize=9)
        axes.set_xlabel("step")
        axes.legend(frameon=False, fontsize=7)
    axes = panels[-1]
    for name, history in known.items():
        found = [(r["step"], r["effective_rank"]) for r in history if "effective_rank" in r]
        if found:
            axes.plot(*zip(*found), label=name, linewidth=1.2)
    axes.set_title("effective rank of the queries", fontsize=9)
    axes.set_xlabel("step")
    return save_figure(figure, path, dpi=120)


def chips_figure(
    path: str | os.PathLike[str],
    pictures: Sequence[np.ndarray],
    truths: Sequence[np.ndarray],
    answers: Sequence[np.ndarray],
    table: ClassTable,
    *,
    title: str,
) -> Path:
    """Test chips in columns: picture, reference, map; the legend names the classes that occur."""
    from matplotlib.patches import Patch

    count = len(pictures)
    figure, panels = _canvas(3 * count, columns=count, width=max(6.5, 1.45 * count + 0.6), height=5.6)
    for k in range(count):
        for row, image in enumerate((pictures[k], painted(truths[k], table), painted(answers[k], table))):
            axes = panels[row * count + k]
            axes.imshow(image, interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([])
            axes.grid(visible=False)
            if k == 0:
                axes.set_ylabel(("chip", "reference", "map")[row])
    shown = [k for k in range(len(table)) if any((t == k).any() for t in [*truths, *answers])]
    handles = [Patch(color=table.shade(k), label=table.names[k][:40]) for k in shown]
    figure.legend(handles=handles, loc="outside lower center", ncols=5, fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=10)
    return save_figure(figure, path, dpi=120)


def classes_figure(path: str | os.PathLike[str], rows: Sequence[Sequence[Any]], *, title: str) -> Path:
    """Average precision of each class, with the share of test chips that show it as the level of chance."""
    kept = [row for row in rows if row[2] is not None]
    figure, (axes,) = _canvas(1, width=6.2, height=0.9 + 0.28 * max(1, len(kept)))
    places = list(range(len(kept) - 1, -1, -1))
    axes.barh(places, [row[2] for row in kept], color="#0072b2", height=0.6)
    axes.set_yticks(places, [f"{row[0][:38]} ({row[1]})" for row in kept])
    axes.set_xlim(0, 1)
    axes.set_xlabel("average precision (test chips that show the class)")
    axes.grid(axis="y", visible=False)
    axes.set_title(title, fontsize=10)
    return save_figure(figure, path, dpi=120)


def _canvas(
    count: int, *, columns: int | None = None, width: float, height: float
) -> tuple[Figure, list[Any]]:
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = columns or count
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(-(-count // columns), columns, squeeze=False)
    return figure, list(axes.ravel())
