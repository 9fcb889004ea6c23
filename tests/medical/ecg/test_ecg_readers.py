"""The file layouts: WFDB formats, PTB-XL's label sets, challenge folders, own manifests."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from core.errors import ConfigError, DataError
from medical.ecg.data.branches import assign_branches, label_slugs, read_branches
from medical.ecg.data.cinc import read_cinc
from medical.ecg.data.leads import LEADS
from medical.ecg.data.own import read_own
from medical.ecg.data.problems import BadRecord
from medical.ecg.data.ptbxl import read_ptbxl
from medical.ecg.data.recording import read_recording
from medical.ecg.data.scp import Statement, Statements
from medical.ecg.data.wfdb import decode, parse_header, write_wfdb


def test_reading_ecg_files_loads_no_heavy_library():
    code = (
        "import sys\n"
        "import medical.ecg.data.ptbxl, medical.ecg.data.recording, medical.ecg.data.wfdb, medical.ecg.data.conform\n"
        "assert not {'torch', 'lightning', 'mlflow', 'sklearn', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("kind", ["16", "61", "80", "212", "24", "32"])
def test_every_sample_format_gives_the_same_numbers(kind):
    numbers = np.array([[0, 1], [-1, 100], [127, -127], [5, -6], [-100, 99]])
    flat = numbers.reshape(-1)
    if kind == "212":
        padded = np.append(flat, 0)[: len(flat) + len(flat) % 2].reshape(-1, 2) & 0xFFF
        low, high = padded.T
        content = (
            np.stack([low & 0xFF, (low >> 8) | (high >> 8 << 4), high & 0xFF], 1).astype(np.uint8).tobytes()
        )
    elif kind == "24":
        content = b"".join(int(value & 0xFFFFFF).to_bytes(3, "little") for value in flat)
    elif kind == "80":
        content = (flat + 128).astype(np.uint8).tobytes()
    else:
        content = flat.astype({"16": "<i2", "61": ">i2", "32": "<i4"}[kind]).tobytes()
    head = f"r 2 100 5\nr.dat {kind} 10(1)/mV 16 0 0 0 0 I\nr.dat {kind} 20/uV 16 0 0 0 0 II\n"
    found = decode(parse_header(head), {"r.dat": content})
    np.testing.assert_allclose(found.signal[:, 0], (numbers[:, 0] - 1) / 10, rtol=1e-6)
    np.testing.assert_allclose(found.signal[:, 1], numbers[:, 1] / 20, rtol=1e-6)
    assert found.units == ("mV", "uV")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", "header"),
        ("r", "header"),
        ("r 1 100 10\n", "header"),
        ("r/2 1 100 10\nx 16", "header"),
        ("r 1 100 10\n../r.dat 16 200/mV", "header"),
        ("r 1 100 10\nr.dat 310 200/mV", "format"),
        ("r 1 -5 10\nr.dat 16 200/mV", "header"),
    ],
)
def test_a_header_that_cannot_be_read_says_so(text, kind):
    with pytest.raises(BadRecord) as error:
        parse_header(text, where="r.hea")
    assert error.value.kind == kind
    assert "r.hea" in str(error.value)


def test_label_sets_of_ptbxl(demo_root):
    assert read_ptbxl(demo_root, labels="rhythm").labels == ["SR", "AFIB", "STACH", "SBRAD"]
    assert read_ptbxl(demo_root, labels="diagnostic").labels == ["LVH", "NORM", "EL"]
    assert read_ptbxl(demo_root, labels="branch_morphology").labels == ["LVH", "INVT", "PVC", "STE_"] or set(
        read_ptbxl(demo_root, labels="branch_morphology").labels
    ) == {"LVH", "INVT", "PVC", "STE_"}
    everything = read_ptbxl(demo_root)
    classes = read_ptbxl(demo_root, labels="superdiagnostic")
    assert classes.labels == ["HYP", "NORM", "STTC"]
    assert len(classes) < len(everything), "recordings without a class are left out"
    assert (classes.targets().sum(1) > 0).all()
    assert len(read_ptbxl(demo_root, labels="form")) == len(everything)


def test_a_likelihood_drops_diagnoses_and_never_rhythm_or_form():
    rows = [("NORM", True, False, False), ("NDT", True, True, False), ("SR", False, False, True)]
    table = Statements(tuple(Statement(c, "", d, f, r, "X", "Y") for c, d, f, r in rows))
    codes = {"NORM": 50.0, "NDT": 0.0, "SR": 0.0}
    assert table.labels_of(codes, "all", table.codes) == ("NORM", "NDT", "SR")
    assert table.labels_of(codes, "all", table.codes, 80) == ("NDT", "SR")
    assert table.names("diagnostic") == ["NORM", "NDT"]


def test_the_shipped_branches_hold_71_codes_once_and_files_may_replace_them(tmp_path):
    branches = read_branches()
    codes = [code for group in branches.values() for code in group]
    assert len(codes) == len(set(codes)) == 71
    own = tmp_path / "own.yaml"
    own.write_text("rhythm: [A]\nmorphology: [B]\n")
    assert assign_branches(["B"], read_branches(own)) == {"morphology": ["B"]}
    with pytest.raises(DataError, match="no branch"):
        assign_branches(["C"], read_branches(own))
    own.write_text("rhythm: [A]\nmorphology: [A]\n")
    with pytest.raises(ConfigError, match="two places"):
        read_branches(own)
    assert assign_branches(["x", "y"], None) == {"morphology": ["x", "y"]}
    assert assign_branches(["NORM", "MI"], branches, kind="superdiagnostic") == {
        "morphology": ["MI"],
        "global": ["NORM"],
    }


def test_names_of_labels_are_safe_and_distinct():
    slugs = label_slugs(["LAO/LAE", "PRC(S)", "A B", "A_B", "ST-", "é"])
    assert slugs["LAO/LAE"] == "LAO_LAE"
    assert slugs["PRC(S)"] == "PRC_S"
    assert len(set(slugs.values())) == len(slugs)
    assert all(name.replace("_", "").replace("-", "").isalnum() for name in slugs.values())


def test_a_challenge_folder(tmp_path, signal):
    for number, codes in enumerate(("426783006", "164889003,59118001", "426783006,999"), start=1):
        write_wfdb(
            tmp_path / f"g1/A{number}", signal, fs=500, leads=LEADS, units="mV",
            comments=(f"Age: {50 + number}", "Sex: Male", f"Dx: {codes}"),
        )  # fmt: skip
        head = tmp_path / f"g1/A{number}.hea"
        head.write_text(head.read_text().replace(f"A{number}.dat 16", f"A{number}.mat 16+24"))
        data = (tmp_path / f"g1/A{number}.dat").read_bytes()
        (tmp_path / f"g1/A{number}.dat").unlink()
        (tmp_path / f"g1/A{number}.mat").write_bytes(b"\0" * 24 + data)
    items = read_cinc(tmp_path)
    assert items.labels == ["999", "AF", "NSR", "RBBB"]
    assert items.table["labels"].tolist() == [("NSR",), ("AF", "RBBB"), ("999", "NSR")]
    np.testing.assert_allclose(read_recording(tmp_path / "g1/A1.mat").signal, signal, atol=6e-4)
    assert items.table["age"].tolist() == [51, 52, 53]


def test_an_own_manifest_with_every_form_of_file(tmp_path, signal):
    from scipy.io import savemat

    write_wfdb(tmp_path / "a", signal, fs=100, leads=LEADS)
    np.save(tmp_path / "b.npy", signal.T)
    (tmp_path / "b.json").write_text(json.dumps({"fs": 100, "leads": list(LEADS), "units": "mV"}))
    savemat(tmp_path / "c.mat", {"feats": signal.T, "curr_sample_rate": 100})
    manifest = tmp_path / "m.csv"
    rows = ["a,p1,a.hea,AFIB;LVH,train", "b,p2,b.npy,{'LVH': 100},valid", "c,p3,c.mat,,test"]
    manifest.write_text("ecg_id,patient_id,path,labels,split\n" + '"'.join(["\n".join(rows)]) + "\n")
    items = read_own(manifest, root=tmp_path)
    assert items.labels == ["AFIB", "LVH"]
    assert items.table["labels"].tolist() == [("AFIB", "LVH"), ("LVH",), ()]
    assert items.table["patient"].tolist() == ["p1", "p2", "p3"]
    for path in items.table["path"]:
        found = read_recording(path)
        assert found.signal.shape == (1000, 12)
        assert found.fs == 100
        np.testing.assert_allclose(found.signal, signal, atol=6e-4)
    assert read_recording(tmp_path / "c.mat").units == ("",) * 12, "this form names no unit"


def test_the_demo_is_the_same_twice_and_its_events_lie_inside(demo_root, tmp_path):
    from medical.ecg.demo import write_demo
    from medical.ecg.windows import read_events

    again = write_demo(tmp_path / "again", records=80, seed=3)
    for name in ("ptbxl_database.csv", "demo_events.csv", "records100/00000/00007_lr.dat"):
        assert (again / name).read_bytes() == (demo_root / name).read_bytes()
    events = read_events(demo_root / "demo_events.csv")
    assert events
    assert all(0 <= start < end <= 10 for start, end in events.values())
    labels = dict(zip(read_ptbxl(demo_root).table["id"], read_ptbxl(demo_root).table["labels"]))
    assert all(label in labels[name] for name, label in events)
