"""What can be wrong with ECG files and tables: each case is named, listed or refused, never silent."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from core.data.checks import Quarantine
from core.errors import DataError
from medical.ecg.data.conform import Form, conform
from medical.ecg.data.leads import LEADS, limb_residual
from medical.ecg.data.problems import BadRecord
from medical.ecg.data.ptbxl import read_ptbxl
from medical.ecg.data.recording import Recording, read_recording
from medical.ecg.data.sources import check_items
from medical.ecg.data.wfdb import write_wfdb


@pytest.fixture
def record(tmp_path, signal):
    return write_wfdb(tmp_path / "r", signal, fs=100, leads=tuple(lead.upper() for lead in LEADS))


@pytest.fixture
def folder(tmp_path, demo_root):
    """A copy of the tables of the demo, to be spoilt; the signals are shared."""
    for name in ("ptbxl_database.csv", "scp_statements.csv"):
        shutil.copyfile(demo_root / name, tmp_path / name)
    shutil.copytree(demo_root / "records100", tmp_path / "records100")
    return tmp_path


def recording(signal, *, fs=100.0, leads=LEADS, unit="mV"):
    return Recording(np.asarray(signal, dtype=np.float32), fs, tuple(leads), (unit,) * len(leads))


def spoil(folder, change):
    table = pd.read_csv(folder / "ptbxl_database.csv", dtype=str, keep_default_na=False)
    change(table)
    table.to_csv(folder / "ptbxl_database.csv", index=False)


def refused(kind, call, *words):
    with pytest.raises(BadRecord) as error:
        call()
    assert error.value.kind == kind
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize("size", [0, 1001, 23_000])
def test_truncated_and_empty_signal_files_say_how_many_bytes(record, size):
    data = record.with_suffix(".dat")
    data.write_bytes(data.read_bytes()[:size])
    refused("truncated", lambda: read_recording(record), "r.dat", f"{size} bytes", "24000")


def test_a_longer_signal_file_is_read_with_a_warning(record, signal):
    data = record.with_suffix(".dat")
    data.write_bytes(data.read_bytes() + b"\0" * 24)
    found = read_recording(record)
    assert [note.kind for note in found.notes] == ["longer"]
    np.testing.assert_allclose(found.signal, signal, atol=6e-4)


def test_changed_samples_are_found_by_the_checksum_where_it_is_asked_for(record):
    data = record.with_suffix(".dat")
    content = bytearray(data.read_bytes())
    content[100] ^= 1
    data.write_bytes(bytes(content))
    read_recording(record)
    refused("checksum", lambda: read_recording(record, verify_checksum=True), "checksum")


@pytest.mark.parametrize("suffix", [".hea", ".dat"])
def test_missing_files(record, suffix):
    record.with_suffix(suffix).unlink()
    refused("missing", lambda: read_recording(record), f"r{suffix}")


def test_short_gaps_are_interpolated_and_long_ones_refused(tmp_path, signal):
    gap = signal.copy()
    gap[500:505, 3] = np.nan
    record = write_wfdb(tmp_path / "gap", gap, fs=100, leads=LEADS)
    done = conform(read_recording(record))
    assert done.quality["nan_leads"] == "aVR"
    assert np.isfinite(done.signal).all()
    edges = sorted(done.signal[3, [499, 505]])
    assert edges[0] <= done.signal[3, 502] <= edges[1]
    gap[505, 3] = np.nan
    refused("nan", lambda: conform(recording(gap)), "aVR", "60 ms")
    gap[:, 3] = np.nan
    refused("nan", lambda: conform(recording(gap)), "aVR")


def test_a_constant_lead_is_refused_or_masked(signal):
    signal[:, 7] = 0.25
    refused("flat", lambda: conform(recording(signal)), "V2")
    done = conform(recording(signal), Form(flat="mask"))
    assert not done.signal[7].any()
    assert done.quality["constant_leads"] == "V2"
    refused("flat", lambda: conform(recording(np.zeros((1000, 12))), Form(flat="mask")))


def test_another_rate_is_resampled_and_noted(signal):
    from scipy.signal import resample_poly

    fast = resample_poly(signal, 5, 1, axis=0, padtype="line")
    done = conform(recording(fast, fs=500.0))
    assert done.signal.shape == (12, 1000)
    assert "rate" in {note.kind for note in done.notes}
    assert np.abs(done.signal.T - signal)[20:-20].mean() < 0.02


@pytest.mark.parametrize(("samples", "kind"), [(1500, "length"), (700, "length")])
def test_another_length_is_fitted_and_noted_or_refused(signal, samples, kind):
    other = np.resize(signal, (samples, 12))
    done = conform(recording(other))
    assert done.signal.shape == (12, 1000)
    assert [note.kind for note in done.notes if note.kind != "swapped"] == [kind]
    refused("length", lambda: conform(recording(other), Form(length="refuse")))


def test_much_too_short_is_refused(signal):
    refused("length", lambda: conform(recording(signal[:400])), "at least 5 s")


def test_microvolts_are_converted_from_the_header_and_never_guessed(tmp_path, signal):
    record = write_wfdb(tmp_path / "uv", signal * 1000, fs=100, leads=LEADS, gain=1.0, units="uV")
    done = conform(read_recording(record))
    np.testing.assert_allclose(done.signal.T, signal, atol=6e-4)
    refused("unit", lambda: conform(recording(signal * 1000, unit="")), "look like uV", "default_unit")
    refused("unit", lambda: conform(recording(signal, unit="furlong")), "furlong")
    refused("amplitude", lambda: conform(recording(signal * 1000, unit="mV")), "look like uV")
    assert conform(recording(signal * 1000, unit=""), Form(default_unit="uV")).signal.max() < 10


def test_leads_are_found_by_name(signal):
    order = np.random.default_rng(0).permutation(12)
    done = conform(recording(signal[:, order], leads=[LEADS[i].upper() for i in order]))
    np.testing.assert_array_equal(done.signal.T, signal)
    eight = [0, 1, *range(6, 12)]
    done = conform(recording(signal[:, eight], leads=[LEADS[i] for i in eight]))
    np.testing.assert_allclose(done.signal.T, signal, atol=1e-5)
    refused("leads", lambda: conform(recording(signal[:, :11], leads=LEADS[:11])), "V6")
    refused("leads", lambda: conform(recording(signal, leads=("I", *LEADS[:11]))), "twice")


def test_swapped_limb_leads_are_warned_about(signal):
    assert limb_residual(signal) < 1e-3
    signal[:, [0, 4]] = signal[:, [4, 0]]
    assert "swapped" in {note.kind for note in conform(recording(signal * 3)).notes}


def test_an_unknown_code_is_an_error_or_counted(folder):
    spoil(folder, lambda t: t.loc.__setitem__((3, "scp_codes"), "{'XYZ': 100.0, 'SR': 0.0}"))
    with pytest.raises(DataError, match="XYZ") as error:
        read_ptbxl(folder)
    assert "row 5" in str(error.value)
    items = read_ptbxl(folder, unknown_codes="ignore")
    assert items.facts["unknown_codes"] == ["XYZ"]
    assert items.table["labels"][3] == ("SR",)


@pytest.mark.parametrize("text", ["{'NORM': ", "['NORM']", "", "__import__('os')", "{'NORM': 'much'}"])
def test_unreadable_codes_name_the_row(folder, text):
    spoil(folder, lambda t: t.loc.__setitem__((2, "scp_codes"), text))
    with pytest.raises(DataError, match="row 4"):
        read_ptbxl(folder)


def test_a_patient_in_two_splits_is_refused(folder):
    def change(table):
        table.loc[[0, 1], "patient_id"] = "77.0"
        table.loc[0, "strat_fold"], table.loc[1, "strat_fold"] = "1", "10"

    spoil(folder, change)
    with pytest.raises(DataError, match="77 in test and train"):
        read_ptbxl(folder)


def test_a_doubled_id_is_refused(folder):
    spoil(folder, lambda t: t.loc.__setitem__((1, "ecg_id"), t.loc[0, "ecg_id"]))
    with pytest.raises(DataError, match="ecg_id given twice"):
        read_ptbxl(folder)


def test_a_path_outside_the_root_is_refused(folder):
    spoil(folder, lambda t: t.loc.__setitem__((1, "filename_lr"), "../../etc/passwd"))
    with pytest.raises(DataError, match="leaves the data root"):
        read_ptbxl(folder)


def test_hidden_ages_are_not_passed_on(folder):
    spoil(folder, lambda t: t.loc.__setitem__((0, "age"), "300.0"))
    assert np.isnan(read_ptbxl(folder).table["age"][0])


def test_every_bad_file_of_a_folder_is_listed_and_the_rest_goes_on(folder, tmp_path):
    files = sorted(folder.rglob("*.dat"))
    files[0].write_bytes(b"")
    files[1].unlink()
    files[2].with_suffix(".hea").write_text("nonsense\n")
    items = read_ptbxl(folder)
    quarantine = Quarantine()
    quality = check_items(items, Form(), quarantine)
    assert len(quality) == len(items) - 3
    assert sorted(finding.kind for finding in quarantine.offenders) == ["header", "missing", "truncated"]
    report = quarantine.finish(tmp_path / "out", checked=len(items), say=lambda text: None)
    assert report["quarantined"] == 3
    assert {"fs", "nan_any", "nan_leads", "constant_leads", "avail_leads"} <= set(quality[0])


def test_the_records_at_500_hz_that_are_not_there_are_listed_as_missing(demo_root):
    items = read_ptbxl(demo_root, rate=500)
    quarantine = Quarantine()
    assert check_items(items, Form(), quarantine) == []
    assert {finding.kind for finding in quarantine.offenders} == {"missing"}


def test_labels_without_training_recordings_are_left_out_with_the_counts(demo_root, tmp_path):
    from medical.ecg.data.branches import read_branches
    from medical.ecg.prepared import load_prepared, prepare
    from medical.ecg.preprocess import Preprocessing

    items = read_ptbxl(demo_root)
    train = items.table["split"] == "train"
    items.table.loc[train, "labels"] = items.table.loc[train, "labels"].map(
        lambda names: tuple(name for name in names if name != "EL")
    )
    prepare(items, tmp_path / "p", branches=read_branches(), preprocessing=Preprocessing())
    found = load_prepared(tmp_path / "p")
    assert found.left_out == ["EL"]
    assert found.facts["left_out"]["EL"]["train"] == 0
    assert "EL" not in found.labels
    assert found.targets.shape[1] == len(found.labels)


def test_a_co_occurrence_of_another_label_set_is_refused():
    import torch

    from medical.ecg.losses import prototype_contrast

    with pytest.raises(DataError, match="co-occurrence"):
        prototype_contrast(torch.rand(4, 3), torch.eye(4), torch.eye(3))


def test_a_sidecar_without_leads_or_rate_is_refused(tmp_path, signal):
    np.save(tmp_path / "a.npy", signal.T)
    refused("missing", lambda: read_recording(tmp_path / "a.npy"), "a.json")
    for facts, kind in (({"fs": 100}, "leads"), ({"leads": list(LEADS)}, "rate")):
        (tmp_path / "a.json").write_text(json.dumps(facts))
        refused(kind, lambda: read_recording(tmp_path / "a.npy"))
    (tmp_path / "a.json").write_text(json.dumps({"fs": 100, "leads": list(LEADS), "units": "mV"}))
    np.testing.assert_array_equal(read_recording(tmp_path / "a.npy").signal, signal)
