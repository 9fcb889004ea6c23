"""Figures that a cardiologist reads like paper: 12-lead prints, cases beside their prototypes, and the report's."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.figures import save_figure
from medical.ecg.data.leads import LEADS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LAYOUT = (("I", "aVR", "V1", "V4"), ("II", "aVL", "V2", "V5"), ("III", "aVF", "V3", "V6"))
STRIP = "II"
LIMIT_MV = 1.9
ROW_MV = 3.0
_PINK, _PINK_STRONG, _INK, _SHADE = "#f6d5d5", "#e8a5a5", "#1a1a1a", "#ffd24d"
COLOURS = {"prototypes": "#0072b2", "black box": "#d55e00", "logistic": "#7a7a7a"}
CAPTION = "25 mm/s, 10 mm/mV. Shaded: where the evidence is centred; one feature step sees {seconds:.1f} s around it."


def print_figure(
    path: str | os.PathLike[str],
    signal: np.ndarray,
    fs: float,
    *,
    title: str,
    window: tuple[float, float] | None = None,
    caption: str = "",
) -> Path:
    """One recording as a paper print: 3 x 4 leads of a quarter each, lead II as a strip, the window shaded.

    Args:
        signal: (12, T) in mV. window: (start, end) in seconds; a zoom of all 12 leads is drawn below it.
    """
    zoomed = window is not None and window[1] - window[0] < 0.6 * signal.shape[1] / fs
    figure = _paper(10.4, 8.6 if zoomed else 5.9)
    grid = figure.add_gridspec(2 if zoomed else 1, 1, height_ratios=[5.2, 2.6] if zoomed else None)
    _print(figure.add_subplot(grid[0]), signal, fs, window, title)
    if zoomed and window is not None:
        _zoom(figure.add_subplot(grid[1]), signal, fs, window)
    _caption(figure, caption)
    return save_figure(figure, path, dpi=110)


def case_figure(
    path: str | os.PathLike[str],
    case: np.ndarray,
    prototype: np.ndarray,
    fs: float,
    *,
    titles: tuple[str, str],
    windows: tuple[tuple[float, float] | None, tuple[float, float] | None],
    caption: str = "",
) -> Path:
    """A recording beside the prototype that drove one of its labels, both with their window and its zoom."""
    zoomed = any(w is not None and w[1] - w[0] < 0.6 * case.shape[1] / fs for w in windows)
    figure = _paper(17.5, 7.6 if zoomed else 5.4)
    grid = figure.add_gridspec(2 if zoomed else 1, 2, height_ratios=[4.6, 2.6] if zoomed else None)
    for column, (signal, title, window) in enumerate(zip((case, prototype), titles, windows, strict=True)):
        _print(figure.add_subplot(grid[0, column]), signal, fs, window, title)
        if zoomed and window is not None:
            _zoom(figure.add_subplot(grid[1, column]), signal, fs, window)
    _caption(figure, caption)
    return save_figure(figure, path, dpi=110)


def gallery_figure(
    path: str | os.PathLike[str],
    signals: Sequence[np.ndarray],
    fs: float,
    *,
    titles: Sequence[str],
    windows: Sequence[tuple[float, float] | None],
    title: str,
    leads: Sequence[str] = ("II", "V2", "V5"),
) -> Path:
    """The prototypes of one class under each other: three leads over the whole time, windows shaded."""
    figure = _paper(11.0, 0.7 + 2.3 * len(signals))
    figure.suptitle(title, fontsize=11, fontweight="bold")
    grid = figure.add_gridspec(len(signals), 1)
    for place, (signal, label, window) in enumerate(zip(signals, titles, windows, strict=True)):
        axes = figure.add_subplot(grid[place])
        seconds = signal.shape[1] / fs
        _millimetres(axes, seconds, len(leads) * ROW_MV)
        time = np.arange(signal.shape[1]) / fs
        for row, lead in enumerate(leads):
            base = (len(leads) - row - 0.5) * ROW_MV
            axes.plot(time, base + _clip(signal[LEADS.index(lead)]), color=_INK, linewidth=0.7)
            axes.text(0.05, base + 1.0, lead, fontsize=7, fontweight="bold")
        _shade(axes, window, seconds)
        axes.set_title(label, fontsize=8, loc="left")
    return save_figure(figure, path, dpi=110)


def contribution_figure(path: str | os.PathLike[str], account: Mapping[str, Any], *, title: str) -> Path:
    """How the logit of one label adds up: bias, the listed contributions, the rest; see `explain`."""
    rows = [("bias", account["bias"], "#999999")]
    for one in account["contributions"]:
        name = f"{'/'.join(one['classes'])} · ECG {one['ecg_id']} ({one['branch']})"
        rows.append((name, one["contribution"], "#0072b2" if one["contribution"] > 0 else "#d55e00"))
    rows += [("all other prototypes", account["rest"], "#999999"), ("logit", account["logit"], _INK)]
    figure = _plain(7.4, 0.9 + 0.32 * len(rows))
    axes = figure.add_subplot()
    places = range(len(rows), 0, -1)
    axes.barh(places, [value for _, value, _ in rows], color=[colour for _, _, colour in rows], height=0.65)
    axes.axvline(0, color="#333333", linewidth=0.8)
    axes.set_yticks(list(places), [name for name, _, _ in rows])
    for place, (_, value, _) in zip(places, rows, strict=True):
        axes.annotate(
            f"{value:+.2f}", (value, place), xytext=(3 if value >= 0 else -3, 0), textcoords="offset points",
            va="center", ha="left" if value >= 0 else "right", fontsize=7.5,
        )  # fmt: skip
    axes.margins(x=0.16)
    axes.set_xlabel("contribution to the logit")
    axes.set_title(title, fontsize=9.5)
    return save_figure(figure, path, dpi=110)


def auroc_figure(
    path: str | os.PathLike[str], labels: Sequence[str], areas: Mapping[str, np.ndarray], *, title: str
) -> Path:
    """AUROC of every label for each model, one line a label, ordered by the prototypes'."""
    first = next(iter(areas.values()))
    order = [c for c in np.argsort(first) if not np.isnan(first[c])]
    figure = _plain(6.4, 1.2 + 0.26 * max(3, len(order)))
    axes = figure.add_subplot()
    for (name, values), mark, offset in zip(areas.items(), "oDs", (0.0, 0.18, -0.18)):
        axes.plot(
            values[order],
            np.arange(len(order)) + offset,
            mark,
            color=COLOURS.get(name),
            label=name,
            markersize=5,
        )
    axes.set_yticks(range(len(order)), [labels[c] for c in order])
    axes.axvline(0.5, color="#999999", linewidth=0.8, linestyle="--")
    axes.set_xlabel("AUROC on the test recordings")
    axes.grid(axis="x", color="#e5e5e5")
    axes.legend(frameon=False, fontsize=8, loc="lower left" if first[order].min() > 0.75 else "best")
    axes.set_title(title, fontsize=9.5)
    return save_figure(figure, path, dpi=110)


