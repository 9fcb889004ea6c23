"""The figures of the report: retrieval, findings, missing data, learning, explained cases."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

import numpy as np

from core.figures import STYLE, save_figure, whiskers
from medical.alignment.evaluate import Auroc, Direction
from medical.ecg.data.leads import LEADS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

P = ParamSpec("P")
COLOURS = {"xray": "#0072b2", "ecg": "#d55e00", "xray+ecg": "#444444"}
NAMES = {"xray": "film", "ecg": "ECG", "text": "report", "xray+ecg": "film and ECG"}


def _styled(draw: Callable[P, Path]) -> Callable[P, Path]:
    """Draw with the report's style, and leave matplotlib's own as it was."""

    @functools.wraps(draw)
    def drawing(*args: P.args, **kwargs: P.kwargs) -> Path:
        from matplotlib import rc_context

        with rc_context({**STYLE, "axes.grid": False}):
            return draw(*args, **kwargs)

    return drawing


@_styled
def retrieval_figure(path: str | os.PathLike[str], found: Sequence[Direction], *, title: str) -> Path:
    """Recall at 1, 5 and 10 of each direction, with the interval of recall at 5 and the level of chance."""
    figure = _new(6.4, 1.2 + 0.45 * len(found))
    axes = figure.add_subplot()
    places = np.arange(len(found))[::-1]
    for k, shade in ((10, "#bcd7ea"), (5, "#5fa8d3"), (1, "#1b4965")):
        axes.barh(places, [one.recall[k] for one in found], height=0.62, color=shade, label=f"R@{k}")
    chance = [min(1.0, 10 / one.candidates) for one in found]
    axes.plot(chance, places, "|", color="#d62728", markersize=14, label="R@10 by chance")
    centre = [one.recall[5] for one in found]
    spread = whiskers(centre, [one.low for one in found], [one.high for one in found])
    axes.errorbar(centre, places, xerr=spread, fmt="none", ecolor="black", capsize=2, linewidth=0.9)
    labels = [f"{NAMES[one.source]} to {NAMES[one.target]} ({one.n} of {one.candidates})" for one in found]
    axes.set_yticks(places, labels)
    axes.set_xlim(0, 1)
    axes.set_xlabel("recall among the candidates; line: 95 % interval of R@5")
    figure.legend(loc="outside upper right", ncols=4, frameon=False, fontsize=8)
    figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    return save_figure(figure, path, dpi=130)


@_styled
def findings_figure(path: str | os.PathLike[str], found: Sequence[Auroc], *, title: str) -> Path:
    """Zero-shot AUROC of each finding from the film, the ECG and both, with 95 % intervals."""
    names = list(dict.fromkeys(one.finding for one in found))
    figure = _new(6.4, 1.2 + 0.5 * len(names))
    axes = figure.add_subplot()
    for offset, subset in zip((0.22, 0.0, -0.22), COLOURS):
        rows = [one for one in found if one.subset == subset]
        if not rows:
            continue
        places = [len(names) - 1 - names.index(one.finding) + offset for one in rows]
        values = [one.value for one in rows]
        spread = whiskers(values, [one.low for one in rows], [one.high for one in rows])
        axes.errorbar(
            values, places, xerr=spread, fmt="o", color=COLOURS[subset], label=NAMES[subset], markersize=4,
            capsize=2, linewidth=1.1,
        )  # fmt: skip
    axes.axvline(0.5, color="#999999", linestyle="--", linewidth=0.8)
    axes.set_yticks(range(len(names)), names[::-1])
    axes.set_xlim(0, 1.02)
    axes.set_xlabel("AUROC of the prompts, no labels used (dashed: chance)")
    figure.legend(loc="outside upper right", ncols=3, frameon=False, fontsize=8)
    figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    return save_figure(figure, path, dpi=130)


@_styled
def missing_figure(
    path: str | os.PathLike[str],
    found: Sequence[tuple[str, int, float]],
    counts: Mapping[str, int],
    *,
    title: str,
) -> Path:
    """Macro AUROC of the fitted head for each set of modalities it may use, and how many items have just that."""
    figure = _new(6.4, 1.1 + 0.36 * len(found))
    axes = figure.add_subplot()
    places = np.arange(len(found))[::-1]
    axes.barh(places, [value for _, _, value in found], color="#5fa8d3", height=0.6)
    for place, (_, _, value) in zip(places, found):
        axes.text(value + 0.01, place, f"{value:.2f}", va="center", fontsize=8)
    labels = [
        f"{', '.join(NAMES[m] for m in name.split('+'))}  ({counts.get(name, 0)} items)"
        for name, _, _ in found
    ]
    axes.set_yticks(places, labels)
    axes.axvline(0.5, color="#999999", linestyle="--", linewidth=0.8)
    axes.set_xlim(0, 1.08)
    axes.set_xlabel("macro AUROC of the head (in brackets: items with just these)")
    figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    return save_figure(figure, path, dpi=130)


@_styled
def learning_figure(
    path: str | os.PathLike[str], history: Sequence[Mapping[str, float]], *, title: str
) -> Path:
    """Loss, temperature scale and, where measured, retrieval on validation items over the steps."""
    names = [name for name in ("loss", "scale", "valid_mrr") if any(name in one for one in history)]
    figure = _new(2.6 * len(names), 2.4)
    words = {"loss": "loss", "scale": "scale (1 / temperature)", "valid_mrr": "MRR on validation"}
    for number, name in enumerate(names, start=1):
        axes = figure.add_subplot(1, len(names), number)
        points = [(one["step"], one[name]) for one in history if name in one]
        axes.plot(
            *zip(*points),
            color="#0072b2",
            linewidth=1.3,
            marker="o" if len(points) < 12 else "",
            markersize=3,
        )
        axes.set_xlabel("step")
        axes.set_title(words[name], fontsize=9)
    figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    return save_figure(figure, path, dpi=130)


@_styled
def phrase_figure(path: str | os.PathLike[str], cases: Sequence[Mapping[str, Any]], *, title: str) -> Path:
    """Films with the map of a phrase laid over them; ``cases``: film, map, phrase, boxes (shares of the side)."""
    figure = _new(2.3 * max(1, len(cases)), 3.0)
    for number, case in enumerate(cases, start=1):
        axes = figure.add_subplot(1, len(cases), number)
        film = case["film"]
        axes.imshow(film, cmap="gray", vmin=0, vmax=255)
        extent = (-0.5, film.shape[1] - 0.5, film.shape[0] - 0.5, -0.5)
        shown = axes.imshow(case["map"], cmap="inferno", alpha=0.45, extent=extent, interpolation="bilinear")
        for top, left, bottom, right in case.get("boxes", ()):
            side = film.shape[0]
            xs = np.array([left, right, right, left, left]) * side
            ys = np.array([top, top, bottom, bottom, top]) * side
            axes.plot(xs, ys, color="#39ff14", linewidth=1.4)
        axes.set_title(_wrapped(case["phrase"], 26), fontsize=8)
        axes.set_axis_off()
        figure.colorbar(shown, ax=axes, location="bottom", shrink=0.8).ax.tick_params(labelsize=7)
    figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    return save_figure(figure, path, dpi=130)


@_styled
def case_figure(path: str | os.PathLike[str], case: Mapping[str, Any], *, title: str) -> Path:
    """One case: film with attention, ECG with shaded moments, words of the report, observations, removal.

    ``case`` has any of: film, film_map; signal, fs, moments (values, seconds), leads; words [(word, value)];
    observations [(text, probability)]; removal [(what is shown, {finding: probability})].
    """
    figure = _new(10.0, 6.2)
    grid = figure.add_gridspec(2, 3, width_ratios=[1.1, 1.6, 1.4])
    if "film" in case:
        axes = figure.add_subplot(grid[0, 0])
        axes.imshow(case["film"], cmap="gray", vmin=0, vmax=255)
        size = case["film"].shape
        axes.imshow(
            case["film_map"],
            cmap="inferno",
            alpha=0.45,
            extent=(-0.5, size[1] - 0.5, size[0] - 0.5, -0.5),
            interpolation="bilinear",
        )
        axes.set_title("film: attention for the report" if "words" in case else "film: attention", fontsize=9)
        axes.set_axis_off()
    if "signal" in case:
        _strips(figure.add_subplot(grid[0, 1:]), case)
    if case.get("words"):
        _bars(
            figure.add_subplot(grid[1, 0]),
            case["words"][:14],
            "words: similarity lost without them",
            "#0072b2",
        )
    if case.get("observations"):
        _bars(
            figure.add_subplot(grid[1, 1]),
            case["observations"][:12],
            "observations: probability",
            "#2a9d8f",
            (0, 1),
        )
    if case.get("removal"):
        axes = figure.add_subplot(grid[1, 2])
        names = list(case["removal"][0][1])
        values = np.array([[found[name] for name in names] for _, found in case["removal"]])
        shown = axes.imshow(values, vmin=0, vmax=1, cmap="Blues", aspect="auto")
        axes.set_xticks(
            range(len(names)), [_wrapped(name, 12) for name in names], fontsize=7, rotation=30, ha="right"
        )
        axes.set_yticks(range(len(values)), [label for label, _ in case["removal"]], fontsize=8)
        for (row, column), value in np.ndenumerate(values):
            axes.text(
                column,
                row,
                f"{value:.2f}",
                ha="center",
                va="center",
                fontsize=7,
                color="white" if value > 0.6 else "black",
            )
        axes.set_title("probability of findings by what is shown", fontsize=9)
        figure.colorbar(shown, ax=axes, shrink=0.7)
    figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    return save_figure(figure, path, dpi=130)


def _strips(axes: Any, case: Mapping[str, Any]) -> None:
    signal, fs = case["signal"], case["fs"]
    time = np.arange(signal.shape[1]) / fs
    chosen = [LEADS.index(name) for name in ("I", "II", "V1", "V5")]
    step = 1.2 * max(float(np.ptp(signal[lead])) for lead in chosen)
    values, seconds = case["moments"]
    width = seconds[1] - seconds[0] if len(seconds) > 1 else time[-1]
    for value, second in zip(values, seconds):
        axes.axvspan(
            second - width / 2, second + width / 2, color="#d55e00", alpha=0.45 * float(value), linewidth=0
        )
    for row, lead in enumerate(chosen):
        axes.plot(time, signal[lead] - row * step, color="black", linewidth=0.6)
        axes.text(
            -0.15,
            -row * step,
            f"{LEADS[lead]}\n{case['leads'][lead]:+.2f}",
            ha="right",
            va="center",
            fontsize=7,
        )
    axes.set_xlim(time[0], time[-1])
    axes.set_yticks([])
    axes.set_xlabel("seconds; number: similarity lost without the lead")
    axes.set_title("ECG: shaded where attention lies", fontsize=9)


def _bars(
    axes: Any,
    rows: Sequence[tuple[str, float]],
    title: str,
    colour: str,
    limits: tuple[float, float] | None = None,
) -> None:
    places = np.arange(len(rows))[::-1]
    axes.barh(places, [value for _, value in rows], color=colour, height=0.7)
    axes.set_yticks(places, [_wrapped(name, 30) for name, _ in rows], fontsize=7)
    axes.set_title(title, fontsize=9)
    axes.axvline(0, color="black", linewidth=0.6)
    if limits:
        axes.set_xlim(*limits)


def _wrapped(text: str, width: int) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(text, width)[:3])


def _new(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")
