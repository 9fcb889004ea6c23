"""What is read, in which order and orientation, and every kind of bad input by its name."""

from __future__ import annotations

from collections import Counter

import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate

from core.errors import ConfigError, DataError
from medical.ct.data.dicom import scan_dicom
from medical.ct.data.layouts import files_below, read_source
from medical.ct.data.nifti import scan_nifti
from medical.ct.data.pixels import series_hounsfield, series_images
from medical.ct.data.series import Problem, slice_table
from medical.ct.hashing import dhash

from .conftest import SIZE, anatomy


def scanned(folder, **options):
    return scan_dicom(folder, files_below(folder), **options)


def kinds(scan):
    return dict(Counter(problem.kind for problem in scan.rejected))


def warned(scan):
    return {problem.kind for problem in scan.warnings}


def pixels(folder, series):
    return list(series_hounsfield(folder, slice_table([series]).to_dict("records")))


def compress_as(header, syntax):
    header.file_meta.TransferSyntaxUID = syntax
    header.PixelData = encapsulate([b"pixels that nobody can read"])


def test_slices_are_ordered_by_position_and_come_out_in_hounsfield_units(tmp_path, write_series):
    write_series(tmp_path)
    (series,) = scanned(tmp_path).series
    assert [one.z_mm for one in series.slices] == list(range(12))
    for k, found in enumerate(pixels(tmp_path, series)):
        np.testing.assert_allclose(found, anatomy(k), atol=0.51)


def test_series_are_told_apart_whatever_folder_they_lie_in(tmp_path, write_series, write_slice):
    write_series(tmp_path, series="1.2.1")
    write_series(tmp_path, series="1.2.2")
    write_slice(tmp_path / "scout.dcm", 99, series="1.2.3")
    (tmp_path / "README").write_text("no DICOM mark: passed over")
    scan = scanned(tmp_path)
    assert [len(one.slices) for one in scan.series] == [12, 12]
    assert kinds(scan) == {"too_few": 1}
    assert scan.checked == 25


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("not_ct", lambda h: setattr(h, "Modality", "PT")),
        ("localizer", lambda h: setattr(h, "ImageType", ["ORIGINAL", "PRIMARY", "LOCALIZER"])),
        ("secondary_capture", lambda h: setattr(h, "SOPClassUID", "1.2.840.10008.5.1.4.1.1.7")),
        ("dose_report", lambda h: setattr(h, "SOPClassUID", "1.2.840.10008.5.1.4.1.1.88.67")),
        ("no_geometry", lambda h: h.__delattr__("ImagePositionPatient")),
        ("no_rescale", lambda h: h.__delattr__("RescaleSlope")),
        ("no_rescale", lambda h: h.__delattr__("RescaleIntercept")),
        ("not_grey", lambda h: setattr(h, "PhotometricInterpretation", "PALETTE COLOR")),
        ("no_codec", lambda h: compress_as(h, "1.2.840.10008.1.2.4.205")),
    ],
)
def test_a_bad_slice_is_named_and_the_others_stay(tmp_path, write_series, write_slice, kind, change):
    write_series(tmp_path)
    write_slice(tmp_path / "bad.dcm", 20, change)
    scan = scanned(tmp_path)
    assert [(problem.place, problem.kind) for problem in scan.rejected] == [("bad.dcm", kind)]
    assert [len(one.slices) for one in scan.series] == [12]


def test_slices_that_are_not_axial_are_refused(tmp_path, write_series):
    write_series(tmp_path, change=lambda h: setattr(h, "ImageOrientationPatient", [1, 0, 0, 0, 0, -1]))
    assert kinds(scanned(tmp_path)) == {"not_axial": 12}


