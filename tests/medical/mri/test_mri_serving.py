"""The served model: masks in the geometry of the request, and refusals that say what is wrong."""

from __future__ import annotations

import base64
import gzip

import nibabel
import numpy as np
import pytest
from mlflow.exceptions import MlflowException

from medical.mri.data.nifti import parse_volume
from medical.mri.learn.train import fresh_unet
from medical.mri.model import save_model


@pytest.fixture(scope="module")
def segmenter(architecture, prepared, tmp_path_factory):
    from types import SimpleNamespace

    from core.tracking.package import CHECKSUMS, write_checksums
    from medical.mri.serve import Segmenter

    place = tmp_path_factory.mktemp("served")
    facts = {"structures": list(prepared.structures), "spacing": 6.0, "reading": {}}
    save_model(fresh_unet(architecture, 0), architecture, place / "network", stage="finetuned", **facts)
    artifacts = {"network": place / "network"}
    write_checksums(place / "checksums.json", artifacts)
    model = Segmenter()
    model.load_context(SimpleNamespace(artifacts={**artifacts, CHECKSUMS: place / "checksums.json"}))
    return model


def text(image, affine=None):
    file = nibabel.Nifti1Image(image, np.diag([4.0, 4.0, 8.0, 1.0]) if affine is None else affine)
    return base64.b64encode(gzip.compress(file.to_bytes())).decode()


@pytest.fixture(scope="module")
def voxels():
    return np.random.default_rng(0).random((20, 30, 5), dtype=np.float32)


def test_a_file_and_an_array_give_the_same_mask_in_their_geometry(segmenter, voxels):
    affine = np.array([[-4.0, 0, 0, 30], [0, -4.0, 0, 20], [0, 0, 8.0, -9], [0, 0, 0, 1]])
    rows = [{"nifti": text(voxels, affine)}, {"array": voxels.tolist(), "affine": affine.tolist()}]
    answers = [segmenter.predict(None, [row])[0] for row in rows]
    assert answers[0] == answers[1]
    mask = parse_volume(base64.b64decode(answers[0]["mask"]), name="mask", as_stored=True)
    assert mask.geometry.shape == voxels.shape
    np.testing.assert_allclose(mask.geometry.matrix, affine)
    for index, row in enumerate(answers[0]["volumes"], start=1):
        assert row["ml"] == pytest.approx(np.count_nonzero(mask.voxels == index) * 0.128)
    assert [row["structure"] for row in answers[0]["volumes"]] == ["RV", "MYO", "LV"]


def test_the_input_example_is_answered(segmenter):
    from medical.mri.serve import input_example, signature

    assert len(segmenter.predict(None, input_example())) == 2
    assert signature().outputs is not None


def spoiled(voxels):
    image = voxels.copy()
    image[0, 0, 0] = np.nan
    return image


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (lambda v: {}, "either nifti"),
        (lambda v: {"nifti": text(v), "array": v.tolist()}, "either nifti"),
        (lambda v: {"nifti": "/etc/passwd"}, "base64"),
        (lambda v: {"nifti": base64.b64encode(b"hello" * 99).decode()}, "NIfTI"),
        (lambda v: {"nifti": text(v)[:2000]}, "truncated"),
        (lambda v: {"nifti": text(spoiled(v))}, "NaN"),
        (lambda v: {"nifti": text(np.ones_like(v))}, "percentile"),
        (lambda v: {"nifti": text(np.stack([v, v], -1))}, "channel"),
        (lambda v: {"nifti": text(v, np.diag([20.0, 4.0, 4.0, 1.0]))}, "axial"),
        (lambda v: {"nifti": text(np.zeros((2000, 2000, 80), np.uint8))}, "MiB"),
        (lambda v: {"array": v.tolist()}, "affine in row 0"),
        (lambda v: {"array": v.tolist(), "affine": np.zeros((4, 4)).tolist()}, "invertible"),
        (lambda v: {"array": v[0].tolist(), "affine": np.eye(4).tolist()}, "shape"),
        (lambda v: {"nifti": text(v), "path": "x"}, "unknown field"),
    ],
)
def test_a_wrong_request_is_refused_in_words(segmenter, voxels, row, words):
    with pytest.raises(MlflowException) as error:
        segmenter.predict(None, [row(voxels)])
    assert words in str(error.value)
    assert error.value.get_http_status_code() == 400
