"""The checks of every volume before anything is trained: each offender with its file and the reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from core.data.checks import Quarantine, duplicates
from core.data.digest import digest_of
from core.data.parallel import parallel_map
from core.errors import DataError
from medical.mri.data.case import Case, Listing
from medical.mri.data.nifti import Volume, read_volume
from medical.mri.preprocess import mask_slices, percentiles, place

SAME_PLACE = 1e-3
ANISOTROPIC = 1.5
"""Slices may be that much thicker along another axis than along the axial one before that is taken for an error."""


@dataclass(frozen=True)
class Reading:
    """How files are read, in validation, training, evaluation and serving alike.

    Attributes:
        non_finite: ``reject`` volumes with NaN or infinity, or ``fill`` these voxels with 0 (and warn).
        strays: ``reject`` masks with values outside the map, or take these for ``background`` (and warn).
        bias_correction: N4, see `medical.mri.bias`.
    """

    non_finite: Literal["reject", "fill"] = "reject"
    strays: Literal["reject", "background"] = "reject"
    bias_correction: bool = False


STRICT = Reading()


@dataclass(frozen=True)
class Rules:
    """What a volume must satisfy.

    Attributes:
        parts: partitions; a volume needs as many slices.
        spacing, size: of `medical.mri.preprocess.place`, to report what the crop removes.
        oblique: what happens to a volume whose axes are more than ``largest_angle`` degrees off.
    """

    parts: int
    spacing: float | None
    size: tuple[int, int]
    largest_angle: float = 20.0
    oblique: Literal["warn", "reject"] = "warn"
    reading: Reading = STRICT


class Refused(DataError):
    """A volume that cannot be used; ``kind`` is the short word that the validation counts by."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


@dataclass(frozen=True)
class Inspected:
    """What one case turned out to be: an error (kind, reason) or none, warnings, and facts."""

    error: tuple[str, str] | None
    warnings: tuple[tuple[str, str], ...] = ()
    labelled: bool = False
    digest: str = ""
    facts: Mapping[str, Any] | None = None


def read_image(case: Case, reading: Reading = STRICT) -> tuple[Volume, list[tuple[str, str]]]:
    """The volume of a case with finite values, and warnings (kind, reason).

    Raises:
        Refused: NaN or infinity (unless filled), or a constant volume.
        DataError: the file cannot be read, see `medical.mri.data.nifti.read_volume`.
    """
    return usable(read_volume(case.image, case.channel), reading)


def usable(volume: Volume, reading: Reading = STRICT) -> tuple[Volume, list[tuple[str, str]]]:
    """As `read_image`, for a volume that was read already."""
    warnings = []
    bad = int((~np.isfinite(volume.voxels)).sum())
    if bad and reading.non_finite == "reject":
        raise Refused("non-finite voxels", f"{bad} of {volume.voxels.size} voxels are NaN or infinite")
    if bad:
        volume = replace(volume, voxels=np.nan_to_num(volume.voxels, nan=0.0, posinf=0.0, neginf=0.0))
        warnings.append(("non-finite voxels", f"{bad} voxels were NaN or infinite and are 0 now"))
    low, high = percentiles(volume.voxels)
    if not high > low:
        raise Refused("constant", f"1st and 99th percentile of the voxels are both {low:g}: nothing is in it")
    if reading.bias_correction:
        from medical.mri.bias import correct_bias

        volume = replace(volume, voxels=correct_bias(volume.voxels, volume.geometry.voxel))
    return volume, warnings


def digest_of_voxels(volume: Volume, reading: Reading) -> str:
    """Name of a volume's content: what it holds, and how its odd values are taken."""
    return digest_of(volume.voxels, list(volume.geometry.shape), reading.non_finite)


def read_label(
    case: Case, volume: Volume, label_map: Mapping[int, int], reading: Reading = STRICT
) -> tuple[np.ndarray, list[tuple[str, str]]]:
    """The mask of a case as classes (X, Y, Z) uint8, and warnings (kind, reason).

    Raises:
        Refused: shape or affine differ from the image's, or the mask holds what the map does not name.
    """
    found = read_volume(case.label, as_stored=True)
    if found.geometry.shape != volume.geometry.shape:
        raise Refused(
            "mask geometry", f"the mask has shape {found.geometry.shape}, its image {volume.geometry.shape}"
        )
    gap = float(np.abs(found.geometry.matrix - volume.geometry.matrix).max())
    if gap > SAME_PLACE:
        raise Refused("mask geometry", f"the affines of mask and image differ by up to {gap:.4g}")
    values, counts = np.unique(found.voxels, return_counts=True)
    known = np.isin(values, list(label_map))
    if known.all():
        stray = ""
    else:
        odd = [f"{value:g} ({count})" for value, count in zip(values[~known], counts[~known])]
        stray = f"the mask holds {', '.join(odd[:6])}{' and more' if len(odd) > 6 else ''} (value (voxels))"
    if stray and reading.strays == "reject":
        raise Refused("mask values", f"{stray}; expected one of {sorted(label_map)}")
    classes = np.array([label_map.get(int(value), 0) if ok else 0 for value, ok in zip(values, known)])
    mask = classes.astype(np.uint8)[np.searchsorted(values, found.voxels)]
    return mask, [("mask values", f"{stray}; taken for background")] if stray else []