def test_a_file_that_is_not_dicom_is_listed_and_does_not_stop_the_scan(tmp_path, write_series):
    files = write_series(tmp_path)
    (tmp_path / "x.dcm").write_bytes(b"nothing")
    files[0].write_bytes(files[0].read_bytes()[:140])
    scan = scanned(tmp_path)
    assert set(kinds(scan)) == {"unreadable", "not_ct"} or kinds(scan) == {"unreadable": 2}
    assert [len(one.slices) for one in scan.series] == [11]


def test_a_gap_and_uneven_distances_are_flagged(tmp_path, write_slice):
    for k in [*range(10), 15, *range(20, 26)]:
        write_slice(tmp_path / f"{k}.dcm", k)
    write_slice(tmp_path / "between.dcm", 30, lambda h: setattr(h, "ImagePositionPatient", [0, 0, 25.5]))
    scan = scanned(tmp_path)
    assert warned(scan) == {"gap", "variable_spacing"}
    assert "2 gap(s), about 9" in scan.warnings[0].reason


def test_tilt_and_thickness_are_flagged(tmp_path, write_series):
    def change(header):
        header.GantryDetectorTilt = 12
        header.SliceThickness = 1 if header.InstanceNumber < 5 else 3

    write_series(tmp_path, change=change)
    assert warned(scanned(tmp_path)) == {"tilt", "variable_thickness"}


def test_two_reconstructions_in_one_series_are_split_where_the_header_tells_them_apart(tmp_path, write_slice):
    for kernel in ("soft", "sharp"):
        for k in range(10):

            def change(header, kernel=kernel):
                header.ConvolutionKernel = kernel
                header.SOPInstanceUID = f"1.2.3.9.{header.InstanceNumber}.{len(kernel)}"

            write_slice(tmp_path / f"{kernel}{k}.dcm", k, change)
    scan = scanned(tmp_path)
    assert [len(one.slices) for one in scan.series] == [10, 10]
    assert [one.uid for one in scan.series] == ["1.2.3.4", "1.2.3.4#2"]
    for file in tmp_path.glob("*.dcm"):
        header = pydicom.dcmread(file)
        header.ConvolutionKernel = ""
        header.save_as(file)
    assert kinds(scanned(tmp_path)) == {"duplicate_positions": 20}


def test_the_same_slice_twice_counts_once(tmp_path, write_series):
    files = write_series(tmp_path)
    (tmp_path / "copy.dcm").write_bytes(files[0].read_bytes())
    scan = scanned(tmp_path)
    assert kinds(scan) == {"duplicate_file": 1}
    assert len(scan.series[0].slices) == 12


def test_monochrome1_signed_and_padded_pixels_give_the_same_image(tmp_path, write_slice):
    def inverted(header):
        header.PhotometricInterpretation = "MONOCHROME1"
        header.PixelData = (4095 - header.pixel_array).astype("<u2").tobytes()

    def signed(header):
        values = header.pixel_array.astype(np.int32) - 1024
        values[0] = -3024
        header.PixelRepresentation, header.BitsStored, header.HighBit, header.RescaleIntercept = 1, 16, 15, 0
        header.PixelData = values.astype("<i2").tobytes()

    def padded(header):
        values = header.pixel_array.copy()
        values[0] = 4000
        header.PixelData = values.tobytes()
        header.add_new("PixelPaddingValue", "US", 4000)

    plain = anatomy(3)
    plain[0] = -1024
    for change in (inverted, signed, padded):
        path = write_slice(tmp_path / "one.dcm", 3, change, hu=plain)
        (series,) = scanned(tmp_path, fewest=1).series
        np.testing.assert_allclose(pixels(tmp_path, series)[0], plain, atol=0.51)
        path.unlink()


def test_compressed_slices_decode_to_the_same_pixels(tmp_path, write_series):
    gdcm = pytest.importorskip("gdcm")
    files = write_series(tmp_path)
    expected = pixels(tmp_path, scanned(tmp_path).series[0])
    syntaxes = (gdcm.TransferSyntax.JPEGLosslessProcess14_1, gdcm.TransferSyntax.JPEG2000Lossless)
    for number, file in enumerate(files):
        reader = gdcm.ImageReader()
        reader.SetFileName(str(file))
        assert reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(syntaxes[number % 2]))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFileName(str(file))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
    assert {pydicom.dcmread(file).file_meta.TransferSyntaxUID.is_compressed for file in files} == {True}
    np.testing.assert_array_equal(pixels(tmp_path, scanned(tmp_path).series[0]), expected)


