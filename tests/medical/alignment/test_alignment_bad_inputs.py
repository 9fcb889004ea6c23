"""What validation makes of every kind of bad input, and of twins that must look the same."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from core.data.checks import Quarantine
from core.errors import DataError
from medical.alignment.data.film import read_film
from medical.alignment.data.items import make_items, resolve_uncertain
from medical.alignment.data.link import MORE60, Rule, link
from medical.alignment.data.report import ecg_report, label_report, usable, xray_report
from medical.alignment.data.sources import Checks, check_items, read_items
from medical.alignment.phantom import State, draw_ecg, draw_film
from medical.ecg.data.leads import LEADS
from medical.ecg.data.problems import BadRecord
from medical.ecg.data.wfdb import write_wfdb

NORMAL = State(0, 0, 0, 0, False, False, False, False)


def film(seed=0, side=144):
    return draw_film(NORMAL, np.random.default_rng(seed), side)


def png(values, **options):
    out = io.BytesIO()
    Image.fromarray(values).save(out, format="PNG", **options)
    return out.getvalue()


def dicom(values, photometric="MONOCHROME2", *, bits=12, modality="DX", view="PA", frames=1, window=None):
    """The bytes of a DICOM film."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    data.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["film"])
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID
    data.Modality, data.ViewPosition, data.PhotometricInterpretation = modality, view, photometric
    data.Rows, data.Columns = values.shape[:2]
    data.SamplesPerPixel, data.PixelRepresentation = (3 if values.ndim == 3 else 1), 0
    if values.ndim == 3:
        data.PlanarConfiguration = 0
    wide = 8 if values.dtype == np.uint8 else 16
    data.BitsAllocated, data.BitsStored, data.HighBit = wide, min(bits, wide), min(bits, wide) - 1
    if frames > 1:
        data.NumberOfFrames = frames
        values = np.stack([values] * frames)
    if window:
        data.WindowCenter, data.WindowWidth = window
    data.PixelData = values.tobytes()
    out = io.BytesIO()
    data.save_as(out, enforce_file_format=True)
    return out.getvalue()


def kind_of(content, **options):
    with pytest.raises(BadRecord) as caught:
        read_film(content, **options)
    return caught.value.kind


def test_monochrome_twins_are_one_film_whatever_the_window():
    values = film().astype(np.uint16) * 16
    for window in (None, (1800, 3000)):
        plain = read_film(dicom(values, window=window))
        mirrored = None if window is None else (4095 - window[0] + 1, window[1])
        inverted = read_film(dicom(4095 - values, "MONOCHROME1", window=mirrored))
        np.testing.assert_allclose(plain.pixels, inverted.pixels, atol=2e-3)
        assert [note.kind for note in inverted.notes] == ["monochrome1"]
    np.testing.assert_array_equal(
        read_film(dicom(values)).pixels, read_film(dicom(4095 - values, "MONOCHROME1")).pixels
    )