def training_figure(
    path: str | os.PathLike[str], histories: Mapping[str, Sequence[Mapping[str, float]]]
) -> Path:
    """Loss and validation AUROC of every training over its steps."""
    kept = {name: history for name, history in histories.items() if history}
    figure = _plain(9.0, 3.2)
    left, right = figure.add_subplot(1, 2, 1), figure.add_subplot(1, 2, 2)
    for name, history in kept.items():
        left.plot(
            [one["step"] for one in history], [one["loss"] for one in history], label=name, linewidth=1.2
        )
        found = [(one["step"], one["valid_auroc"]) for one in history if "valid_auroc" in one]
        if found:
            right.plot(*zip(*found), marker="o", markersize=3, label=name, linewidth=1.2)
    for axes, title in ((left, "loss"), (right, "macro AUROC on validation")):
        axes.set_title(title, fontsize=9.5)
        axes.set_xlabel("step")
        axes.grid(color="#eeeeee")
    if any(min(one["loss"] for one in history) > 0 for history in kept.values()):
        left.set_yscale("symlog", linthresh=0.1)
    left.legend(fontsize=7.5, frameon=False)
    return save_figure(figure, path, dpi=110)


def _print(axes: Axes, signal: np.ndarray, fs: float, window: tuple[float, float] | None, title: str) -> None:
    seconds = signal.shape[1] / fs
    quarter = seconds / 4
    rows = len(LAYOUT) + 1
    _millimetres(axes, seconds, rows * ROW_MV)
    time = np.arange(signal.shape[1]) / fs
    for row, leads in enumerate(LAYOUT):
        base = (rows - row - 0.5) * ROW_MV
        for column, lead in enumerate(leads):
            here = (time >= column * quarter) & (time < (column + 1) * quarter)
            axes.plot(time[here], base + _clip(signal[LEADS.index(lead), here]), color=_INK, linewidth=0.8)
            axes.text(column * quarter + 0.06, base + 1.0, lead, fontsize=8, fontweight="bold")
            if column:
                axes.plot([column * quarter] * 2, [base - 0.35, base + 0.35], color=_INK, linewidth=0.6)
    base = 0.5 * ROW_MV
    axes.plot(time, base + _clip(signal[LEADS.index(STRIP)]), color=_INK, linewidth=0.8)
    axes.text(0.06, base + 1.0, STRIP, fontsize=8, fontweight="bold")
    _shade(axes, window, seconds)
    if window is not None and window[1] - window[0] >= 0.98 * seconds:  # the whole rhythm strip
        axes.axvspan(0, seconds, ymax=1 / rows, color=_SHADE, alpha=0.25, linewidth=0)
    axes.set_title(title, fontsize=9.5, loc="left")


