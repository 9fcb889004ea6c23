"""What a selection does to a data set: the kept share by threshold, body height, scanner and label."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from medical.ct.hamming import members, reduce_hashes

THRESHOLDS = tuple(range(17))
DECILES = 10
TOO_FEW = 0.02
"""Kept share below which a selection is warned of."""


def kept_curve(
    codes: np.ndarray, volumes: np.ndarray, thresholds: Iterable[int] = THRESHOLDS
) -> list[dict[str, Any]]:
    """Kept share for each hash threshold, per volume and over all: rows of a table.

    Each row: threshold, kept, ratio, and lowest, median and highest ratio of a volume.

    >>> kept_curve(np.zeros((4, 8), np.uint8), np.array(["a", "a", "b", "b"]), [0])[0]["ratio"]
    0.5
    """
    sizes = [len(rows) for rows in members(volumes)]
    found = []
    for threshold in thresholds:
        keep = np.zeros(len(codes), bool)
        keep[reduce_hashes(codes, threshold, volumes).keep] = True
        shares = [float(keep[rows].mean()) for rows in members(volumes)] if sizes else [0.0]
        found.append(
            {
                "threshold": threshold,
                "kept": int(keep.sum()),
                "ratio": float(keep.mean()),
                "lowest": min(shares),
                "median": float(np.median(shares)),
                "highest": max(shares),
            }
        )
    return found


def kept_by(keep: np.ndarray, groups: Any) -> list[dict[str, Any]]:
    """Slices, kept slices and kept share of each group: rows of a table.

    Args:
        keep: (n,) bool.

    >>> kept_by(np.array([True, False, True]), ["a", "a", "b"])
    [{'group': 'a', 'slices': 2, 'kept': 1, 'ratio': 0.5}, {'group': 'b', 'slices': 1, 'kept': 1, 'ratio': 1.0}]
    """
    labels = np.asarray(groups)
    return [
        {
            "group": labels[rows[0]].item(),
            "slices": len(rows),
            "kept": int(keep[rows].sum()),
            "ratio": float(keep[rows].mean()),
        }
        for rows in members(labels)
    ]


def height_deciles(volumes: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Which tenth of its volume each slice lies in, (n,) int64, 0 at the feet.

    >>> height_deciles(np.array(["a"] * 3), np.array([0.0, 50.0, 100.0])).tolist()
    [0, 5, 9]
    """
    found = np.zeros(len(volumes), np.int64)
    for rows in members(volumes):
        z = positions[rows]
        extent = float(np.ptp(z)) or 1.0
        found[rows] = np.minimum((z - z.min()) / extent * DECILES, DECILES - 1).astype(np.int64)
    return found


def warnings_of(
    keep: np.ndarray, volumes: np.ndarray, positions: np.ndarray, labels: np.ndarray
) -> list[str]:
    """Sentences about what a selection may have lost: nearly all, a body height, a label.

    Args:
        keep: (n,) bool. labels: (n,) int, -1 where unknown.
    """
    found = []
    if keep.mean() < TOO_FEW:
        found.append(
            f"{1 - keep.mean():.1%} of the slices are removed: look at the galleries before training."
        )
    for row in kept_by(keep, height_deciles(volumes, positions)):
        if row["kept"] == 0:
            found.append(
                f"no slice is left of body height {10 * row['group']} to {10 * row['group'] + 10} %."
            )
    known = labels >= 0
    for row in kept_by(keep[known], labels[known]):
        if row["kept"] == 0:
            found.append(f"no slice with label {row['group']} is left.")
        elif row["group"] > 0 and row["ratio"] < 0.5 * keep.mean():
            found.append(
                f"label {row['group']}: {1 - row['ratio']:.1%} of its slices are removed, of all {1 - keep.mean():.1%}."
            )
    return found