def test_a_multi_frame_file_is_a_series(tmp_path, write_slice):
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    def change(header):
        frames = []
        for k in range(12):
            place, frame = Dataset(), Dataset()
            place.ImagePositionPatient = [-16, -16, 24 - 2 * k]
            frame.PlanePositionSequence = Sequence([place])
            frames.append(frame)
        scale, turn, shared = Dataset(), Dataset(), Dataset()
        scale.RescaleSlope, scale.RescaleIntercept = 1, -1024
        turn.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        shared.PixelValueTransformationSequence = Sequence([scale])
        shared.PlaneOrientationSequence = Sequence([turn])
        header.PerFrameFunctionalGroupsSequence = Sequence(frames)
        header.SharedFunctionalGroupsSequence = Sequence([shared])
        for name in ("ImagePositionPatient", "ImageOrientationPatient", "RescaleSlope", "RescaleIntercept"):
            delattr(header, name)
        header.NumberOfFrames = 12
        stack = np.stack([anatomy(k) + 1024 for k in range(12)])
        header.PixelData = np.rint(stack).astype("<u2").tobytes()

    write_slice(tmp_path / "many.dcm", 0, change)
    (series,) = scanned(tmp_path).series
    assert [one.frame for one in series.slices] == list(range(11, -1, -1))
    np.testing.assert_allclose(pixels(tmp_path, series)[0], anatomy(11), atol=0.51)


@pytest.mark.parametrize("turn", [[-1, 0, 0, 0, -1, 0], [0, 1, 0, 1, 0, 0], [-1, 0, 0, 0, 1, 0]])
def test_slices_stored_the_other_way_round_are_turned(tmp_path, write_slice, turn):
    """Stored so that a growing column goes along the first three numbers, a growing row along the others."""
    upright = anatomy(2)
    stored = upright.T if turn[0] == 0 else upright
    if turn[0] < 0:
        stored = stored[:, ::-1]
    if turn[4] < 0:
        stored = stored[::-1]
    write_slice(tmp_path / "a.dcm", 0, lambda h: setattr(h, "ImageOrientationPatient", turn), hu=stored)
    (series,) = scanned(tmp_path, fewest=1).series
    np.testing.assert_allclose(pixels(tmp_path, series)[0], upright, atol=0.51)


def volume(count=12):
    """(x, y, z) as NIfTI has it in RAS, of slices as DICOM shows them."""
    return np.rint(np.stack([anatomy(k)[::-1, ::-1].T for k in range(count)], axis=2)).astype(np.int16)


def test_nifti_and_dicom_of_one_series_hash_the_same_however_the_volume_is_stored(tmp_path, write_series):
    write_series(tmp_path / "dicom")
    (series,) = scanned(tmp_path / "dicom").series
    rows = slice_table([series]).to_dict("records")
    expected = [dhash(image) for image in series_images(tmp_path / "dicom", rows, "chest")]
    nibabel.save(nibabel.Nifti1Image(volume(), np.diag([1.0, 1, 1, 1])), tmp_path / "plain.nii.gz")
    flipped = np.diag([-1.0, 1, -1, 1])
    flipped[:3, 3] = [SIZE - 1, 0, 11]
    nibabel.save(nibabel.Nifti1Image(volume()[::-1, :, ::-1], flipped), tmp_path / "turned.nii.gz")
    scan = scan_nifti(tmp_path, sorted(tmp_path.glob("*.nii.gz")))
    assert not scan.warnings
    assert len(scan.series) == 2
    for one in scan.series:
        rows = slice_table([one]).to_dict("records")
        found = [dhash(image) for image in series_images(tmp_path, rows, "chest")]
        np.testing.assert_array_equal(found, expected)