def inspect_case(case: Case, rules: Rules, label_map: Mapping[int, int]) -> Inspected:
    """Read a case and check all that one volume can show; never raises for bad data."""
    try:
        return _inspect(case, rules, label_map)
    except Refused as error:
        return Inspected((error.kind, str(error)))
    except DataError as error:
        return Inspected(("unreadable", str(error)))


def _inspect(case: Case, rules: Rules, label_map: Mapping[int, int]) -> Inspected:
    for what, path in (("image", case.image), ("mask", case.label)):
        if path and not Path(path).is_file():
            raise Refused(f"missing {what}", f"the {what} {path} is not there")
    reading = replace(rules.reading, bias_correction=False)
    volume = read_volume(case.image, case.channel)
    digest = digest_of_voxels(volume, reading)
    volume, warnings = usable(volume, reading)
    geometry = volume.geometry
    spacing, depth = geometry.spacing, geometry.shape_ras[2]
    if geometry.angle > rules.largest_angle:
        reason = f"axes are {geometry.angle:.0f} degrees off the patient's, more than {rules.largest_angle:g}"
        if rules.oblique == "reject":
            raise Refused("oblique", reason)
        warnings.append(("oblique", reason))
    if max(spacing) > ANISOTROPIC * spacing[2]:
        raise Refused(
            "slice axis",
            f"spacing {_mm(spacing)} mm (right, anterior, superior): the thick slices are not axial",
        )
    if depth < rules.parts:
        raise Refused("too few slices", f"{depth} slices for {rules.parts} partitions")
    facts: dict[str, Any] = {
        "depth": depth,
        "spacing": [round(mm, 4) for mm in spacing],
        "anisotropy": round(max(spacing) / min(spacing), 2),
    }
    placement = place(geometry, rules.spacing, rules.size)
    labelled = False
    if case.label:
        mask, found = read_label(case, volume, label_map, rules.reading)
        warnings += found
        labelled = bool(mask.any())
        if not labelled:
            warnings.append(("empty mask", "the mask is all background: used for pretraining only"))
        slices, lost = mask_slices(mask, placement)
        facts["foreground_lost"] = round(lost, 4)
        if lost > 0:
            warnings.append(("crop", f"{lost:.1%} of the foreground lies outside the crop"))
        if labelled and not slices.any():
            raise Refused("crop", "no foreground is left inside the crop")
    return Inspected(None, tuple(warnings), labelled, digest, facts)


def inspect(
    listing: Listing,
    rules: Rules,
    quarantine: Quarantine,
    *,
    scheduler: str = "serial",
    progress: str | None = None,
) -> tuple[Listing, dict[str, dict[str, Any]]]:
    """Check every case, list what is found, and keep the usable ones.

    A mask that is all background is taken off its case. Volumes with the same voxels are listed from the
    second on: in two splits they would leak.

    Returns:
        The listing of the usable cases, and their facts by id.
    """
    work = partial(inspect_case, rules=rules, label_map=dict(listing.label_map))
    found: Sequence[Inspected] = parallel_map(work, listing.cases, scheduler=scheduler, progress=progress)
    same = dict(duplicates((c.id, i.digest) for c, i in zip(listing.cases, found) if i.error is None))
    kept, facts = [], {}
    for case, one in zip(listing.cases, found):
        error = one.error
        if error is None and case.id in same:
            error = ("duplicate", f"the same voxels as {same[case.id]}")
        for kind, reason in one.warnings:
            quarantine.warn(case.id, kind, reason, row=case.row)
        if error is not None:
            quarantine.add(case.id, *error, row=case.row)
            continue
        kept.append(case if one.labelled else replace(case, label=""))
        facts[case.id] = {**(one.facts or {}), "digest": one.digest}
    return replace(listing, cases=tuple(kept)), facts


def require_enough(listing: Listing, *, volumes: int, labelled: Sequence[int]) -> None:
    """Refuse a set too small for what is asked of it.

    Args:
        volumes: of a pretraining batch.
        labelled: numbers of labelled volumes to fine-tune on.

    Raises:
        DataError: naming the count and what needs it.
    """
    train = [case for case in listing.cases if case.split == "train"]
    checks: list[tuple[str, int, int, Callable[[], str]]] = [
        ("volumes to pretrain on", len(train), volumes, lambda: "lower pretrain.volumes, or add volumes"),
        (
            "labelled volumes to fine-tune on", sum(bool(case.label) for case in train), max(labelled, default=0),
            lambda: "lower finetune.labelled, or add masks",
        ),
    ]  # fmt: skip
    counts = Counter(case.split for case in listing.cases if case.label)
    checks += [
        (f"labelled volumes in {split}", counts[split], 1, lambda: "add masks, or change data.fractions")
        for split in ("valid", "test")
    ]
    for what, seen, wanted, remedy in checks:
        if seen < wanted:
            raise DataError(what, seen=seen, expected=f"at least {wanted}", remedy=remedy())


def _mm(spacing: Sequence[float]) -> str:
    return " x ".join(f"{mm:g}" for mm in np.round(spacing, 3))
