"""Prepared slices: all volumes of a set as one array on disk, with masks where there are any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from core.data.digest import digest_of
from core.data.parallel import parallel_map
from core.errors import DataError
from core.files import read_json, write_json
from medical.mri.data.case import Case, Listing
from medical.mri.data.checks import STRICT, Reading, digest_of_voxels, read_label, usable
from medical.mri.data.nifti import read_volume
from medical.mri.preprocess import image_slices, mask_slices, place

NO_LABEL = 255


@dataclass(frozen=True)
class Prepared:
    """Slices of all volumes.

    Attributes:
        cases: the volumes, in the order of their slices.
        structures: names of classes 1, 2, ...
        images: (N, H, W) float32 in percentile units.
        labels: (N, H, W) uint8; `NO_LABEL` throughout a volume without a mask.
        depths: slices of each volume; they sum to N.
        spacing: in-plane spacing in mm; None: as in the files.
        label_map: value in a mask file -> class.
        reading: how the files were read.
    """

    cases: tuple[Case, ...]
    structures: tuple[str, ...]
    images: np.ndarray
    labels: np.ndarray
    depths: tuple[int, ...]
    spacing: float | None
    label_map: dict[int, int] = field(default_factory=dict)
    reading: Reading = STRICT

    @property
    def classes(self) -> int:
        """Number of classes, the background included."""
        return len(self.structures) + 1

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the slices."""
        return int(self.images.shape[1]), int(self.images.shape[2])

    @cached_property
    def digest(self) -> str:
        """Of everything that training sees."""
        return digest_of(
            self.images, self.labels, [asdict(case) for case in self.cases], list(self.structures)
        )

    @cached_property
    def starts(self) -> np.ndarray:
        """First slice of each volume, and N: (volumes + 1,)."""
        return np.concatenate([[0], np.cumsum(self.depths)])

    def volumes(self, split: str, *, labelled: bool = False) -> list[int]:
        """Numbers of the volumes of a split; with ``labelled`` those that have a mask."""
        return [
            number
            for number, case in enumerate(self.cases)
            if case.split == split and (case.label or not labelled)
        ]

    def slices(self, volume: int) -> slice:
        """Where the slices of a volume lie."""
        return slice(int(self.starts[volume]), int(self.starts[volume + 1]))


def prepare(
    listing: Listing,
    *,
    spacing: float | None,
    size: Sequence[int],
    reading: Reading = STRICT,
    scheduler: str = "serial",
    digests: Mapping[str, str] | None = None,
) -> Prepared:
    """Read and place every volume of a listing.

    Args:
        spacing, size: of `medical.mri.preprocess.place`.
        reading: how files are read.
        scheduler: of `core.data.parallel.parallel_map`.
        digests: of the voxels, by id, as validation found them.

    Raises:
        DataError: a file changed since.
    """
    if not listing.cases:
        raise DataError("volumes to prepare", seen=0, expected="at least one")
    work = partial(
        _slices_of,
        label_map=dict(listing.label_map),
        spacing=spacing,
        size=(int(size[0]), int(size[1])),
        reading=reading,
        digests=dict(digests or {}),
    )
    stacks = parallel_map(work, listing.cases, scheduler=scheduler)
    return Prepared(
        listing.cases,
        listing.structures,
        np.concatenate([image for image, _ in stacks]),
        np.concatenate([label for _, label in stacks]),
        tuple(len(image) for image, _ in stacks),
        spacing,
        dict(listing.label_map),
        reading,
    )


def _slices_of(
    case: Case,
    label_map: dict[int, int],
    spacing: float | None,
    size: tuple[int, int],
    reading: Reading,
    digests: dict[str, str],
) -> tuple[np.ndarray, np.ndarray]:
    volume = read_volume(case.image, case.channel)
    if case.id in digests and digests[case.id] != digest_of_voxels(volume, reading):
        raise DataError(
            f"{case.image} changed since it was validated",
            remedy="run the stage validate again (dvc repro -f)",
        )
    volume, _ = usable(volume, reading)
    placement = place(volume.geometry, spacing, size)
    image = image_slices(volume.voxels, placement)
    if not case.label:
        return image, np.full(image.shape, NO_LABEL, dtype=np.uint8)
    mask, _ = read_label(case, volume, label_map, reading)
    return image, mask_slices(mask, placement)[0]


def save_prepared(prepared: Prepared, folder: Path) -> None:
    """Write ``images.npy``, ``labels.npy`` and ``prepared.json`` into a folder."""
    np.save(folder / "images.npy", prepared.images)
    np.save(folder / "labels.npy", prepared.labels)
    index = {
        "structures": list(prepared.structures),
        "spacing": prepared.spacing,
        "label_map": [[value, name] for value, name in sorted(prepared.label_map.items())],
        "reading": asdict(prepared.reading),
        "depths": list(prepared.depths),
        "cases": [asdict(case) for case in prepared.cases],
    }
    write_json(folder / "prepared.json", index)


def load_prepared(folder: Path) -> Prepared:
    """Read what `save_prepared` wrote; the arrays stay on disk and are read where they are touched."""
    index = read_json(folder / "prepared.json")
    return Prepared(
        tuple(Case(**case) for case in index["cases"]),
        tuple(index["structures"]),
        np.load(folder / "images.npy", mmap_mode="r"),
        np.load(folder / "labels.npy", mmap_mode="r"),
        tuple(index["depths"]),
        index["spacing"],
        {int(value): int(name) for value, name in index["label_map"]},
        Reading(**index["reading"]),
    )
