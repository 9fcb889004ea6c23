"""NIfTI volumes to series: geometry from the header, pixels left where they are."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from core.data.parallel import Failure, parallel_map
from medical.ct.data.series import Problem, Scan, Series, Slice

Orientation = Literal["auto", "header", "stored"]
NIFTI = (".nii", ".nii.gz")


def is_nifti(path: Path) -> bool:
    """By name.

    >>> is_nifti(Path("a/CT.nii.gz")), is_nifti(Path("a.nii.txt"))
    (True, False)
    """
    return path.name.lower().endswith(NIFTI)


def scan_nifti(
    root: Path,
    files: Sequence[Path],
    patients: Sequence[str] | None = None,
    *,
    fewest: int = 10,
    orientation: Orientation = "auto",
    channel: int | None = None,
    scheduler: str = "serial",
) -> Scan:
    """One series a file, sliced along the axis from feet to head.

    Args:
        root: what paths are relative to.
        files: NIfTI files.
        patients: one name a file; the file's stem by default.
        orientation: "header" believes the affine; "stored" takes voxels as DICOM stores them (first axis to
            the left, second to the back), for files that lost their orientation; "auto" is "stored" where
            no file of the set has more than voxel sizes in its affine, which is then a warning.
        channel: of 4-D files; without it they are rejected.

    Rejections by kind: unreadable, needs_channel, no_geometry, not_axial, too_few.
    """
    names = [file.relative_to(root).as_posix() for file in files]
    results = parallel_map(partial(_geometry, str(root)), names, scheduler=scheduler, errors="return")
    scan = Scan(checked=len(names))
    bare = all(result["bare"] for result in results if isinstance(result, dict))
    stored = orientation == "stored" or (orientation == "auto" and bare)
    for number, (name, result) in enumerate(zip(names, results, strict=True)):
        if isinstance(result, Failure):
            scan.rejected.append(Problem(name, "unreadable", f"{result.kind}: {result.message}"))
            continue
        problem = _refusal(result, fewest, channel)
        if problem is not None:
            scan.rejected.append(Problem(name, *problem))
            continue
        if stored:
            reason = "the affine holds voxel sizes only: taken as stored in DICOM order"
            scan.warnings.append(Problem(name, "no_orientation", reason))
        start, step, count = result["along"]
        slices = tuple(Slice(name, k, round(start + k * step, 4)) for k in range(count))
        patient = patients[number] if patients is not None else _stem(name)
        scan.series.append(
            Series(
                name, patient, "nifti", slices, oriented=not stored,
                channel=-1 if channel is None or len(result["shape"]) < 4 else channel,
            )
        )  # fmt: skip
    return scan


def _geometry(root: str, name: str) -> dict[str, Any]:
    import nibabel

    image: Any = nibabel.load(Path(root) / name)
    affine = np.asarray(image.affine, dtype=np.float64)
    shape = tuple(int(side) for side in image.shape)
    if len(shape) < 3 or not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        return {"shape": shape, "bad": True, "bare": False}
    axes = nibabel.orientations.io_orientation(affine)
    up = int(np.flatnonzero(axes[:, 0] == 2)[0])
    size, towards = float(np.linalg.norm(affine[:3, up])), affine[2, up]
    canonical = affine @ nibabel.orientations.inv_ornt_aff(axes, shape[:3])
    return {
        "shape": shape,
        "bad": False,
        "bare": bool(np.allclose(affine, np.diag(np.diag(affine))) and (np.diag(affine) > 0).all()),
        "upright": abs(towards) / size,
        "along": (float(canonical[2, 3]), abs(float(canonical[2, 2])), shape[up]),
    }


def _refusal(found: dict[str, Any], fewest: int, channel: int | None) -> tuple[str, str] | None:
    shape = found["shape"]
    if found["bad"]:
        return "no_geometry", f"shape {shape} with an affine that is not one of a volume"
    if len(shape) > 4 or (len(shape) == 4 and shape[3] != 1 and channel is None):
        return "needs_channel", f"shape {shape}: set data.channel to say which part is the CT"
    if len(shape) == 4 and channel is not None and channel >= shape[3]:
        return "needs_channel", f"shape {shape} has no channel {channel}"
    if found["upright"] < 0.9:
        return "not_axial", "no axis of the volume runs from feet to head"
    if found["along"][2] < fewest:
        return "too_few", f"{found['along'][2]} slice(s)"
    return None


def _stem(name: str) -> str:
    base = Path(name).name
    return base[: -len(".nii.gz")] if base.lower().endswith(".nii.gz") else Path(base).stem
