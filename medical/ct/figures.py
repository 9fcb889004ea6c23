"""The figures of the report: kept share by threshold, body coverage, a gallery, downstream scores, training."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.figures import canvas, save_figure, whiskers

if TYPE_CHECKING:
    pass

BLUE, ORANGE, GREY, GREEN = "#0072b2", "#d55e00", "#7a7a7a", "#009e73"
NAMES = {"full": "all slices", "reduced": "kept slices"}


def curve_figure(
    path: str | os.PathLike[str], curve: Sequence[Mapping[str, Any]], *, chosen: int | None, demo: bool
) -> Path:
    """Kept share against the hash threshold, over all and from the lowest to the highest volume."""
    figure, (axes,) = canvas(1, width=5.6, height=3.2)
    places = [row["threshold"] for row in curve]
    axes.fill_between(
        places, [row["lowest"] for row in curve], [row["highest"] for row in curve],
        color=BLUE, alpha=0.15, linewidth=0, label="lowest to highest volume",
    )  # fmt: skip
    axes.plot(places, [row["ratio"] for row in curve], "o-", color=BLUE, markersize=4, label="all volumes")
    hit = [row for row in curve if row["threshold"] == chosen]
    if hit:
        axes.plot(
            [hit[0]["threshold"]],
            [hit[0]["ratio"]],
            "D",
            color=ORANGE,
            markersize=7,
            label=f"chosen: {hit[0]['ratio']:.1%}",
        )
    axes.set_xlabel("threshold: bits that may differ")
    axes.set_ylabel("kept share of the slices")
    axes.set_ylim(0, 1)
    axes.legend(frameon=False)
    axes.set_title("Kept share by hash threshold" + _mark(demo), fontsize=10)
    return save_figure(figure, path)


def coverage_figure(
    path: str | os.PathLike[str],
    deciles: Sequence[Mapping[str, Any]],
    groups: Mapping[str, Sequence[Mapping[str, Any]]],
    *,
    overall: float,
    demo: bool,
) -> Path:
    """Kept share by body height and by label, scanner or region; the line is the share over all."""
    kept = {name: rows for name, rows in groups.items() if len(rows) > 0}
    figure, panels = canvas(2 if kept else 1, columns=2, width=8.4, height=3.2)
    places = [row["group"] for row in deciles]
    panels[0].bar(places, [row["ratio"] for row in deciles], color=BLUE, width=0.8)
    panels[0].set_xticks(range(0, 10, 2), [f"{10 * d}-{10 * d + 10} %" for d in range(0, 10, 2)])
    panels[0].set_xlabel("height in the volume, feet to head")
    if kept:
        labels = [f"{name} {row['group']}" for name, rows in kept.items() for row in rows]
        values = [row["ratio"] for rows in kept.values() for row in rows]
        panels[1].barh(range(len(values)), values[::-1], color=GREEN, height=0.7)
        panels[1].set_yticks(range(len(values)), [text[:28] for text in labels[::-1]])
        panels[1].axvline(overall, color=ORANGE, linewidth=1.3)
        panels[1].grid(axis="y", visible=False)
        panels[1].set_xlabel("kept share")
    panels[0].axhline(overall, color=ORANGE, linewidth=1.3, label=f"over all: {overall:.1%}")
    panels[0].set_ylabel("kept share")
    panels[0].legend(frameon=False, loc="upper right")
    panels[0].set_ylim(0, min(1.18, 1.25 * max([overall, *(row["ratio"] for row in deciles)])))
    panels[0].set_title("Where slices stay" + _mark(demo), fontsize=10)
    return save_figure(figure, path)


def gallery_figure(
    path: str | os.PathLike[str], pairs: Sequence[Mapping[str, Any]], *, measure: str, demo: bool
) -> Path:
    """Kept slices, and below each the removed slice that is least like it.

    Args:
        pairs: each with ``kept`` and ``removed`` (H, W) uint8, ``score``, ``size`` of the group.
        measure: what the score is, in words.
    """
    columns = min(6, max(1, len(pairs)))
    rows = -(-len(pairs) // columns)
    figure, panels = canvas(2 * rows * columns, columns=columns, width=1.5 * columns, height=3.5 * rows + 0.5)
    for axes in panels:
        axes.axis("off")
    for number, pair in enumerate(pairs):
        top = panels[2 * columns * (number // columns) + number % columns]
        below = panels[2 * columns * (number // columns) + columns + number % columns]
        for axes, name in ((top, "kept"), (below, "removed")):
            axes.imshow(pair[name], cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        top.set_title(f"kept for {pair['size']}", fontsize=8)
        unit = " bits" if measure == "dhash" else ""
        below.set_title(f"removed, {pair['score']:.3g}{unit}", fontsize=8)
    figure.suptitle(
        f"Kept slices, and the removed slice least like each ({measure})" + _mark(demo), fontsize=10
    )
    return save_figure(figure, path)


def downstream_figure(
    path: str | os.PathLike[str],
    metrics: Mapping[str, Mapping[str, Any]],
    runs: Mapping[str, Any],
    *,
    demo: bool,
) -> Path:
    """AUC of probe and fine-tuning after pretraining on all and on kept slices, and what that took."""
    figure, (scores, times) = canvas(2, columns=2, width=7.6, height=3.0)
    for offset, name in ((0.12, "full"), (-0.12, "reduced")):
        rows = [
            (place, metrics[f"auc_{how}_{name}"])
            for place, how in enumerate(("finetuned", "probe"))
            if f"auc_{how}_{name}" in metrics
        ]
        values = [one["value"] for _, one in rows]
        spread = whiskers(values, [one["low"] for _, one in rows], [one["high"] for _, one in rows])
        scores.errorbar(
            values, [place + offset for place, _ in rows], xerr=spread, fmt="o", capsize=2, markersize=5,
            color=GREY if name == "full" else ORANGE, label=NAMES[name],
        )  # fmt: skip
    scores.set_yticks([0, 1], ["fine-tuned", "linear probe"])
    scores.set_ylim(-0.5, 1.5)
    scores.set_xlabel("AUC, 95 % interval over patients")
    scores.grid(axis="y", visible=False)
    scores.set_title("Downstream" + _mark(demo), fontsize=10)
    times.barh([1, 0], [runs[name]["seconds"] for name in NAMES], color=[GREY, ORANGE], height=0.5)
    times.set_yticks([1, 0], [f"{NAMES[name]}\n{runs[name]['slices']:,} slices" for name in NAMES])
    times.set_xlabel("seconds of pretraining")
    times.grid(axis="y", visible=False)
    times.set_title("Time", fontsize=10)
    if scores.get_legend_handles_labels()[0]:
        scores.legend(frameon=False, loc="best")
    return save_figure(figure, path)


def training_figure(path: str | os.PathLike[str], runs: Mapping[str, Any], *, demo: bool) -> Path:
    """Loss and effective rank of both pretrainings over the steps."""
    figure, panels = canvas(2, columns=2, width=7.6, height=2.8)
    for axes, key, title in ((panels[0], "loss", "Loss"), (panels[1], "effective_rank", "Effective rank")):
        for name, colour in (("full", GREY), ("reduced", ORANGE)):
            found = [(one["step"], one[key]) for one in runs[name]["history"] if key in one]
            if found:
                axes.plot(*zip(*found), color=colour, linewidth=1.3, label=NAMES[name])
        axes.set_title(title + _mark(demo), fontsize=10)
        axes.set_xlabel("step")
    panels[0].legend(frameon=False)
    return save_figure(figure, path)


def _mark(demo: bool) -> str:
    return " (demo data)" if demo else ""