def test_a_set_without_any_orientation_is_read_as_stored_and_warned_of(tmp_path):
    stored = np.stack([anatomy(k).T for k in range(12)], axis=2).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(stored, np.diag([1.0, 1, 2, 1])), tmp_path / "a.nii")
    scan = scan_nifti(tmp_path, [tmp_path / "a.nii"])
    assert warned(scan) == {"no_orientation"}
    np.testing.assert_allclose(pixels(tmp_path, scan.series[0])[5], anatomy(5), atol=1)


def test_bad_nifti_files_are_named(tmp_path):
    good = volume()
    for name, data in (
        ("good", good),
        ("four", np.stack([good, good], axis=3)),
        ("thin", good[:, :, :3]),
        ("suv", np.abs(good) % 30),
        ("nan", np.where(np.arange(12) == 4, np.nan, good.astype(np.float32))),
    ):
        nibabel.save(nibabel.Nifti1Image(data, np.diag([-1.0, 1, 1, 1])), tmp_path / f"{name}.nii.gz")
    whole = (tmp_path / "good.nii.gz").read_bytes()
    (tmp_path / "cut.nii.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "no.nii.gz").write_bytes(b"not gzip")
    scan = scan_nifti(tmp_path, sorted(tmp_path.glob("*.nii.gz")))
    assert {problem.place: problem.kind for problem in scan.rejected} == {
        "four.nii.gz": "needs_channel", "thin.nii.gz": "too_few", "no.nii.gz": "unreadable"
    }  # fmt: skip
    found = {}
    for series in scan.series:
        rows = slice_table([series]).to_dict("records")
        images = list(series_images(tmp_path, rows, "chest"))
        found[series.uid] = Counter(image.kind for image in images if isinstance(image, Problem))
    assert found["good.nii.gz"] == {}
    assert found["suv.nii.gz"] == {"not_ct": 12}
    assert found["nan.nii.gz"] == {"not_finite": 1}
    assert found["cut.nii.gz"] == {"unreadable": 12}
    chosen = scan_nifti(tmp_path, [tmp_path / "four.nii.gz"], channel=1)
    np.testing.assert_allclose(pixels(tmp_path, chosen.series[0])[3].shape, (SIZE, SIZE))


def test_constant_slices_are_left_out_before_they_swallow_everything_dark(
    tmp_path, write_series, write_slice
):
    write_series(tmp_path)
    write_slice(tmp_path / "dark.dcm", 30, hu=np.full((SIZE, SIZE), -1000.0))
    (series,) = scanned(tmp_path).series
    images = list(series_images(tmp_path, slice_table([series]).to_dict("records"), "per_slice_minmax"))
    assert [image.kind for image in images if isinstance(image, Problem)] == ["constant"]


def test_own_data_by_manifest_of_folders_volumes_and_images(tmp_path, write_series):
    from PIL import Image

    write_series(tmp_path / "d")
    nibabel.save(nibabel.Nifti1Image(volume(), np.diag([-1.0, 1, 1, 1])), tmp_path / "v.nii.gz")
    rows = ["id,path,group,split,label,z_mm", "a,d,p1,train,ill,", "b,v.nii.gz,p2,test,well,"]
    for k in (10, 2, 1):
        Image.fromarray((anatomy(k) / 8 + 125).astype(np.uint8)).save(tmp_path / f"s_{k}.png")
        rows.append(f"i{k},s_{k}.png,p3,test,well,{k}")
    rows.append("m,gone.nii,p4,train,ill,")
    (tmp_path / "m.csv").write_text("\n".join(rows))
    scan = read_source("manifest", tmp_path, manifest=str(tmp_path / "m.csv"))
    assert kinds(scan) == {"missing": 1}
    found = {one.patient: one for one in scan.series}
    assert {name: (one.kind, one.split, set(one.labels)) for name, one in found.items()} == {
        "p1": ("dicom", "train", {0}), "p2": ("nifti", "test", {1}), "p3": ("image", "test", {1})
    }  # fmt: skip
    assert [one.path for one in found["p3"].slices] == ["s_1.png", "s_2.png", "s_10.png"]
    rows = slice_table([found["p3"]]).to_dict("records")
    assert all(image.shape == (SIZE, SIZE) for image in series_images(tmp_path, rows, "chest"))


def test_series_of_one_name_stay_apart_by_patient(tmp_path):
    from PIL import Image

    rows = ["id,path,group,split,series,slice"]
    for patient, split in (("p1", "train"), ("p2", "test")):
        for series in ("1", "2"):
            for k in range(2):
                name = f"{patient}_{series}_{k}"
                Image.fromarray((anatomy(k) / 8 + 125).astype(np.uint8)).save(tmp_path / f"{name}.png")
                rows.append(f"{name},{name}.png,{patient},{split},{series},{k}")
    (tmp_path / "m.csv").write_text("\n".join(rows))
    scan = read_source("manifest", tmp_path, manifest=str(tmp_path / "m.csv"))
    assert {one.uid: (one.patient, one.split) for one in scan.series} == {
        f"{patient}/{series}": (patient, split)
        for patient, split in (("p1", "train"), ("p2", "test"))
        for series in ("1", "2")
    }
    table = slice_table(scan.series)
    assert all(path.startswith(patient) for path, patient in zip(table["path"], table["patient"]))
    assert table["slice"].tolist() == [0, 1] * 4


def test_autopet_and_covid_layouts(tmp_path, write_series):
    study = tmp_path / "pet" / "PETCT_0001" / "study"
    study.mkdir(parents=True)
    affine = np.diag([-1.0, 1, 2, 1])
    nibabel.save(nibabel.Nifti1Image(volume(), affine), study / "CT.nii.gz")
    lesion = np.zeros((8, 8, 6), np.uint8)
    lesion[2, 2, 3] = 1
    nibabel.save(nibabel.Nifti1Image(lesion, np.diag([-1.0, 1, 4, 1])), study / "SEG.nii.gz")
    (series,) = read_source("autopet", tmp_path / "pet").series
    assert series.patient == "PETCT_0001"
    assert [k for k, label in enumerate(series.labels) if label] == [6]
    for place in ("Cap subjects/c1", "COVID-19 subjects/p1", "Normal subjects/n1"):
        write_series(tmp_path / "covid" / place, series=f"1.2.{len(place)}", patient="hidden")
    scan = read_source("covid_ct_md", tmp_path / "covid")
    assert {one.patient: one.labels[0] for one in scan.series} == {"p1": 0, "c1": 1, "n1": 2}
    assert {one.split for one in scan.series} == {"train", "test"}


def test_wrong_sources_and_folders_are_said_so(tmp_path):
    with pytest.raises(ConfigError, match=r"data\.source"):
        read_source("kaggle", tmp_path)
    with pytest.raises(DataError, match=r"data\.root"):
        read_source("dicom", tmp_path / "none")
    for source in ("lidc", "autopet", "covid_ct_md"):
        with pytest.raises(DataError, match=r"data\.root"):
            read_source(source, tmp_path)


def test_the_demo_is_lidc_with_what_goes_wrong(demo):
    scan = read_source("lidc", demo)
    assert kinds(scan) == {
        "not_axial": 12, "localizer": 2, "dose_report": 1, "secondary_capture": 1, "no_rescale": 1, "duplicate_file": 1
    }  # fmt: skip
    assert "gap" in warned(scan)
    assert len(scan.series) == 6
    assert {label for one in scan.series for label in one.labels} == {0, 1}
    table = slice_table(scan.series)
    assert not set(table[table["split"] == "train"]["patient"]) & set(
        table[table["split"] == "test"]["patient"]
    )
