"""Accounts of single recordings, known windows, the review of prototypes, prints, the served model."""

from __future__ import annotations

import base64
import csv
import json

import numpy as np
import pytest
import torch

from core.errors import DataError
from medical.ecg.data.leads import LEADS
from medical.ecg.data.wfdb import write_wfdb
from medical.ecg.explain import explain, occlude, occlusion_check
from medical.ecg.review import export_review, import_review, intraclass
from medical.ecg.windows import window_rows, window_summary


def test_an_account_adds_up_and_is_plain_json(trained):
    network, prepared = trained.network, trained.prepared
    rows = prepared.rows("test")[:3]
    accounts = explain(network, np.asarray(prepared.signals[rows]), threshold=0.3, top=3, raw=False)
    logits = network(torch.from_numpy(np.asarray(prepared.signals[rows]))).tolist()
    for account, values in zip(json.loads(json.dumps(accounts)), logits, strict=True):
        assert set(account["probabilities"]) == set(network.labels)
        assert account["labels"]
        for one in account["labels"]:
            listed = sum(part["contribution"] for part in one["contributions"])
            assert one["bias"] + one["rest"] + listed == pytest.approx(one["logit"], abs=1e-5)
            assert one["bias"] + sum(one["by_branch"].values()) == pytest.approx(one["logit"], abs=1e-5)
            assert one["logit"] == pytest.approx(values[network.labels.index(one["label"])], abs=1e-4)
            for part in one["contributions"]:
                assert part["weight"] * part["similarity"] == pytest.approx(part["contribution"], abs=1e-5)
                assert 0 <= part["start_s"] < part["end_s"] <= 10
                assert part["ecg_id"] in prepared.of("train", "id")


def test_a_label_that_the_model_does_not_know(trained):
    with pytest.raises(DataError, match="labels to explain"):
        explain(trained.network, np.zeros((1, 12, 1000)), labels=["XYZ"])


def test_covering_a_window_leaves_the_rest_alone(trained):
    x = torch.randn(12, 1000)
    covered = occlude(x, 100, 193)
    assert torch.equal(covered[:, :100], x[:, :100])
    assert torch.equal(covered[:, 193:], x[:, 193:])
    assert covered[:, 100:193].diff(dim=1).std(dim=1).max() < 1e-4, "a straight line"
    for start, end in ((0, 93), (907, 1000)):
        assert torch.isfinite(occlude(x, start, end)).all()
    found = occlusion_check(trained.network, x, 0, 100, 193)
    assert set(found) == {"drop", "control_drop"}


def test_known_events_are_compared_with_the_window(trained):
    network, prepared = trained.network, trained.prepared
    rows = prepared.rows("test")
    ids = prepared.of("test", "id")
    events = {
        (name, label): (3.0, 3.5)
        for name, labels in zip(ids, prepared.of("test", "labels"), strict=True)
        for label in labels
        if label in ("PVC", "INVT")
    }
    signals = np.asarray(prepared.signals[rows])
    found = window_rows(network, signals, prepared.truth("test"), ids, threshold=1e-9, events=events)
    assert {(row["id"], row["label"]) for row in found} == set(events)
    summary = window_summary(found)
    assert 0.08 < summary["chance"] < 0.2, "a window of 0.93 s in 10 s"
    assert 0 <= summary["covered"] <= 1


@pytest.fixture
def exported(trained, tmp_path):
    network, prepared = trained.network, trained.prepared
    at = {name: row for row, name in enumerate(prepared.table["id"])}
    prototypes = network.prototypes[:2] + network.prototypes[-1:]
    signals = np.stack([prepared.signals[at[one["ecg_id"]]] for one in prototypes])
    export_review(tmp_path / "review", prototypes, signals, 100.0, seconds_seen=2.0, demo=True)
    return tmp_path / "review", prototypes


def rate(folder, name, values):
    rows = list(csv.DictReader((folder / "ratings.csv").open()))
    for row, (shown, clear, bad) in zip(rows, values, strict=True):
        row |= {"rater": name, "representativeness": shown, "clarity": clear, "bad": bad}
    target = folder / f"{name}.csv"
    with target.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return target


