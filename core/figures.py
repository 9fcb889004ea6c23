"""The look of the figures, and how they are written: the same in every pipeline."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e5e5e5",
    "axes.axisbelow": True,
}
"""Settings of matplotlib, for ``rc_context``."""


def whiskers(
    values: Sequence[float], lows: Sequence[float], highs: Sequence[float]
) -> tuple[list[float], list[float]]:
    """Lengths of error bars below and above ``values``, for ``xerr`` or ``yerr`` of matplotlib.

    Never negative: an interval of one group is the value itself but for rounding, and a bootstrap interval over few
    groups may lie beside it.

    >>> whiskers([0.5, 0.25], [0.25, 0.375], [1.0, 0.5])
    ([0.25, 0.0], [0.5, 0.25])
    """
    below = [max(0.0, value - low) for value, low in zip(values, lows)]
    above = [max(0.0, high - value) for value, high in zip(values, highs)]
    return below, above


def canvas(
    panels: int, *, columns: int = 1, width: float, height: float, grid: bool = True
) -> tuple[Figure, list[Axes]]:
    """A figure of ``width`` x ``height`` inches with so many panels, filled row by row.

    It belongs to no window and to no global state: figures may be drawn in threads and in notebooks alike.

    >>> figure, panels = canvas(3, columns=2, width=4, height=3)
    >>> len(panels), panels[2].get_subplotspec().rowspan.start
    (3, 1)
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({**STYLE, "axes.grid": grid}):
        figure = Figure(figsize=(width, height), layout="constrained")
        rows = -(-panels // columns)
        found = [figure.add_subplot(rows, columns, place + 1) for place in range(panels)]
    return figure, found


def save_figure(figure: Figure, path: str | os.PathLike[str], *, dpi: int = 150) -> Path:
    """Write a PNG, whole or not at all; equal input gives equal bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return atomic_write(path, buffer.getvalue())
