"""Geometry, preprocessing and its inverse, scores of volumes, the demo, against MONAI where it has the same."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
import torch

from core.errors import CheckpointError, ConfigError
from medical.mri.bias import require_n4
from medical.mri.data.nifti import Geometry, mask_bytes, parse_volume, write_mask
from medical.mri.demo import write_demo
from medical.mri.evaluate import hausdorff95, score_volumes
from medical.mri.learn.train import fresh_unet
from medical.mri.prepared import load_prepared, save_prepared
from medical.mri.preprocess import image_slices, mask_slices, native_labels, place, resize_slices

ORIENTATIONS = ["RAS", "LPS", "ARI", "SLP"]


def geometry_of(axes, shape=(10, 12, 6), spacing=(2.0, 1.5, 2.5)):
    start = np.diag([*spacing, 1.0])
    wanted = nibabel.orientations.axcodes2ornt(axes)
    turn = nibabel.orientations.inv_ornt_aff(
        nibabel.orientations.ornt_transform(nibabel.orientations.axcodes2ornt("RAS"), wanted), shape
    )
    native = [0, 0, 0]
    for ras, (target, _) in enumerate(nibabel.orientations.ornt_transform(
        nibabel.orientations.axcodes2ornt("RAS"), wanted
    )):  # fmt: skip
        native[int(target)] = shape[ras]
    return Geometry(tuple(native), tuple(map(tuple, (start @ turn).tolist())))


@pytest.mark.parametrize("axes", ORIENTATIONS)
def test_a_mask_comes_back_to_the_voxels_it_came_from(axes):
    geometry = geometry_of(axes)
    assert geometry.shape_ras == (10, 12, 6)
    np.testing.assert_allclose(geometry.spacing, (2.0, 1.5, 2.5))
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(geometry.from_ras(geometry.to_ras(v := rng.random(geometry.shape))), v)
    mask = rng.integers(0, 3, geometry.shape).astype(np.uint8)
    for size in ((10, 12), (16, 17)):  # the whole plane and more: nothing may be lost
        placement = place(geometry, None, size)
        slices, lost = mask_slices(mask, placement)
        assert lost == 0
        shares = np.moveaxis(np.eye(3, dtype=np.float32)[slices], -1, 1)
        np.testing.assert_array_equal(native_labels(shares, placement), mask)


def test_a_crop_is_put_back_and_its_outside_is_background(upright):
    placement = place(upright, 1.0, (8, 8))
    assert placement.resampled == (20, 24)
    shares = np.zeros((6, 2, 8, 8), np.float32)
    shares[:, 1] = 1
    found = native_labels(shares, placement)
    assert found.shape == upright.shape
    assert found.sum() == 6 * 4 * 4
    assert found[3:7, 4:8].all()


def test_resizing_keeps_a_smooth_image_and_smooths_what_shrinks():
    x = np.linspace(0, 1, 32)
    image = np.add.outer(x, x)[None]
    np.testing.assert_allclose(resize_slices(resize_slices(image, 64, 64), 32, 32)[0, 4:-4, 4:-4],
                               image[0, 4:-4, 4:-4], atol=1e-3)  # fmt: skip
    checks = np.indices((1, 32, 32)).sum(0) % 2 * 1.0
    assert resize_slices(checks, 8, 8).std() < 0.05
    assert set(np.unique(resize_slices(checks.astype(np.uint8), 9, 13, mask=True))) <= {0, 1}


def test_written_masks_have_the_geometry_of_their_image(tmp_path):
    geometry = geometry_of("LPS")
    mask = np.random.default_rng(0).integers(0, 4, geometry.shape)
    again = parse_volume(
        write_mask(tmp_path / "m.nii.gz", mask, geometry).read_bytes(), name="m", as_stored=True
    )
    assert again.voxels.dtype == np.uint8
    np.testing.assert_array_equal(again.voxels, mask)
    np.testing.assert_allclose(again.geometry.matrix, geometry.matrix, atol=1e-5)
    assert mask_bytes(mask, geometry) == mask_bytes(mask, geometry)


def test_prepared_slices_are_read_back(prepared, tmp_path):
    save_prepared(prepared, tmp_path)
    again = load_prepared(tmp_path)
    assert (again.cases, again.depths, again.label_map) == (
        prepared.cases,
        prepared.depths,
        prepared.label_map,
    )
    assert again.digest == prepared.digest
    np.testing.assert_array_equal(again.images, prepared.images)


def test_a_file_that_changed_since_validation_is_refused(hearts, prepared):
    from core.errors import DataError
    from medical.mri.data.case import Listing
    from medical.mri.prepared import prepare

    listing = Listing(prepared.cases[:1], prepared.structures, prepared.label_map)
    with pytest.raises(DataError, match="changed since"):
        prepare(listing, spacing=6.0, size=(16, 24), digests={prepared.cases[0].id: "0"})


def test_volumes_are_scored_in_their_own_voxels(prepared, architecture):
    net = fresh_unet(architecture, 0).eval()
    test = prepared.volumes("test", labelled=True)
    scored = score_volumes(net, prepared, test)
    assert [one.case.split for one in scored] == ["test"] * len(test)
    for one in scored:
        assert one.truth.shape == one.found.shape == one.geometry.shape
        assert one.dice.shape == one.hd95.shape == (3,)
        np.testing.assert_allclose(
            one.millilitres[:, 1],
            [np.count_nonzero(one.truth == k) * one.geometry.millilitres for k in (1, 2, 3)],
        )


def test_the_demo_is_the_same_for_a_seed_and_smooth_through_the_slices(hearts, tmp_path):
    again = write_demo(tmp_path, patients=2, unlabelled=0, broken=False, pixels=24)
    for path in again.rglob("patient00[12]*.nii.gz"):
        assert path.read_bytes() == (hearts / path.relative_to(again)).read_bytes()


def test_hausdorff_distance_of_absent_structures_is_nan():
    empty, full = np.zeros((3, 3, 3), bool), np.ones((3, 3, 3), bool)
    assert np.isnan(hausdorff95(empty, full, (1, 1, 1)))
    assert np.isnan(hausdorff95(empty, empty, (1, 1, 1)))
    assert hausdorff95(full, full, (1, 1, 1)) == 0


def test_n4_that_is_not_installed_is_not_skipped():
    try:
        import SimpleITK  # noqa: F401
    except ImportError:
        with pytest.raises(ConfigError, match="SimpleITK"):
            require_n4()


def test_damaged_config_is_refused(tmp_path):
    from medical.mri.model import load_model

    (tmp_path / "config.json").write_text('{"format": "other"}')
    with pytest.raises(CheckpointError, match="format"):
        load_model(tmp_path)


@pytest.mark.slow
def test_against_monai():
    from monai.data import MetaTensor
    from monai.metrics import compute_hausdorff_distance
    from monai.transforms import Orientation, ResizeWithPadOrCrop, ScaleIntensityRangePercentiles

    rng = np.random.default_rng(0)
    for axes in ORIENTATIONS:
        geometry = geometry_of(axes, shape=(20, 24, 6), spacing=(2.0, 1.5, 4.0))
        voxels = rng.random(geometry.shape, dtype=np.float32) * 300
        image = MetaTensor(torch.from_numpy(voxels)[None], affine=torch.from_numpy(geometry.matrix))
        image = Orientation("RAS", labels=(("L", "R"), ("P", "A"), ("I", "S")))(image)
        image = ScaleIntensityRangePercentiles(1, 99, 0, 1, clip=False)(image)
        placement = place(geometry, None, (16, 32))
        fitted = ResizeWithPadOrCrop((16, 32, 6))(image)
        np.testing.assert_allclose(
            image_slices(voxels, placement), fitted[0].numpy().transpose(2, 0, 1), atol=1e-5
        )
    for _ in range(5):
        truth, found = (rng.random((9, 8, 7)) > share for share in (0.7, 0.8))
        expected = compute_hausdorff_distance(
            torch.from_numpy(found)[None, None], torch.from_numpy(truth)[None, None], include_background=True,
            percentile=95, spacing=[1.0, 2.0, 3.0],
        )  # fmt: skip
        assert hausdorff95(truth, found, (1, 2, 3)) == pytest.approx(float(expected), abs=1e-4)