def _zoom(axes: Axes, signal: np.ndarray, fs: float, window: tuple[float, float]) -> None:
    """All 12 leads in the window with a third of its length around it, side by side."""
    size = window[1] - window[0]
    start = max(0.0, min(window[0] - size / 3, signal.shape[1] / fs - 5 / 3 * size))
    first, last = int(start * fs), int((start + 5 / 3 * size) * fs)
    width = (last - first) / fs
    gap = 0.12
    _millimetres(axes, 6 * (width + gap), 2 * ROW_MV)
    time = np.arange(last - first) / fs
    for place, lead in enumerate(LEADS):
        left, base = (place % 6) * (width + gap), (1.5 - place // 6) * ROW_MV
        inside = (window[0] - first / fs + left, window[1] - first / fs + left)
        axes.axvspan(
            *inside, ymin=0.5 * (1 - place // 6), ymax=1 - 0.5 * (place // 6), color=_SHADE, alpha=0.35, lw=0
        )
        axes.plot(left + time, base + _clip(signal[LEADS.index(lead), first:last]), color=_INK, linewidth=0.9)
        axes.text(left + 0.03, base + 1.05, lead, fontsize=8, fontweight="bold")
    axes.set_title(f"{window[0]:.2f} s to {window[1]:.2f} s in all leads", fontsize=8.5, loc="left")


def _millimetres(axes: Axes, seconds: float, millivolts: float) -> None:
    """Grid of 5 mm (0.2 s, 0.5 mV) and 1 mm (0.04 s, 0.1 mV)."""
    axes.set_xlim(0, seconds)
    axes.set_ylim(0, millivolts)
    axes.set_xticks([])
    axes.set_yticks([])
    fine = seconds <= 12 and millivolts <= 13
    for step, colour, width, shown in ((1, _PINK, 0.25, fine), (5, _PINK_STRONG, 0.5, True)):
        if shown:  # two collections of lines draw many times faster than ticks
            at_x, at_y = np.arange(0, seconds, 0.04 * step), np.arange(0, millivolts, 0.1 * step)
            axes.vlines(at_x, 0, millivolts, color=colour, linewidth=width, zorder=0)
            axes.hlines(at_y, 0, seconds, color=colour, linewidth=width, zorder=0)
    for spine in axes.spines.values():
        spine.set_color(_PINK_STRONG)


def _shade(axes: Axes, window: tuple[float, float] | None, seconds: float) -> None:
    if window is not None and window[1] - window[0] < 0.98 * seconds:
        axes.axvspan(*window, color=_SHADE, alpha=0.35, linewidth=0)


def _clip(values: np.ndarray, limit: float = LIMIT_MV) -> np.ndarray:
    return np.clip(values, -limit, limit)


def _paper(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _plain(width: float, height: float) -> Figure:
    from matplotlib import rc_context

    with rc_context({"font.size": 8.5, "axes.spines.top": False, "axes.spines.right": False}):
        return _paper(width, height)


def _caption(figure: Figure, text: str) -> None:
    if text:
        figure.supxlabel(text, fontsize=8, color="#444444")
