"""Overlapping tiles over a scene, and the smooth weights by which their answers are blended."""

from __future__ import annotations

import numpy as np

from core.errors import ConfigError

FLOOR = 1e-3


def tile_starts(length: int, tile: int, stride: int) -> list[int]:
    """Where tiles begin along an axis: every ``stride``, and the last one flush with the end.

    An axis shorter than a tile has one start, 0.

    >>> tile_starts(10, 4, 3), tile_starts(11, 4, 3), tile_starts(3, 4, 3)
    ([0, 3, 6], [0, 3, 6, 7], [0])
    """
    if not 1 <= stride <= tile:
        raise ConfigError(
            "(stride, tile)",
            seen=(stride, tile),
            expected="1 <= stride <= tile, or pixels stay without answer",
        )
    if length <= tile:
        return [0]
    starts = list(range(0, length - tile + 1, stride))
    if starts[-1] != length - tile:
        starts.append(length - tile)
    return starts


def blend_window(tile: int) -> np.ndarray:
    """(tile, tile) float64 weights: a Hann window along each axis, no lower than 0.001 of its own axis.

    >>> blend_window(2).round(3).tolist()
    [[0.25, 0.25], [0.25, 0.25]]
    """
    phase = 2 * np.pi * (np.arange(tile) + 0.5) / tile
    side = np.maximum(0.5 - 0.5 * np.cos(phase), FLOOR)
    return side[:, None] * side[None, :]


class StripBlend:
    """Adds up tile answers of one scene from top to bottom, and hands out rows that no tile will touch again.

    Holds (channels, tile, width) sums and no more.

    Args:
        dtype: of the sums. Weights span six decades, but a pixel's sum and its weights share their scale: single
            precision keeps six digits.

    >>> blend = StripBlend(channels=1, width=3, tile=2)
    >>> blend.add(np.ones((1, 2, 2)), 0, 0); blend.add(np.ones((1, 2, 2)), 0, 1)
    >>> blend.take(2).round(6).tolist()
    [[[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]]
    """

    def __init__(self, channels: int, width: int, tile: int, dtype: type = np.float64) -> None:
        self.window: np.ndarray = blend_window(tile).astype(dtype)
        self.total: np.ndarray = np.zeros((channels, tile, max(width, tile)), dtype=dtype)
        self.weight: np.ndarray = np.zeros((tile, max(width, tile)), dtype=dtype)
        self.width, self.top = width, 0

    def add(self, answer: np.ndarray, row: int, column: int) -> None:
        """Add the (channels, tile, tile) answer of the tile whose first pixel is (row, column)."""
        tile = len(self.window)
        if row != self.top:
            raise ConfigError(
                "row of a tile", seen=row, expected=f"{self.top}: strips come from top to bottom"
            )
        self.total[:, :, column : column + tile] += answer * self.window
        self.weight[:, column : column + tile] += self.window

    def peek(self, rows: int, first: int, last: int) -> np.ndarray:
        """The means (channels, rows, last - first) of some columns, NaN where no tile was added."""
        total, weight = self.total[:, :rows, first:last], self.weight[:rows, first:last]
        return np.divide(total, weight, out=np.full_like(total, np.nan), where=weight > 0)

    def move(self, rows: int) -> None:
        """Drop the first rows and make room for as many below."""
        for plane in (*self.total, self.weight):  # one at a time: an overlapping copy needs a second plane
            plane[: len(plane) - rows] = plane[rows:]
            plane[len(plane) - rows :] = 0
        self.top += rows

    def take(self, rows: int) -> np.ndarray:
        """The first ``rows`` rows (channels, rows, width), then moves down."""
        done = self.peek(rows, 0, self.width)
        self.move(rows)
        return done
