"""Scores of a landslide map: over all pixels together, and by object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from earth_observation.landslide.ground import landslide_batch
from earth_observation.landslide.net import TwoSourceNet
from earth_observation.metrics import confusion_matrix, object_scores, segmentation_scores

BATCH = 16
LEAST_OBJECT = 16
"""Pixels of the smallest scar that counts as an object."""


@torch.no_grad()
def answers(net: TwoSourceNet, tiles: Mapping[str, np.ndarray], metres: float) -> np.ndarray:
    """(n, side, side) uint8: 1 where the net finds a landslide."""
    net.eval()
    found = []
    for start in range(0, len(tiles["mask"]), BATCH):
        batch = landslide_batch(tiles, range(start, min(start + BATCH, len(tiles["mask"]))), metres)
        found.append(net(batch["picture"], batch["terrain"], batch["known"]).argmax(1).numpy())
    return np.concatenate(found).astype(np.uint8)


def score_landslides(
    net: TwoSourceNet, tiles: Mapping[str, np.ndarray], *, metres: float = 5.0
) -> dict[str, Any]:
    """`segmentation_scores` over all tiles together; class 1 is landslide."""
    found = answers(net, tiles, metres)
    return segmentation_scores(confusion_matrix(tiles["mask"], found, 2))


def landslide_metrics(
    net: TwoSourceNet, tiles: Mapping[str, np.ndarray], shape: tuple[int, int], *, metres: float
) -> dict[str, float]:
    """The scores that are reported, of tiles of one ground of ``shape``: IoU, F1, precision, recall, objects.

    Tiles are laid on the ground before objects are counted, so that a scar across two tiles is one.
    """
    found = answers(net, tiles, metres)
    scores = segmentation_scores(confusion_matrix(tiles["mask"], found, 2))
    truth, answer = np.full(shape, 255, dtype=np.uint8), np.zeros(shape, dtype=np.uint8)
    side = tiles["mask"].shape[1]
    for (row, column), mask, own in zip(tiles["place"], tiles["mask"], found):
        window = np.s_[row : row + side, column : column + side]
        truth[window], answer[window] = mask, own
    objects = object_scores(truth, answer, min_area=LEAST_OBJECT)
    names = ("iou", "f1", "precision", "recall")
    return {
        **{f"landslide_{name}": float(scores[name][1]) for name in names},
        "miou": scores["miou"],
        "accuracy": scores["accuracy"],
        **{f"objects_{name}": float(count) for name, count in objects.items()},
    }
