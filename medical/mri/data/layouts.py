"""Readers of the public layouts: ACDC, Medical Segmentation Decathlon, MM-WHS; and of the own-data manifest.

A reader lists files and opens no volume: that is the business of validation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from core.data.form import ID, SPLIT, Column, ManifestForm, group
from core.data.manifest import confine
from core.errors import ConfigError, DataError
from core.files import read_json
from medical.mri.data.case import Case, Listing, identity_map, require_folder

ACDC_STRUCTURES = ("RV", "MYO", "LV")
ACDC_TEST = tuple(f"patient{n:03d}" for d in (0, 20, 40, 60, 80) for n in range(d + 7, d + 11))
"""The 20 test patients of Chaitanya et al."""
ACDC_VALID = ("patient011", "patient071")
MMWHS_STRUCTURES = ("MYO", "LA", "LV", "RA", "RV", "AA", "PA")
MMWHS_VALUES = (205, 420, 500, 550, 600, 820, 850)
FORM = ManifestForm(
    (
        ID,
        Column("image", "a volume: NIfTI (.nii, .nii.gz)", "images/a1.nii.gz", needed=True, path=True),
        Column(
            "label",
            "its mask, where there is one: NIfTI with the values of data.structures",
            "masks/a1.nii.gz",
            path=True,
        ),
        group("the patient", "p7"),
        SPLIT,
        Column("channel", "of a 4D file: which entry of the fourth axis to read, from 0", "0"),
    )
)


def read_acdc(root: str | Path, *, official_split: bool = False) -> Listing:
    """ACDC: ``patient###/patient###_frame##.nii.gz`` with ``_gt`` masks, in ``root`` or a folder below it.

    End-diastole is read: the frame that ``Info.cfg`` names, else frame 01, else 04. A patient without a mask
    is listed without one.

    Args:
        root: folder that holds the patient folders (or ``training`` and ``testing``).
        official_split: the test and validation patients of Chaitanya et al.; all others train.
    """
    folder = require_folder(root, "the folder of the ACDC patients")
    cases = []
    for patient in sorted(path for path in folder.rglob("patient*") if path.is_dir()):
        frames = {path.name: path for path in patient.glob(f"{patient.name}_frame*.nii*")}
        frame = _end_diastole(patient, frames)
        image = next((path for name, path in frames.items() if name.startswith(f"{frame}.nii")), None)
        mask = next((path for name, path in frames.items() if name.startswith(f"{frame}_gt.nii")), None)
        if image is None and mask is None:
            continue
        split = ""
        if official_split:
            names = {"test": ACDC_TEST, "valid": ACDC_VALID}
            split = next((key for key, ids in names.items() if patient.name in ids), "train")
        missing = image or patient / f"{frame}.nii.gz"
        cases.append(Case(patient.name, patient.name, str(missing), str(mask or ""), split))
    if not cases:
        raise DataError(
            f"ACDC data in {folder}",
            seen="no patient###/patient###_frame##.nii.gz",
            expected="the layout of the public archive",
            remedy="unpack the archive there, or use data.source: manifest",
        )
    return Listing(tuple(cases), ACDC_STRUCTURES, identity_map(3))


def _end_diastole(patient: Path, frames: Mapping[str, Path]) -> str:
    info = patient / "Info.cfg"
    if info.is_file():
        found = re.search(r"^ED:\s*(\d+)", info.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
        if found:
            return f"{patient.name}_frame{int(found[1]):02d}"
    for number in ("01", "04"):
        if any(name.startswith(f"{patient.name}_frame{number}") for name in frames):
            return f"{patient.name}_frame{number}"
    return f"{patient.name}_frame01"


def read_msd(root: str | Path, *, channel: int | None = None) -> Listing:
    """Medical Segmentation Decathlon: the files that ``dataset.json`` names, below ``root``.

    Entries of "training" have masks, those of "test" none: the latter are pretrained on. In Task04 the ids
    2k - 1 and 2k are the two sides of one brain, which is the group there; else each volume is its own.

    Args:
        root: the task's folder.
        channel: of 4D files (0 is T2 in Task05_Prostate).
    """
    folder = require_folder(root, "the folder of a Decathlon task, with dataset.json")
    index = read_json(folder / "dataset.json")
    try:
        names = {int(value): str(name) for value, name in index["labels"].items()}
        pairs = [(str(entry["image"]), str(entry["label"])) for entry in index["training"]]
        pairs += [
            (str(entry["image"] if isinstance(entry, dict) else entry), "") for entry in index.get("test", [])
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{folder / 'dataset.json'}",
            seen=f"{type(error).__name__}: {error}",
            expected='"labels": {"1": name} and "training": [{"image": path, "label": path}]',
        ) from None
    structures = tuple(names.get(value, f"class {value}") for value in range(1, max(names, default=0) + 1))
    sides = str(index.get("name", "")).lower() == "hippocampus"
    cases = []
    for image, label in pairs:
        name = re.sub(r"\.nii(\.gz)?$", "", Path(image).name)
        digits = re.search(r"(\d+)$", name)
        group = f"brain {(int(digits[1]) + 1) // 2}" if sides and digits else name
        where = f"dataset.json, {name}"
        cases.append(
            Case(
                name,
                group,
                str(confine(folder, image, where=where)),
                str(confine(folder, label, where=where)) if label else "",
                channel=channel,
            )
        )
    facts = {"groups_are": "brains: ids 2k - 1 and 2k are its two sides" if sides else "volumes"}
    return Listing(tuple(cases), structures, identity_map(len(structures)), facts)


def read_mmwhs(root: str | Path) -> Listing:
    """MM-WHS: ``<id>/img.nii.gz`` with ``seg.nii.gz``, or the archive's ``*_<id>_image.nii.gz`` with ``_label``.

    Masks may hold the archive's values (205 MYO, 420 LA, 500 LV, 550 RA, 600 RV, 820 AA, 850 PA) or classes
    1 to 7 in that order. Any other value is a stray, which validation counts and reports.
    """
    folder = require_folder(root, "the folder of the MM-WHS volumes")
    cases = []
    for image in sorted([*folder.rglob("img.nii*"), *folder.rglob("*_image.nii*")]):
        if image.name.startswith("img."):
            name, label = image.parent.name, image.with_name(image.name.replace("img.", "seg.", 1))
        else:
            name = image.name.partition("_image.nii")[0]
            label = image.with_name(image.name.replace("_image.", "_label."))
        cases.append(Case(name, name, str(image), str(label) if label.is_file() else ""))
    if not cases:
        raise DataError(
            f"MM-WHS data in {folder}", seen="no img.nii.gz and no *_image.nii.gz", remedy="check data.root"
        )
    raw = dict(zip(MMWHS_VALUES, range(1, 8)))
    return Listing(tuple(cases), MMWHS_STRUCTURES, identity_map(7) | raw)


def read_own(
    manifest: str | Path,
    *,
    root: str | Path,
    structures: Sequence[str],
    fractions: Mapping[str, float],
    seed: int = 0,
    channel: int | None = None,
) -> Listing:
    """Own data: a CSV with the columns of ``FORM``. Paths lie below ``root``.

    Args:
        structures: names of the mask's values 1, 2, ...
        fractions, seed: as in `core.data.manifest.read_manifest`.
        channel: of 4D files, where the manifest has no such column.
    """
    if not structures:
        raise ConfigError(
            "data.structures",
            seen=[],
            expected="the names of the mask's values 1, 2, ...",
            remedy="name them",
        )
    table = FORM.read(manifest, root=root, fractions=fractions, seed=seed)
    cases = []
    for row, entry in table.iterrows():
        picked = entry["channel"]
        if picked and not picked.isdigit():
            raise DataError(f"{manifest} row {row}, column channel", seen=picked, expected="a number from 0")
        cases.append(
            Case(
                str(entry["id"]),
                str(entry["group"]),
                entry["image"],
                entry["label"],
                entry["split"],
                int(picked) if picked else channel,
                int(str(row)),
            )
        )
    return Listing(tuple(cases), tuple(structures), identity_map(len(structures)))


READERS: dict[str, Callable[..., Any]] = {
    "acdc": read_acdc,
    "msd": read_msd,
    "mmwhs": read_mmwhs,
    "manifest": read_own,
}
