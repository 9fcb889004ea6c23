"""Where the local losses look: anchor regions of a feature map, and the regions each is pushed away from."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from core.errors import ConfigError

Negatives = Literal["table", "all"]

# Coordinates in quarters of the side (row, column), top-left corners; the tables of the published code.
_CORNERS = "00 02 04 20 22 24 40 42 44"
_POSITIVE = {9: _CORNERS, 13: _CORNERS + " 11 13 31 33"}
_NEGATIVE = {
    (9, 0): """02 20 22 04 40; 00 04 20 22 24; 00 02 22 24 44; 00 02 22 40 42; 00 02 20 24 42;
        02 04 22 42 44; 00 20 22 42 44; 20 22 24 40 44; 04 22 24 40 42""",
    (13, 3): """02 11 12 20 21; 00 04 11 13 22; 02 12 13 23 24; 00 11 22 40 31; 11 13 31 33 20;
        04 22 44 13 33; 20 21 42 31 32; 22 40 44 31 33; 23 24 42 33 32; 00 02 20 22 13;
        02 04 11 22 24; 20 22 40 42 33; 22 24 42 44 31""",
    (13, 1): """02 20 22 11 13; 00 04 22 11 13; 02 22 24 31 13; 00 22 40 11 31; 11 13 31 33 20;
        04 22 44 13 33; 20 22 42 31 11; 22 40 44 31 33; 22 24 42 33 31; 00 02 20 22 13;
        02 04 22 24 33; 20 22 40 02 11; 22 24 42 44 13""",
}


class Regions(NamedTuple):
    """Corners of all regions of a map, which of them are anchors (the first A), and each anchor's negatives.

    ``corners`` (R, 2) row and column; ``negatives`` (A, n) indices into ``corners``.
    """

    corners: np.ndarray
    negatives: np.ndarray

    @property
    def anchors(self) -> int:
        """A, the number of anchors."""
        return len(self.negatives)

    def negative_corners(self) -> np.ndarray:
        """(A, n, 2) corners of the negatives."""
        return self.corners[self.negatives]


def region_table(
    height: int, width: int, *, kernel: int = 3, anchors: int = 13, negatives: Negatives = "table"
) -> Regions:
    """The regions of a (height, width) map that the local losses compare.

    Corners lie at 0, 1/4, 1/2, 3/4 and 1 of the side less ``kernel + 1`` (kernel 3) or 1 (kernel 1), as in
    the published code, which thus never reaches the last row and column with kernel 3.

    Args:
        height, width: of the feature map.
        kernel: side of a region, 1 or 3.
        anchors: 9 (a 3 x 3 grid) or 13 (with the four points between).
        negatives: ``table``: the five of the published code, some of which are no anchors; ``all``: the other
            anchors.

    Raises:
        ConfigError: a kernel, a number of anchors or a word not named above, or a map too small for them.

    >>> table = region_table(48, 48)
    >>> table.corners[:4].tolist(), table.negatives.shape
    ([[0, 0], [0, 22], [0, 44], [22, 0]], (13, 5))
    """
    if kernel not in (1, 3) or anchors not in _POSITIVE or negatives not in ("table", "all"):
        raise ConfigError(
            "regions (kernel, anchors, negatives)",
            seen=(kernel, anchors, negatives),
            expected="kernel 1 or 3, 9 or 13 anchors, negatives table or all",
        )
    spans = [side - (4 if kernel == 3 else 1) for side in (height, width)]
    if min(spans) < 4:
        raise ConfigError(
            "feature map of the local loss",
            seen=f"{height} x {width}",
            expected=f"sides of at least {8 if kernel == 3 else 5}",
            remedy="use more decoder blocks or larger images",
        )
    names = _POSITIVE[anchors].split()
    if negatives == "all":
        wanted = [[other for other in names if other != name] for name in names]
    else:
        rows = _NEGATIVE[anchors, kernel if anchors == 13 else 0].split(";")
        wanted = [row.split() for row in rows]
    every = list(dict.fromkeys([*names, *(name for row in wanted for name in row)]))
    # int(q * span / 4) as in the published code
    corners = np.array([[int(int(q) * span / 4) for q, span in zip(name, spans)] for name in every])
    return Regions(corners, np.array([[every.index(name) for name in row] for row in wanted]))