def test_depth_comes_from_the_file_and_never_from_the_brightest_pixel():
    eight = film()
    sixteen = png(eight.astype(np.uint16) * 257)
    np.testing.assert_allclose(read_film(sixteen).pixels, read_film(png(eight)).pixels, atol=1e-6)
    dark = read_film(png((eight // 2).astype(np.uint8)))
    assert dark.pixels.max() <= 0.5
    twelve = png(eight.astype(np.uint16) * 16)
    assert [note.kind for note in read_film(twelve).notes] == ["depth"]
    np.testing.assert_allclose(read_film(twelve, bits=12).pixels, read_film(png(eight)).pixels, atol=5e-3)


def test_each_bad_film_is_named_by_its_kind():
    grey = film()
    colour = np.stack([grey, grey // 2, grey], axis=2)
    assert kind_of(png(np.full((200, 200), 90, np.uint8))) == "constant"
    assert kind_of(png(np.zeros((200, 200), np.uint8))) == "constant"
    assert kind_of(png(grey[:100, :100])) == "small"
    assert kind_of(png(colour)) == "colour"
    assert kind_of(dicom(colour, "RGB", bits=8)) == "colour"
    assert kind_of(dicom(grey.astype(np.uint16), "PALETTE COLOR")) == "colour"
    assert kind_of(dicom(grey.astype(np.uint16), modality="CT")) == "not_xray"
    assert kind_of(dicom(grey.astype(np.uint16), frames=3)) == "frames"
    assert kind_of(dicom(grey.astype(np.uint16) * 16, view="LL")) == "lateral"
    assert kind_of(png(grey)[:500]) == "unreadable"
    assert kind_of("nowhere.png") == "missing"
    stack = io.BytesIO()
    Image.fromarray(grey).save(stack, format="TIFF", save_all=True, append_images=[Image.fromarray(grey)])
    assert kind_of(stack.getvalue()) == "frames"
    assert read_film(png(np.stack([grey] * 3, axis=2))).pixels.shape == grey.shape
    border = np.full((200, 200), 250, np.uint8)
    border[20:-20, 20:-20] = film(side=160) // 3
    assert [note.kind for note in read_film(png(border)).notes] == ["inverted"]


def test_reports_are_cleaned_and_empty_ones_are_missing():
    text = " FINAL REPORT\n FINDINGS:\n Clear ___ lungs. Seen at 10:15.\n\n IMPRESSION:\n No acute change."
    assert xray_report(text) == "Clear lungs. No acute change."
    assert xray_report(text, impression_first=True) == "No acute change. Clear lungs."
    long = "FINDINGS: " + "Nothing of note here. " * 100 + "IMPRESSION: Edema."
    assert xray_report(long.replace("IMPRESSION", "\nIMPRESSION")).startswith("Edema. Nothing")
    assert xray_report("no sections at all here") == "no sections at all here"
    for empty in ("", "  \n ", "___", "As above."):
        assert usable(xray_report(empty), "xray") == ""
    assert ecg_report(["Sinus rhythm", float("nan"), " "]) == "Sinus rhythm."
    assert label_report({"Edema": 1.0, "Fracture": float("nan")}) == "Edema is present."


def timed(*lines):
    """A table of patients and times from "patient time" lines."""
    subjects, times = zip(*(line.split(" ", 1) for line in lines), strict=True)
    return pd.DataFrame(
        {"subject": subjects, "time": pd.to_datetime(pd.Series(times), format="mixed", errors="coerce")}
    )


def test_links_by_patient_and_time_only():
    films = timed("a 2020-01-10 12:00", "a ", "b 2020-01-10", "c 2020-01-10")
    ecgs = timed("a 2020-01-09 13:00", "a 2020-01-10 18:00", "a 2020-02-20", "b 2020-01-20", "d ")
    pairs, counts = link(films, ecgs, Rule())
    assert pairs[["film", "ecg"]].to_numpy().tolist() == [[0, 1]]
    assert counts == {
        "linked": 1, "pairs": 1, "film_without_time": 1, "no_ecg_of_patient": 1, "outside_window": 1,
        "ecg_without_time": 1, "ecg_unused": 4,
    }  # fmt: skip
    assert link(films, ecgs, Rule(policy="earliest"))[0]["ecg"].tolist() == [0]
    assert link(films, ecgs, Rule(before_only=True))[0]["ecg"].tolist() == [0]
    assert link(films, ecgs, MORE60)[0]["ecg"].tolist() == [1, 0, 2, 3]
    assert link(films, ecgs, Rule(policy="all", days=60, most=2))[0]["ecg"].tolist() == [1, 0, 3]


def test_a_patient_in_two_splits_is_an_error():
    empty = dict.fromkeys(("xray", "ecg", "xray_report", "ecg_report"), "")
    rows = [
        {"id": str(n), "subject": "p", "split": split, "row": n, **empty}
        for n, split in enumerate(("train", "test"))
    ]
    with pytest.raises(DataError, match="p in test and train"):
        make_items(rows, [], np.zeros((2, 0)), fractions={"train": 1.0}, seed=0, facts={}, where="table")


def test_uncertain_labels_follow_the_policy():
    values = np.array([[-1.0, 1.0, np.nan]])
    assert np.isnan(resolve_uncertain(values, "ignore")[0, 0])
    assert resolve_uncertain(values, "one")[0, 0] == 1
    assert resolve_uncertain(values, "zero")[0, 0] == 0
    assert np.isnan(resolve_uncertain(values, "zero")[0, 2])


def test_own_data_with_gaps_bad_files_and_nothing_left(tmp_path):
    """One manifest with every row that own data may bring: each offender is listed, nothing is lost."""
    rng = np.random.default_rng(0)
    Image.fromarray(film()).save(tmp_path / "good.png")
    Image.fromarray(np.zeros((200, 200), np.uint8)).save(tmp_path / "black.png")
    signal = draw_ecg(NORMAL, rng)
    write_wfdb(tmp_path / "good", signal.T, fs=100, leads=LEADS)
    write_wfdb(tmp_path / "few", signal[:3].T, fs=100, leads=LEADS[:3])
    rows = [
        "id,subject_id,xray_path,xray_time,ecg_path,ecg_time,report_xray,report_ecg,labels",
        "a,p1,good.png,2024-01-01,good.hea,2024-01-01,The lungs are clear today.,Sinus rhythm.,Edema;-Pneumonia",
        "b,p2,black.png,,good.hea,,The lungs are clear today.,,none",
        "c,p3,good.png,,few.hea,,,,",
        "d,p4,black.png,,,,as above,,Edema",
        "e,p5,good.png,2024-01-01,good.hea,2024-03-01,,Sinus rhythm.,",
    ]
    (tmp_path / "manifest.csv").write_text("\n".join(rows))
    listed = read_items("manifest", str(tmp_path), manifest=str(tmp_path / "manifest.csv"))
    assert listed.labels == ["Edema", "Pneumonia"]
    assert listed.targets[:2].tolist() == [[1, -1], [0, 0]]
    quarantine = Quarantine()
    left, facts = check_items(listed, quarantine, Checks())
    kinds = {(finding.kind, finding.file.split("/")[-1]) for finding in quarantine.offenders}
    assert kinds == {("constant", "black.png"), ("leads", "few.hea"), ("empty", "d")}
    assert left.table["id"].tolist() == ["a", "b", "c", "e"]
    table = left.table.set_index("id")
    assert table.loc["b", "xray"] == ""
    assert table.loc["c", "ecg"] == ""
    assert (table.loc["e", "ecg"], table.loc["e", "ecg_report"]) == ("", "")  # sixty days from its film
    assert facts["patterns"]["xray+ecg+text"] == 1
    assert facts["shared_reports"] == {"texts": 0, "studies": 0}
    (tmp_path / "manifest.csv").write_text("subject_id,xray_path\np,../secret.png")
    with pytest.raises(DataError, match="leaves the data root"):
        read_items("manifest", str(tmp_path), manifest=str(tmp_path / "manifest.csv"))


def own_items(folder, text):
    """What is read of a manifest with this text."""
    (folder / "manifest.csv").write_text(text)
    manifest = str(folder / "manifest.csv")
    return read_items("manifest", str(folder), manifest=manifest, fractions={"train": 1.0})


def dated(*rows):
    """A manifest with a film, an ECG and their times in each row."""
    return "\n".join(
        ["subject_id,xray_path,xray_time,ecg_path,ecg_time,report_xray"]
        + [f"p{n},a.png,{film},a.hea,{ecg},The lungs are clear." for n, (film, ecg) in enumerate(rows)]
    )


def test_times_of_own_data_that_are_not_iso_are_refused_with_row_column_and_remedy(tmp_path):
    good = ("2024-03-12", "2024-03-12 14:05")
    for bad in (
        "12.03.2024",
        "13.03.2024",
        "03/12/2024",
        "gestern",
        "2024-13-01",
        "2024-03-12+01:00",
        "45363",
    ):
        for column, row in (("xray_time", (bad, "2024-03-12")), ("ecg_time", ("", bad))):
            with pytest.raises(DataError) as caught:
                own_items(tmp_path, dated(good, row, good))
            for words in ("manifest.csv row 3", column, repr(bad), "2024-03-12 14:05"):
                assert words in str(caught.value)
    with pytest.raises(DataError, match=r"row 2 \(and 1 more\), column ecg_time"):
        own_items(tmp_path, dated(("", "gestern"), good, ("", "heute")))
    with pytest.raises(DataError, match=r"row 3, columns xray_time and ecg_time.*zone in both"):
        own_items(tmp_path, dated(good, ("2024-03-12T08:00Z", "2024-03-12 08:00")))


def test_times_of_own_data_decide_whether_film_and_ecg_belong_together(tmp_path):
    near = [
        ("2024-03-12", "2024-03-12 14:05"),
        ("2024-03-12T08:00:00", "20240313"),
        ("2024-03-12T23:00-05:00", "2024-03-14T03:00Z"),  # 23 hours apart
        ("", "2024-03-12"),
        ("2024-03-12", ""),
    ]
    far = [("2024-03-12", "2024-12-03"), ("2024-03-12T23:00Z", "2024-03-14T00:00Z")]
    ecgs = own_items(tmp_path, dated(*near, *far)).table["ecg"].tolist()
    assert [bool(ecg) for ecg in ecgs] == [True] * len(near) + [False] * len(far)


def test_a_quoted_header_is_read_as_a_plain_one(tmp_path):
    plain = "id,subject_id,xray_path,report_xray\nx1,p1,a.png,The lungs are clear.\nx2,p2,a.png,The heart is large.\n"
    quoted = "\n".join(",".join(f'"{cell}"' for cell in line.split(",")) for line in plain.splitlines())
    one, other = own_items(tmp_path, plain).table, own_items(tmp_path, quoted).table
    assert other["id"].tolist() == ["x1", "x2"]
    pd.testing.assert_frame_equal(one, other)


def test_rows_without_ids_keep_the_numbers_of_the_file(tmp_path):
    lines = dated(("2024-03-12", ""), ("2024-03-13", "")).split("\n")
    gapped = "\n".join([lines[0], lines[1], "", ",,,,,", lines[2]])
    assert own_items(tmp_path, gapped).table["id"].tolist() == ["row2", "row5"]
    with pytest.raises(DataError, match="row 5, column xray_time"):
        own_items(tmp_path, gapped.replace("2024-03-13", "13.03.2024"))


def test_leads_in_another_order_are_the_same_recording(tmp_path):
    from medical.ecg.data.conform import conform
    from medical.ecg.data.recording import read_recording

    signal = draw_ecg(NORMAL, np.random.default_rng(1))
    order = [5, 0, 3, 1, 2, 4, 11, 10, 9, 8, 7, 6]
    write_wfdb(tmp_path / "a", signal.T, fs=100, leads=LEADS)
    write_wfdb(tmp_path / "b", signal[order].T, fs=100, leads=tuple(LEADS[k] for k in order))
    one, other = (conform(read_recording(tmp_path / name)).signal for name in "ab")
    np.testing.assert_array_equal(one, other)