def test_a_review_goes_out_and_comes_back(exported):
    folder, prototypes = exported
    page = (folder / "index.html").read_text()
    prints = sorted((folder / "prints").glob("*.png"))
    assert len(prints) == 3
    assert all(f"prints/{file.name}" in page for file in prints)
    files = [
        rate(folder, "ann", [("5", "4", ""), ("1", "2", "x"), ("3", "", "")]),
        rate(folder, "bob", [("4", "4", ""), ("2", "1", "x"), ("3", "3", "x")]),
    ]
    found = import_review(files, prototypes, folder / "review.json")
    assert found["raters"] == ["ann", "bob"]
    assert found["representativeness"]["mean"] == pytest.approx(3.0)
    assert found["representativeness"]["icc"] == pytest.approx(
        intraclass(np.array([[5, 4], [1, 2], [3, 3.0]]))
    )
    assert found["clarity"]["rated_by_all"] == 2
    assert found["prune"] == [1, 2]
    assert json.loads((folder / "review.json").read_text())["prune"] == [1, 2]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([("6", "1", ""), ("", "", ""), ("", "", "")], "row 2"),
        ([("", "", "")] * 3, "at least one filled row"),
    ],
)
def test_wrong_ratings_name_the_row(exported, values, words):
    folder, prototypes = exported
    with pytest.raises(DataError, match=words):
        import_review([rate(folder, "ann", values)], prototypes, folder / "review.json")


def test_agreement_is_the_textbook_number():
    # Shrout & Fleiss 1979, table 2: ICC(2,1) = 0.29
    table = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7.0]])
    assert intraclass(table) == pytest.approx(0.29, abs=0.005)


@pytest.fixture
def served(trained):
    from medical.ecg.serve import EcgPrototypes

    return EcgPrototypes(trained.network)


def test_the_served_model_answers_arrays_and_wfdb_bytes_alike(served, signal, tmp_path):
    record = write_wfdb(tmp_path / "r", signal, fs=100, leads=LEADS)
    order = list(reversed(range(12)))
    requests = [
        {"signal": signal.tolist(), "fs": 100.0},
        {"signal": (1000 * signal[:, order]).T.tolist(), "fs": 100.0, "unit": "uV",
         "leads": ",".join(LEADS[i] for i in order)},
        {"header": record.with_suffix(".hea").read_text(),
         "data": base64.b64encode(record.with_suffix(".dat").read_bytes()).decode()},
    ]  # fmt: skip
    answers = served.predict(None, requests)
    first = [one["probability"] for one in answers[0]["probabilities"]]
    for answer in answers[1:]:
        np.testing.assert_allclose([one["probability"] for one in answer["probabilities"]], first, atol=2e-3)
    assert any(note.startswith("unit") for note in answers[1]["notes"])
    assert served.predict(None, requests[:1]) == [json.loads(json.dumps(answers[0]))]
    for one in answers[0]["labels"]:
        total = one["bias"] + one["rest"] + sum(part["contribution"] for part in one["contributions"])
        assert total == pytest.approx(one["logit"], abs=1e-5)


def test_a_request_at_500_hz_is_resampled_and_says_so(served, signal):
    from scipy.signal import resample_poly

    fast = resample_poly(signal, 5, 1, axis=0, padtype="line")
    answer = served.predict(None, [{"signal": fast.tolist(), "fs": 500.0}])[0]
    assert "rate: resampled from 500 to 100 Hz" in answer["notes"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fs": None}, "expected signal with fs"),
        ({"leads": "I,II"}, "expected"),
        ({"leads": ",".join(["I"] * 12)}, "given twice"),
        ({"signal": "/etc/passwd"}, "opens no file"),
        ({"signal": [[float("nan")] * 12] * 1000}, "NaN"),
        ({"signal": [[0.0] * 12] * 1000}, "constant lead"),
        ({"header": "x"}, "header and data together"),
        ({"signal": None, "header": "r 1 100 9\nr.dat 16 1/mV 16 0 0 0 0 I", "data": "!!"}, "base64"),
        ({"unit": "mm"}, "unit"),
        ({"file": "x"}, "unknown field"),
    ],
)
def test_a_wrong_request_is_answered_in_one_sentence(served, signal, change, words):
    from mlflow.exceptions import MlflowException

    with pytest.raises(MlflowException, match=words) as error:
        served.predict(None, [{"signal": signal.tolist(), "fs": 100.0} | change])
    assert error.value.error_code == "INVALID_PARAMETER_VALUE"


def test_the_input_example_fits_the_signature(served):
    from mlflow.types.utils import _infer_schema  # noqa: F401  # the module is there

    from medical.ecg.serve import input_example, signature

    example = input_example()
    assert len(example) >= 2
    assert set(example.columns) <= {column.name for column in signature().inputs.inputs}
    assert len(served.predict(None, example)) == len(example)
