"""Scores of whole volumes in the voxels of their files: Dice, 95 % Hausdorff distance, volumes in ml."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from medical.mri.data.case import Case
from medical.mri.data.checks import read_image, read_label
from medical.mri.data.nifti import Geometry
from medical.mri.dice import dice_scores
from medical.mri.predict import predict_probabilities
from medical.mri.prepared import Prepared
from medical.mri.preprocess import image_slices, native_labels, place


@dataclass(frozen=True)
class Scored:
    """One volume: its case, its geometry, truth and answer (X, Y, Z), and a score for each structure.

    ``dice`` is NaN where a structure is absent from both masks; ``hd95`` (mm) also where it is absent from
    one; ``millilitres`` has the found and the true volume of each structure, (structures, 2).
    """

    case: Case
    geometry: Geometry
    truth: np.ndarray
    found: np.ndarray
    dice: np.ndarray
    hd95: np.ndarray
    millilitres: np.ndarray

    @property
    def mean_dice(self) -> float:
        """Mean over the structures that are there; NaN where there is none."""
        return float(np.nanmean(self.dice)) if np.isfinite(self.dice).any() else float("nan")


def score_volumes(
    net: nn.Module,
    prepared: Prepared,
    volumes: Sequence[int],
    *,
    distances: bool = True,
) -> list[Scored]:
    """Read each volume's own files again, predict, and compare in the file's voxels.

    Args:
        net: in eval mode.
        volumes: numbers of volumes with masks.
        distances: whether to compute ``hd95`` (else NaN).
    """
    return [_score(net, prepared, prepared.cases[number], distances) for number in volumes]


def segment(
    net: nn.Module, voxels: np.ndarray, geometry: Geometry, *, spacing: float | None, size: Sequence[int]
) -> np.ndarray:
    """The mask (X, Y, Z) uint8 that a network gives to a volume, in the voxels of its file."""
    placement = place(geometry, spacing, size)
    return native_labels(predict_probabilities(net, image_slices(voxels, placement)), placement)


def _score(net: nn.Module, prepared: Prepared, case: Case, distances: bool) -> Scored:
    volume, _ = read_image(case, prepared.reading)
    truth, _ = read_label(case, volume, prepared.label_map, prepared.reading)
    geometry = volume.geometry
    found = segment(net, volume.voxels, geometry, spacing=prepared.spacing, size=prepared.size)
    structures = range(1, prepared.classes)
    hd95 = [hausdorff95(truth == k, found == k, geometry.voxel) if distances else np.nan for k in structures]
    counts = [[np.count_nonzero(mask == k) for mask in (found, truth)] for k in structures]
    return Scored(
        case,
        geometry,
        truth,
        found,
        dice_scores(truth, found, prepared.classes),
        np.array(hd95, dtype=np.float64),
        np.array(counts) * geometry.millilitres,
    )


def hausdorff95(truth: np.ndarray, found: np.ndarray, spacing: Any, *, percentile: float = 95.0) -> float:
    """95th percentile of the distances from each surface to the other, the larger of the two, in mm.

    A surface is what an erosion by one voxel takes away. NaN where a mask is empty. The same as MONAI's
    ``compute_hausdorff_distance``.

    Args:
        truth, found: bool arrays of one shape.
        spacing: mm along each axis.

    >>> a = np.zeros((1, 1, 6), bool)
    >>> a[..., 1] = True
    >>> hausdorff95(a, np.roll(a, 3), (1, 1, 2))
    6.0
    """
    from scipy.ndimage import binary_erosion, distance_transform_edt

    if not truth.any() or not found.any():
        return float("nan")
    both = truth | found  # nothing outside of the box around both can matter
    box = tuple(
        slice(int(at.min()), int(at.max()) + 1) for at in (np.flatnonzero(both.any(axis)) for axis in _OTHERS)
    )
    surfaces = [mask & ~binary_erosion(mask) for mask in (truth[box], found[box])]
    far = []
    for one, other in (surfaces, surfaces[::-1]):
        distance = distance_transform_edt(~other, sampling=tuple(float(mm) for mm in spacing))
        far.append(float(np.percentile(distance[one], percentile)))
    return max(far)


_OTHERS = ((1, 2), (0, 2), (0, 1))
