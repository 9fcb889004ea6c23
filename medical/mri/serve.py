"""The served model: a volume in, its mask and the volume of each structure in ml out, in the same geometry.

MLflow runs this file as it is ("models from code"): nothing is pickled.
"""

from __future__ import annotations

import base64
import binascii
import gzip
from typing import Any

import mlflow
import numpy as np

from core.errors import ServingError
from core.tracking.package import checked_artifacts
from core.tracking.serving import Field, guarded, read_request, request_signature
from medical.mri.data.checks import ANISOTROPIC, Reading, usable
from medical.mri.data.nifti import LARGEST_MM, SMALLEST_MM, Geometry, Volume, mask_bytes, parse_volume
from medical.mri.evaluate import segment
from medical.mri.model import load_model

MOST_MIB = 64.0
MOST_VOLUMES = 8
MOST_VOXELS = 2**25
FIELDS = (
    Field("nifti", "text", required=False, longest=int(MOST_MIB * 2**20)),
    Field("array", "array", required=False, longest=MOST_VOXELS, shape=(None, None, None)),
    Field("affine", "array", required=False, longest=16, shape=(4, 4)),
    Field("channel", "integer", required=False, low=0, high=1000),
)


def signature() -> Any:
    """Either ``nifti`` (base64 of a .nii or .nii.gz), or ``array`` (X, Y, Z) with ``affine`` (4, 4)."""
    from mlflow.types import DataType
    from mlflow.types.schema import Array, Object, Property

    row = Object([Property("structure", DataType.string), Property("ml", DataType.double)])
    answers: dict[str, Any] = {
        "mask": "string",
        "shape": Array(DataType.long),
        "affine": Array(Array(DataType.double)),
        "volumes": Array(row),
    }
    return request_signature(FIELDS, answers)


def input_example() -> Any:
    """Two volumes as base64 files, as a table."""
    import pandas as pd

    rows = []
    for seed in (0, 1):
        voxels = np.random.default_rng(seed).integers(0, 255, (12, 12, 4)).astype(np.uint8)
        geometry = Geometry((12, 12, 4), tuple(map(tuple, np.diag([2.0, 2.0, 8.0, 1.0]).tolist())))
        rows.append({"nifti": base64.b64encode(mask_bytes(voxels, geometry)).decode()})
    return pd.DataFrame(rows)


class Segmenter(mlflow.pyfunc.PythonModel):
    """Answers rows of `FIELDS` with ``{"mask", "shape", "affine", "volumes"}``.

    ``mask`` is the base64 of a gzipped NIfTI file with the shape and the affine of the request.
    """

    def __init__(self) -> None:
        self.net: Any = None
        self.config: dict[str, Any] = {}

    def load_context(self, context: Any) -> None:
        """Check every file of the model against its SHA-256 and load the network."""
        self.net, _, self.config = load_model(checked_artifacts(context)["network"])

    @guarded
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # MLflow reads hints
        """One answer for each volume of the request; see the class."""
        return [
            self._answer(row, n)
            for n, row in enumerate(read_request(model_input, FIELDS, max_rows=MOST_VOLUMES))
        ]

    def _answer(self, row: dict[str, Any], number: int) -> dict[str, Any]:
        reading = Reading(**self.config["reading"])
        volume, _ = usable(_volume(row, number), reading)
        geometry = volume.geometry
        _check_plane(geometry, number)
        mask = segment(
            self.net,
            volume.voxels,
            geometry,
            spacing=self.config["spacing"],
            size=self.config["architecture"]["size"],
        )
        structures = self.config["structures"]
        counts = np.bincount(mask.ravel(), minlength=len(structures) + 1)
        return {
            "mask": base64.b64encode(mask_bytes(mask, geometry)).decode(),
            "shape": list(geometry.shape),
            "affine": geometry.matrix.tolist(),
            "volumes": [
                {"structure": name, "ml": float(counts[index] * geometry.millilitres)}
                for index, name in enumerate(structures, start=1)
            ],
        }


def _volume(row: dict[str, Any], number: int) -> Volume:
    name = f"row {number}"
    if (row["nifti"] is None) == (row["array"] is None):
        raise ServingError(name, expected="either nifti, or array with affine")
    if row["nifti"] is not None:
        try:
            content = base64.b64decode(row["nifti"], validate=True)
        except (binascii.Error, ValueError):
            raise ServingError(
                f"nifti in {name} is not base64",
                expected="the bytes of a .nii or .nii.gz file in base64",
                remedy="send the file itself; the server opens no path or URL named in a request",
            ) from None
        return parse_volume(content, name=f"nifti in {name}", channel=row["channel"], limit=8 * MOST_VOXELS)
    affine = row["affine"]
    if affine is None:
        raise ServingError(f"affine in {name} is missing", expected="(4, 4), voxels to mm")
    step = np.sqrt((affine[:3, :3] ** 2).sum(0))
    if abs(np.linalg.det(affine[:3, :3])) < 1e-9 or step.min() < SMALLEST_MM or step.max() > LARGEST_MM:
        raise ServingError(
            f"affine in {name}", seen=affine.tolist(),
            expected=f"invertible, with steps of {SMALLEST_MM:g} to {LARGEST_MM:g} mm",
        )  # fmt: skip
    shape = row["array"].shape
    geometry = Geometry((shape[0], shape[1], shape[2]), tuple(map(tuple, affine.tolist())))
    return Volume(row["array"].astype(np.float32), geometry)


def _check_plane(geometry: Geometry, number: int) -> None:
    spacing = geometry.spacing
    if max(spacing) > ANISOTROPIC * spacing[2]:
        raise ServingError(
            f"row {number}: spacing (right, anterior, superior) in mm",
            seen=[round(mm, 3) for mm in spacing],
            expected="the thick slices to be axial, as in training",
        )


def nifti_text(content: bytes) -> str:
    """A file's bytes as the request's text, gzipped where they are not.

    >>> len(nifti_text(bytes(352))) < 60
    True
    """
    packed = content if content[:2] == b"\x1f\x8b" else gzip.compress(content, mtime=0)
    return base64.b64encode(packed).decode()


mlflow.models.set_model(Segmenter())
