"""The sources of slices: public layouts by name, any folder of DICOM or NIfTI, own data by manifest."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from core.data.form import ID, SPLIT, Column, ManifestForm, group
from core.data.splits import check_splits, group_split
from core.errors import ConfigError, DataError
from medical.ct.data.dicom import FEWEST, scan_dicom, with_patient
from medical.ct.data.lidc import labels_at, nodule_heights
from medical.ct.data.nifti import Orientation, is_nifti, scan_nifti
from medical.ct.data.series import UNLABELLED, Problem, Scan, Series, Slice, existing_folder

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
FRACTIONS = {"train": 0.7, "test": 0.3}
FORM = ManifestForm(
    (
        ID,
        Column(
            "path",
            "a folder of DICOM files, a NIfTI file, or one slice as an eight-bit image",
            "series/a1",
            needed=True,
            path=True,
        ),
        group("the patient", "p7"),
        replace(SPLIT, meaning="train or test; left empty in all rows, splits are made by group"),
        Column("label", "the class: a whole number or a name; empty where it is not known", "1"),
        Column("series", "of a slice given as an image: the series that it belongs to", "a1"),
        Column("z_mm", "of a slice given as an image: its place along the body in mm", "12.5"),
        Column("slice", "of a slice given as an image: its number, where z_mm is not known", "4"),
    )
)


def read_source(
    source: str,
    root: str | os.PathLike[str] | None,
    *,
    manifest: str | None = None,
    fewest: int = FEWEST,
    orientation: Orientation = "auto",
    channel: int | None = None,
    seed: int = 0,
    scheduler: str = "serial",
) -> Scan:
    """Find the series of a data set, with the split of each: patients never straddle splits.

    ==============  =====================================================================================
    source          layout below ``root``
    ==============  =====================================================================================
    dicom           any tree of DICOM files
    nifti           any tree of .nii and .nii.gz files, a patient each
    lidc            ``LIDC-IDRI-0001/STUDY/SERIES/*.dcm`` with annotations ``*.xml``: label 1 at nodules
    autopet         ``PETCT_ID/STUDY/CT.nii.gz`` with ``SEG.nii.gz``: label 1 at lesions
    covid_ct_md     ``CLASS subjects/PATIENT/*.dcm``: label of the patient's class, in alphabetical order
    manifest        the CSV ``manifest``, with the columns of ``FORM``
    ==============  =====================================================================================

    Raises:
        ConfigError: unknown source. DataError: no such folder; a patient in two splits.
    """
    folder = existing_folder(root)
    nifti: dict[str, Any] = {"orientation": orientation, "channel": channel}
    shared: dict[str, Any] = {"fewest": fewest, "scheduler": scheduler}
    if source == "dicom":
        scan = scan_dicom(folder, files_below(folder), **shared)
    elif source == "nifti":
        scan = scan_nifti(folder, [f for f in files_below(folder) if is_nifti(f)], **nifti, **shared)
    elif source == "lidc":
        scan = _lidc(folder, shared)
    elif source == "autopet":
        scan = _autopet(folder, {**nifti, **shared})
    elif source == "covid_ct_md":
        scan = _covid_ct_md(folder, shared)
    elif source == "manifest":
        scan = _manifest(folder, manifest, {**nifti, **shared}, seed)
    else:
        known = "dicom, nifti, lidc, autopet, covid_ct_md, manifest"
        raise ConfigError("data.source", seen=source, expected=f"one of {known}")
    _number_repeats(scan)
    return _split(scan, seed)


def files_below(folder: Path) -> list[Path]:
    """All files, in the order of their paths; nothing hidden."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def _lidc(folder: Path, shared: dict[str, Any]) -> Scan:
    files = files_below(folder)
    patients = [file for file in files if re.match(r"LIDC-IDRI-\d+$", file.relative_to(folder).parts[0])]
    if not patients:
        raise DataError(
            f"{folder}",
            expected="folders LIDC-IDRI-0001, LIDC-IDRI-0002, ...",
            remedy="set data.root to their parent",
        )
    scan = scan_dicom(folder, [file for file in patients if file.suffix.lower() != ".xml"], **shared)
    heights: dict[str, list[float]] = {}
    for file in (file for file in patients if file.suffix.lower() == ".xml"):
        try:
            heights.update(nodule_heights([file]))
        except DataError as error:
            scan.warnings.append(Problem(file.relative_to(folder).as_posix(), "annotation", str(error)))
    named = []
    for one in scan.series:
        uid = one.uid.split("#")[0]
        labels = labels_at(one, heights[uid]) if uid in heights else ()
        named.append(replace(with_patient(one, one.slices[0].path.split("/")[0]), labels=labels))
    scan.series = named
    return scan


def _autopet(folder: Path, options: dict[str, Any]) -> Scan:
    files = sorted([*folder.glob("PETCT_*/*/CT.nii.gz"), *folder.glob("PETCT_*/*/CT.nii")])
    if not files:
        raise DataError(
            f"{folder}", expected="PETCT_*/STUDY/CT.nii.gz", remedy="set data.root to the parent of PETCT_*"
        )
    scan = scan_nifti(folder, files, [file.relative_to(folder).parts[0] for file in files], **options)
    named = []
    for one in scan.series:
        mask = folder / Path(one.uid).parent / "SEG.nii.gz"
        try:
            labels = labels_at(one, _lesion_heights(mask)) if mask.is_file() else ()
        except (OSError, ValueError, EOFError) as error:
            scan.warnings.append(
                Problem(str(mask.relative_to(folder)), "annotation", " ".join(str(error).split()))
            )
            labels = ()
        named.append(replace(one, labels=labels))
    scan.series = named
    return scan


