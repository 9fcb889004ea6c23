"""Every bad input is found before training, with the patient's id and the reason."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace

import nibabel
import numpy as np
import pytest

from core.data.checks import Quarantine
from core.errors import DataError
from medical.mri.data.case import Case, Listing, draw_splits, identity_map
from medical.mri.data.checks import Reading, Rules, inspect, require_enough
from medical.mri.data.layouts import read_acdc, read_mmwhs, read_msd, read_own
from medical.mri.data.nifti import Geometry, read_volume

RULES = Rules(parts=4, spacing=None, size=(32, 32))
AFFINE = np.diag([1.0, 1.0, 4.0, 1.0])


def rotated(degrees):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.eye(4)
    turn[1:3, 1:3] = [[c, -s], [s, c]]
    return turn @ np.diag([2.0, 2.0, 2.0, 1.0])


@pytest.fixture
def volume(tmp_path):
    """Write one volume with a mask, changed as a test likes; gives the listing."""

    def write(image=None, mask="default", affine=AFFINE, mask_affine=None, name="p1", **case):
        rng = np.random.default_rng(0)
        image = rng.random((12, 14, 8), dtype=np.float32) if image is None else image
        if isinstance(mask, str):
            mask = np.zeros((12, 14, 8), np.uint8)
            mask[4:8, 4:8, 2:6] = 1
        place = tmp_path / f"{name}.nii.gz"
        nibabel.Nifti1Image(image, affine).to_filename(place)
        label = ""
        if mask is not None:
            label = str(tmp_path / f"{name}_mask.nii.gz")
            nibabel.Nifti1Image(mask, affine if mask_affine is None else mask_affine).to_filename(label)
        one = Case(name, case.pop("group", name), str(place), label, "train", **case)
        return Listing((one,), ("a", "b"), identity_map(2))

    return write


def found(listing, rules=RULES):
    """(kinds of the offenders, kinds of the warnings, usable cases)."""
    quarantine = Quarantine()
    usable, _ = inspect(listing, rules, quarantine)
    offenders = [(f.file, f.kind, f.reason) for f in quarantine.offenders]
    warnings = [(f.file, f.kind, f.reason) for f in quarantine.findings if f.level == "warning"]
    return offenders, warnings, usable.cases


def test_a_sound_volume_passes(volume):
    offenders, warnings, cases = found(volume())
    assert (offenders, warnings) == ([], [])
    assert cases[0].label


@pytest.mark.parametrize("packed", [True, False])
def test_a_truncated_file(volume, tmp_path, packed):
    listing = volume()
    path = tmp_path / "p1.nii.gz"
    content = path.read_bytes() if packed else gzip.decompress(path.read_bytes())
    place = tmp_path / ("cut.nii.gz" if packed else "cut.nii")
    place.write_bytes(content[: len(content) // 2])
    case = replace(listing.cases[0], image=str(place))
    ((name, kind, reason),), _, cases = found(replace(listing, cases=(case,)))
    assert (name, kind) == ("p1", "unreadable")
    assert "truncated" in reason
    assert cases == ()


def test_not_a_nifti_file(volume, tmp_path):
    listing = volume()
    (tmp_path / "p1.nii.gz").write_bytes(b"hello" * 100)
    ((_, kind, reason),), _, _ = found(listing)
    assert kind == "unreadable"
    assert "NIfTI" in reason


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_non_finite_voxels_are_refused_or_filled(volume, value):
    image = np.random.default_rng(0).random((12, 14, 8), dtype=np.float32)
    image[3, 3, 3] = value
    listing = volume(image)
    ((_, kind, reason),), _, _ = found(listing)
    assert kind == "non-finite voxels"
    assert "1 of 1344" in reason
    offenders, warnings, _ = found(listing, replace(RULES, reading=Reading(non_finite="fill")))
    assert offenders == []
    assert warnings[0][1] == "non-finite voxels"


def test_a_constant_volume(volume):
    ((_, kind, reason),), _, _ = found(volume(np.full((12, 14, 8), 7, np.float32)))
    assert kind == "constant"
    assert "7" in reason


def test_no_slices(volume):
    ((_, kind, reason),), _, _ = found(volume(np.zeros((12, 14, 0), np.float32), mask=None))
    assert kind == "unreadable"
    assert "(12, 14, 0)" in reason


@pytest.mark.parametrize(("spacing", "shown"), [(0.0, "0.0"), (0.05, "0.05"), (25.0, "25.0")])
def test_spacing_that_cannot_be(volume, tmp_path, spacing, shown):
    listing = volume()
    path = tmp_path / "p1.nii.gz"
    raw = bytearray(gzip.decompress(path.read_bytes()))
    raw[80:84] = np.float32(spacing).tobytes()  # pixdim[1], which nibabel would turn from 0 into 1
    path.write_bytes(gzip.compress(bytes(raw)))
    ((_, kind, reason),), _, _ = found(listing)
    assert kind == "unreadable"
    assert "spacing" in reason
    assert shown in reason


def test_anisotropy_is_reported(volume):
    _, facts = inspect(volume(), RULES, Quarantine())
    assert facts["p1"]["anisotropy"] == 4.0


def test_a_mask_elsewhere_or_of_another_shape(volume):
    moved = AFFINE.copy()
    moved[0, 3] = 3
    ((_, kind, reason),), _, _ = found(volume(mask_affine=moved))
    assert kind == "mask geometry"
    assert "3" in reason
    ((_, kind, reason),), _, _ = found(volume(mask=np.ones((12, 13, 8), np.uint8)))
    assert kind == "mask geometry"
    assert "(12, 13, 8)" in reason


@pytest.mark.parametrize("odd", [7.0, 0.5])
def test_mask_values_outside_the_map(volume, odd):
    mask = np.zeros((12, 14, 8), np.float32)
    mask[4:8, 4:8, 2:6] = 1
    mask[0, 0, :3] = odd
    listing = volume(mask=mask)
    ((_, kind, reason),), _, _ = found(listing)
    assert kind == "mask values"
    assert f"{odd:g} (3)" in reason
    offenders, warnings, cases = found(listing, replace(RULES, reading=Reading(strays="background")))
    assert (offenders, warnings[0][1]) == ([], "mask values")
    assert cases[0].label


def test_a_float_mask_of_whole_numbers_is_fine(volume):
    mask = np.zeros((12, 14, 8), np.float32)
    mask[4:8, 4:8, 2:6] = 2
    assert found(volume(mask=mask))[0] == []


def test_a_4d_file_needs_a_channel(volume):
    image = np.random.default_rng(0).random((12, 14, 8, 2), dtype=np.float32)
    ((_, kind, reason),), _, _ = found(volume(image))
    assert kind == "unreadable"
    assert "channel" in reason
    listing = volume(image)
    picked = replace(listing, cases=(replace(listing.cases[0], channel=1),))
    assert found(picked)[0] == []
    np.testing.assert_array_equal(read_volume(picked.cases[0].image, 1).voxels, image[..., 1])
    beyond = replace(listing, cases=(replace(listing.cases[0], channel=2),))
    assert "0 to 1" in found(beyond)[0][0][2]


def test_thick_slices_that_are_not_axial(volume):
    sagittal = np.diag([4.0, 1.0, 1.0, 1.0])
    image = np.random.default_rng(0).random((8, 24, 24), dtype=np.float32)
    ((_, kind, reason),), _, _ = found(volume(image, mask=None, affine=sagittal))
    assert kind == "slice axis"
    assert "4 x 1 x 1" in reason


def test_an_oblique_volume_is_warned_of_or_refused(volume):
    listing = volume(affine=rotated(30))
    offenders, ((_, kind, reason),), _ = found(listing)
    assert (offenders, kind) == ([], "oblique")
    assert "30 degrees" in reason
    assert found(listing, replace(RULES, oblique="reject"))[0][0][1] == "oblique"
    assert found(volume(affine=rotated(15)))[1] == []


def test_a_flipped_copy_has_the_same_slices_in_the_same_order(upright):
    from medical.mri.preprocess import image_slices, place

    voxels = np.random.default_rng(0).random(upright.shape, dtype=np.float32)
    plain = image_slices(voxels, place(upright, None, (10, 12)))
    for axes in ((2,), (0, 1), (0, 1, 2)):
        matrix = upright.matrix
        for axis in axes:
            matrix[axis, axis] *= -1
        flipped = Geometry(upright.shape, tuple(map(tuple, matrix.tolist())))
        again = image_slices(np.flip(voxels, axes), place(flipped, None, (10, 12)))
        np.testing.assert_array_equal(again, plain)


def test_fewer_slices_than_partitions(volume):
    image = np.random.default_rng(0).random((12, 14, 3), dtype=np.float32)
    ((name, kind, reason),), _, _ = found(volume(image, mask=None))
    assert (name, kind) == ("p1", "too few slices")
    assert "3 slices for 4" in reason


def test_a_patient_in_two_splits_and_a_path_outside(tmp_path):
    table = tmp_path / "manifest.csv"
    table.write_text("id,image,label,group,split\na,a.nii,,p1,train\nb,b.nii,b.nii,p1,test\n")
    options = {"root": tmp_path, "structures": ["x"], "fractions": {"train": 0.5, "valid": 0.2, "test": 0.3}}
    with pytest.raises(DataError, match="p1 in test and train"):
        read_own(table, **options)
    table.write_text("id,image\na,../../etc/a.nii\n")
    with pytest.raises(DataError, match="leaves the data root"):
        read_own(table, **options)


def test_the_same_volume_twice(volume):
    one, two = volume(name="p1").cases[0], volume(name="p2").cases[0]
    ((name, kind, reason),), _, cases = found(Listing((one, two), ("a", "b"), identity_map(2)))
    assert (name, kind) == ("p2", "duplicate")
    assert "p1" in reason
    assert [case.id for case in cases] == ["p1"]


def test_an_empty_mask_is_taken_off(volume):
    offenders, ((_, kind, _),), cases = found(volume(mask=np.zeros((12, 14, 8), np.uint8)))
    assert (offenders, kind) == ([], "empty mask")
    assert cases[0].label == ""


def test_what_the_crop_removes_is_reported(volume):
    _, ((_, kind, reason),), _ = found(volume(), replace(RULES, size=(4, 4)))
    assert kind == "crop"
    assert "%" in reason
    mask = np.zeros((12, 14, 8), np.uint8)
    mask[0, 0, 0] = 1
    assert found(volume(mask=mask), replace(RULES, size=(4, 4)))[0][0][1] == "crop"


def test_missing_files(volume, tmp_path):
    listing = volume()
    (tmp_path / "p1_mask.nii.gz").unlink()
    assert found(listing)[0][0][:2] == ("p1", "missing mask")
    (tmp_path / "p1.nii.gz").unlink()
    assert found(listing)[0][0][:2] == ("p1", "missing image")


def test_too_few_volumes_for_what_is_asked():
    cases = tuple(
        Case(str(i), str(i), "x", "y", s) for i, s in enumerate(["train", "train", "valid", "test"])
    )
    listing = Listing(cases, ("a",), identity_map(1))
    require_enough(listing, volumes=2, labelled=[1, 2])
    with pytest.raises(DataError, match="volumes to pretrain on: saw 2, expected at least 3"):
        require_enough(listing, volumes=3, labelled=[1])
    with pytest.raises(DataError, match="labelled volumes to fine-tune on"):
        require_enough(listing, volumes=1, labelled=[8])
    with pytest.raises(DataError, match="labelled volumes in test"):
        require_enough(replace(listing, cases=cases[:3]), volumes=1, labelled=[1])
    with pytest.raises(DataError, match="patients with a mask"):
        draw_splits(Listing((Case("a", "a", "x"),), ("a",), {}), {"train": 0.5, "valid": 0.2, "test": 0.3})


def test_stray_values_of_mmwhs_are_counted(volume, tmp_path):
    folder = tmp_path / "set" / "1001"
    folder.mkdir(parents=True)
    mask = np.zeros((12, 14, 8), np.int16)
    mask[4:8, 4:8, 2:6] = 205
    mask[0, 0, :4] = 421
    mask[1, 1, :4] = 850
    volume(mask=mask)
    (tmp_path / "p1.nii.gz").rename(folder / "img.nii.gz")
    (tmp_path / "p1_mask.nii.gz").rename(folder / "seg.nii.gz")
    listing = read_mmwhs(tmp_path / "set")
    ((name, kind, reason),), _, _ = found(listing)
    assert (name, kind) == ("1001", "mask values")
    assert "421 (4)" in reason
    assert listing.label_map[850] == 7


def test_the_layouts_are_read(hearts, tmp_path):
    listing = read_acdc(hearts)
    assert [case.id for case in listing.cases][:2] == ["patient001", "patient002"]
    assert sum(bool(case.label) for case in listing.cases) == 7
    assert listing.structures == ("RV", "MYO", "LV")
    official = read_acdc(hearts, official_split=True)
    assert {case.id: case.split for case in official.cases}["patient007"] == "test"
    (tmp_path / "imagesTr").mkdir()
    index = {
        "name": "Hippocampus", "labels": {"0": "background", "1": "Anterior"},
        "training": [{"image": f"./imagesTr/h_{n:03d}.nii.gz", "label": f"./l/h_{n:03d}.nii.gz"} for n in (1, 2, 3)],
        "test": ["./imagesTs/h_004.nii.gz"],
    }  # fmt: skip
    (tmp_path / "dataset.json").write_text(json.dumps(index))
    brains = read_msd(tmp_path)
    assert [case.group for case in brains.cases] == ["brain 1", "brain 1", "brain 2", "brain 2"]
    assert [bool(case.label) for case in brains.cases] == [True, True, True, False]
    index["training"][0]["image"] = "/etc/passwd"
    (tmp_path / "dataset.json").write_text(json.dumps(index))
    with pytest.raises(DataError, match="leaves the data root"):
        read_msd(tmp_path)
    with pytest.raises(DataError, match=r"data\.root"):
        read_acdc(tmp_path / "nowhere")
