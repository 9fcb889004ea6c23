"""The figures of the report: scores before and after, confusions of order, training curves, a timeline."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audio_language.timeline import Timeline, draw_timeline
from core.figures import canvas, save_figure, whiskers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BEFORE, AFTER = "#7a7a7a", "#0072b2"


def scores_figure(
    path: str | os.PathLike[str],
    metrics: Mapping[str, Mapping[str, Any]],
    chance: Mapping[str, float | None],
    names: Sequence[str],
    *,
    title: str,
) -> Path:
    """Each task before and after post-training, with 95 % intervals and the level of chance."""
    figure, (axes,) = canvas(1, width=7.4, height=0.9 + 0.34 * len(names))
    rows = list(range(len(names) - 1, -1, -1))
    for offset, prefix, colour, mark, label in (
        (0.15, "before_", BEFORE, "s", "before post-training"),
        (-0.15, "", AFTER, "o", "after"),
    ):
        found = [metrics[f"{prefix}{name}"] for name in names]
        values = [m["value"] for m in found]
        spread = whiskers(values, [m["low"] for m in found], [m["high"] for m in found])
        axes.errorbar(
            values, [row + offset for row in rows], xerr=spread, fmt=mark, color=colour,
            label=label, markersize=5, capsize=2, linewidth=1.2, linestyle="none",
        )  # fmt: skip
    known = [(level, row) for name, row in zip(names, rows) if (level := chance.get(name)) is not None]
    axes.plot(
        [value for value, _ in known],
        [row for _, row in known],
        "|",
        color="#d55e00",
        markersize=14,
        label="chance",
    )
    axes.set_yticks(rows, [metrics[name]["label"] for name in names])
    axes.set_xlim(-0.03, 1.03)
    axes.set_xlabel("share right, 95 % interval over source recordings")
    axes.grid(axis="y", visible=False)
    axes.set_title(title, fontsize=10)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return save_figure(figure, path)


def training_figure(
    path: str | os.PathLike[str], histories: Mapping[str, Sequence[Mapping[str, float]]]
) -> Path:
    """Loss and spread of the embeddings over the steps of each training."""
    kept = {name: history for name, history in histories.items() if history}
    figure, panels = canvas(2 * max(1, len(kept)), columns=2, width=7.4, height=2.1 * max(1, len(kept)))
    for row, (name, history) in enumerate(kept.items()):
        left, right = panels[2 * row], panels[2 * row + 1]
        for key, colour in (("loss", AFTER), ("order", "#d55e00"), ("rehearsal", "#009e73")):
            _curve(left, history, key, colour)
        for key, colour in (
            ("embedding_std", "#009e73"),
            ("alignment", "#cc79a7"),
            ("modality_gap", "#7a7a7a"),
        ):
            _curve(right, history, key, colour)
        left.set_title(f"{name}: loss")
        right.set_title(f"{name}: embeddings")
        for axes in (left, right):
            if axes.get_lines():
                axes.legend(fontsize=8, frameon=False)
    for axes in panels[-2:]:
        axes.set_xlabel("step")
    return save_figure(figure, path)


def timeline_figure(path: str | os.PathLike[str], found: Timeline, *, title: str) -> Path:
    """The events of a recording."""
    count = min(12, len({event.label for event in found.events}) or 1)
    figure, (axes,) = canvas(1, width=8.0, height=1.1 + 0.36 * count)
    draw_timeline(axes, found, title=title)
    return save_figure(figure, path)


def _curve(axes: Axes, history: Sequence[Mapping[str, float]], name: str, colour: str) -> None:
    found = [(one["step"], one[name]) for one in history if name in one]
    if found:
        axes.plot(*zip(*found), color=colour, label=name.replace("_", " "), linewidth=1.3)
