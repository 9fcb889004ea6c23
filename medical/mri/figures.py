"""The figures of the report: learning curves, overlays, slices by position, Dice against the number of labels."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.figures import canvas, save_figure, whiskers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from medical.mri.evaluate import Scored

INITS = {"pretrained": "#0072b2", "random": "#7a7a7a", "mixup": "#d55e00", "self_training": "#009e73"}
STRUCTURES = ("#e41a1c", "#4daf4a", "#377eb8", "#ff7f00", "#984ea3", "#ffff33", "#a65628")


def learning_figure(
    path: str | os.PathLike[str],
    histories: Mapping[str, Sequence[Mapping[str, float]]],
    runs: Sequence[Mapping[str, Any]],
    *,
    title: str = "",
) -> Path:
    """Loss and effective rank of the two pretrainings, and validation Dice of every fine-tuning run."""
    figure, panels = canvas(len(histories) + 1, columns=len(histories) + 1, width=10, height=3.2)
    for axes, (stage, history) in zip(panels, histories.items()):
        steps = [record["step"] for record in history]
        axes.plot(steps, [record["loss"] for record in history], color="#0072b2", linewidth=1.3)
        axes.set_title(f"{stage}: loss", fontsize=9)
        axes.set_xlabel("step")
        axes.set_ylim(bottom=0)
    axes = panels[-1]
    counts = sorted({run["labelled"] for run in runs})
    for run in runs:
        found = [
            (record["step"], record["valid_dice"]) for record in run["history"] if "valid_dice" in record
        ]
        style = ["-", "--", ":", "-."][counts.index(run["labelled"]) % 4]
        axes.plot(
            *zip(*found), style, color=INITS.get(run["init"], "#000000"), linewidth=1.3,
            label=f"{_words(run['init'])}, {run['labelled']}",
        )  # fmt: skip
    axes.set_title("fine-tuning: validation Dice", fontsize=9)
    axes.set_xlabel("step")
    axes.set_ylim(0, 1)
    axes.legend(
        fontsize=7, frameon=False, title="start, labelled volumes", title_fontsize=7,
        loc="center left", bbox_to_anchor=(1.02, 0.5),
    )  # fmt: skip
    return _titled(figure, path, title)


def labels_figure(
    path: str | os.PathLike[str], points: Sequence[Mapping[str, Any]], *, title: str = ""
) -> Path:
    """Test Dice with its interval over patients against the number of labelled volumes, a line a start."""
    figure, (axes,) = canvas(1, width=5.2, height=3.4)
    counts = sorted({point["labelled"] for point in points})
    names = list(dict.fromkeys(point["init"] for point in points))
    for index, name in enumerate(names):
        line = sorted((p for p in points if p["init"] == name), key=lambda p: p["labelled"])
        places = [counts.index(p["labelled"]) + 0.08 * (index - (len(names) - 1) / 2) for p in line]
        values = [p["value"] for p in line]
        spread = whiskers(values, [p["low"] for p in line], [p["high"] for p in line])
        axes.errorbar(
            places, values, yerr=spread, marker="o", markersize=4, capsize=2,
            linewidth=1.2, color=INITS.get(name, "#000000"), label=_words(name),
        )  # fmt: skip
    axes.set_xticks(range(len(counts)), [str(count) for count in counts])
    axes.set_xlabel("labelled volumes")
    axes.set_ylabel("test Dice, 95 % interval")
    axes.set_ylim(0, 1)
    axes.margins(x=0.1)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    return _titled(figure, path, title)


def overlay_figure(
    path: str | os.PathLike[str],
    chosen: Mapping[str, tuple[Scored, np.ndarray]],
    structures: Sequence[str],
    *,
    title: str = "",
) -> Path:
    """Three slices of each chosen volume: the reference as dashed outlines, the answer as full ones.

    Args:
        chosen: a word ("best") -> (scores, voxels of the file).
    """
    from matplotlib.lines import Line2D

    figure, panels = canvas(3 * len(chosen), columns=3, width=6.6, height=2.3 * len(chosen) + 0.6, grid=False)
    for row, (word, (scored, voxels)) in enumerate(chosen.items()):
        geometry = scored.geometry
        image, truth, found = (geometry.to_ras(one) for one in (voxels, scored.truth, scored.found))
        filled = np.flatnonzero((truth > 0).any((0, 1)))
        low, high = np.percentile(image, [1, 99])
        name = f"{word}: {scored.case.id}, Dice {scored.mean_dice:.2f}\n"
        for axes, share in zip(panels[3 * row : 3 * row + 3], (0.2, 0.5, 0.8)):
            level = int(filled[int(share * (len(filled) - 1))])
            axes.imshow(image[:, :, level].T, cmap="gray", origin="lower", vmin=low, vmax=high,
                        aspect=geometry.spacing[1] / geometry.spacing[0])  # fmt: skip
            for mask, line in ((truth, "dashed"), (found, "solid")):
                for index in range(len(structures)):
                    _outline(axes, np.equal(mask[:, :, level].T, index + 1), STRUCTURES[index % 7], line)
            axes.set_axis_off()
            axes.set_title(f"{name}slice {level + 1} of {image.shape[2]}", fontsize=8, loc="left")
            name = "\n"
    handles = [Line2D([], [], color=STRUCTURES[i % 7], label=name) for i, name in enumerate(structures)]
    handles += [
        Line2D([], [], color="black", linestyle="dashed", label="reference"),
        Line2D([], [], color="black", label="network"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(5, len(handles)), frameon=False)
    return _titled(figure, path, title)


def _outline(axes: Axes, mask: np.ndarray, colour: str, line: str) -> None:
    if mask.any() and not mask.all():
        axes.contour(mask.astype(float), levels=[0.5], colors=[colour], linestyles=[line], linewidths=1.0)


def position_figure(
    path: str | os.PathLike[str],
    embeddings: Mapping[str, np.ndarray],
    position: np.ndarray,
    *,
    title: str = "",
) -> Path:
    """Slices of the test volumes in the plane of their first two principal components, coloured by position.

    Args:
        embeddings: name of an encoder -> (N, d) rows.
        position: (N,) in (0, 1], inferior to superior.
    """
    figure, panels = canvas(
        len(embeddings), columns=len(embeddings), width=3.6 * len(embeddings) + 0.8, height=3.4, grid=False
    )
    for axes, (name, rows) in zip(panels, embeddings.items()):
        unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        centred = unit - unit.mean(0)
        _, values, axes_of = np.linalg.svd(centred, full_matrices=False)
        plane = centred @ axes_of[:2].T
        shares = values**2 / max(float((values**2).sum()), 1e-12)
        dots = axes.scatter(plane[:, 0], plane[:, 1], c=position, s=10, cmap="viridis", vmin=0, vmax=1)
        axes.set_title(f"{name} encoder ({shares[:2].sum():.0%} of the variance)", fontsize=9)
        axes.set_xticks([])
        axes.set_yticks([])
    figure.colorbar(dots, ax=panels[-1], label="position in the volume (0 inferior)")
    return _titled(figure, path, title)


def _words(name: str) -> str:
    return {"self_training": "self-training", "mixup": "pretrained + Mixup"}.get(name, name)


def _titled(figure: Figure, path: str | os.PathLike[str], title: str) -> Path:
    if title:
        figure.suptitle(title, fontsize=10)
    return save_figure(figure, path, dpi=130)