def _lesion_heights(mask: Path) -> list[float]:
    import nibabel

    image: Any = nibabel.as_closest_canonical(nibabel.load(mask))
    planes = np.flatnonzero(np.asarray(image.dataobj).any(axis=(0, 1)))
    return [float(image.affine[2, 3] + k * image.affine[2, 2]) for k in planes]


def _covid_ct_md(folder: Path, shared: dict[str, Any]) -> Scan:
    classes = sorted(path for path in folder.glob("* subjects") if path.is_dir())
    if not classes:
        raise DataError(
            f"{folder}",
            expected="folders 'COVID-19 subjects', 'Cap subjects', ...",
            remedy="set data.root to their parent",
        )
    scan = scan_dicom(folder, [file for one in classes for file in files_below(one)], **shared)
    number = {path.name: code for code, path in enumerate(classes)}
    scan.series = [
        replace(with_patient(one, parts[1]), labels=(number[parts[0]],) * len(one.slices))
        for one in scan.series
        for parts in [one.slices[0].path.split("/")]
    ]
    return scan


def _manifest(folder: Path, manifest: str | None, options: dict[str, Any], seed: int) -> Scan:
    if not manifest:
        raise DataError("data.manifest", expected="the CSV that lists the series")
    table = FORM.read(manifest, root=folder, splits=tuple(FRACTIONS), fractions=FRACTIONS, seed=seed)
    table["code"] = _codes(table["label"].tolist())
    scan, base = Scan(), folder.resolve()
    images: dict[tuple[str, str], list[Any]] = defaultdict(list)
    dicom = {key: options[key] for key in ("fewest", "scheduler")}
    for row in table.itertuples():
        path = Path(row.path)
        if path.suffix.lower() in IMAGES:
            # by patient too: a series may be named "1" for everyone
            images[str(row.group), str(getattr(row, "series", ""))].append(row)
            continue
        if path.is_dir():
            found = scan_dicom(base, files_below(path), **dicom)
        elif is_nifti(path) and path.is_file():
            found = scan_nifti(base, [path], **options)
        else:
            seen = "not a folder, NIfTI or image" if path.exists() else "no such file or folder"
            reason = f"row {row.Index}: {seen}"
            found = Scan(rejected=[Problem(path.relative_to(base).as_posix(), "missing", reason)], checked=1)
        label = int(getattr(row, "code", UNLABELLED))
        found.series = [
            replace(one, patient=str(row.group), split=str(row.split), labels=(label,) * len(one.slices))
            for one in found.series
        ]
        scan.extend(found)
    for (patient, name), rows in sorted(images.items()):
        scan.checked += len(rows)
        scan.series.append(_image_series(f"{patient}/{name}" if name else patient, rows, base))
    return scan


def _image_series(uid: str, rows: Sequence[Any], base: Path) -> Series:
    """Slices of one patient given as images, ordered by z_mm, else by slice, else by the numbers in their names."""

    def place(row: Any) -> float | None:
        for field in ("z_mm", "slice"):
            try:
                return float(getattr(row, field))
            except (AttributeError, ValueError):
                continue
        return None

    places = [place(row) for row in rows]
    if None in places:
        ordered = sorted(rows, key=lambda row: _natural(row.path))
        placed = [(float(number), row) for number, row in enumerate(ordered)]
    else:
        placed = sorted(
            zip([float(p or 0.0) for p in places], rows), key=lambda pair: (pair[0], pair[1].path)
        )
    return Series(
        uid,
        str(rows[0].group),
        "image",
        tuple(Slice(Path(row.path).relative_to(base).as_posix(), 0, z) for z, row in placed),
        labels=tuple(int(getattr(row, "code", UNLABELLED)) for _, row in placed),
        split=str(rows[0].split),
    )


def _codes(labels: Sequence[str]) -> list[int]:
    """Whole numbers as they are, other labels numbered in alphabetical order, empty ones -1."""
    filled = sorted({label for label in labels if label != ""})
    if all(re.fullmatch(r"\d+", label) for label in filled):
        return [int(label) if label != "" else UNLABELLED for label in labels]
    return [filled.index(label) if label != "" else UNLABELLED for label in labels]


def _natural(path: str) -> list[Any]:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path)]


def _number_repeats(scan: Scan) -> None:
    """Give series that share a uid (of two patients, say) names of their own."""
    seen: dict[str, int] = defaultdict(int)
    for place, one in enumerate(scan.series):
        seen[one.uid] += 1
        if seen[one.uid] > 1:
            scan.series[place] = replace(one, uid=f"{one.uid}@{seen[one.uid]}")


def _split(scan: Scan, seed: int) -> Scan:
    """Draw the splits that are not given, by patient; with one patient everything is ``train``."""
    if all(one.split for one in scan.series):
        check_splits([one.patient for one in scan.series], [one.split for one in scan.series])
        return scan
    patients = [one.patient for one in scan.series]
    if len(set(patients)) < len(FRACTIONS):
        splits = ["train"] * len(patients)
        scan.warnings.append(Problem("(splits)", "one_patient", "one patient: nothing is left to test on"))
    else:
        splits = group_split(patients, FRACTIONS, seed)
    scan.series = [replace(one, split=split) for one, split in zip(scan.series, splits)]
    return scan
