"""Accounts of single recordings, known windows, the review of prototypes, prints, the served model."""

from __future__ import annotations

import base64
import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from core.errors import ConfigError, DataError
from medical.ecg.cli import explain_command, import_command
from medical.ecg.data.leads import LEADS
from medical.ecg.data.wfdb import write_wfdb
from medical.ecg.explain import explain, occlude, occlusion_check
from medical.ecg.learn.stages import prune
from medical.ecg.model.folder import save_branch
from medical.ecg.push import identity_of, read_pruned
from medical.ecg.review import export_review, import_review, intraclass
from medical.ecg.settings import Project
from medical.ecg.windows import window_rows, window_summary
from pipelines.ecg_prototypes.project import main as run_project


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


def test_a_table_saved_as_ansi_is_refused_in_a_sentence(exported):
    folder, prototypes = exported
    file = rate(folder, "ann", [("5", "4", "")] * 3)
    file.write_bytes(file.read_text().replace("ann", "J\u00fcrgen").encode("cp1252"))
    with pytest.raises(DataError, match=r"ann\.csv.*CSV UTF-8"):
        import_review([file], prototypes, folder / "review.json")
    with pytest.raises(DataError, match="CSV UTF-8"):
        import_review([folder], prototypes, folder / "review.json")


def test_an_export_replaces_nothing_but_an_untouched_export(exported, trained, tmp_path):
    folder, prototypes = exported
    signals = np.zeros((3, 12, 1000), dtype=np.float32) + np.sin(np.arange(1000))

    def export(target):
        export_review(target, prototypes, signals, 100.0)

    export(folder)  # the table is still blank
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"notes\.txt"):
        export(folder)
    (folder / "notes.txt").unlink()
    rate(folder, "ann", [("5", "4", "")] * 3).replace(folder / "ratings.csv")
    filled = (folder / "ratings.csv").read_bytes()
    for table in (filled, filled.replace(b",", b";"), filled.replace(b"ann", b"J\xfcrgen")):
        (folder / "ratings.csv").write_bytes(table)
        with pytest.raises(ConfigError, match="another folder"):
            export(folder)
        assert (folder / "ratings.csv").read_bytes() == table
    own = tmp_path / "site"
    own.mkdir()
    (own / "index.html").write_text("<h1>Our ward</h1>")
    with pytest.raises(ConfigError, match=r"index\.html"):
        export(own)
    with pytest.raises(ConfigError, match="a file"):
        export(own / "index.html")
    assert (own / "index.html").read_text() == "<h1>Our ward</h1>"


def test_ratings_of_another_model_are_refused(exported, trained):
    folder, prototypes = exported
    file = rate(folder, "ann", [("5", "4", ""), ("", "", ""), ("1", "1", "x")])
    for other in (
        [prototypes[0], prototypes[2], prototypes[1]],
        [prototypes[0] | {"start": 7}, *prototypes[1:]],
        [*prototypes[:2], prototypes[2] | {"ecg_id": "another"}],
    ):
        with pytest.raises(DataError, match=r"identity in .*ann\.csv row [24]"):
            import_review([file], other, folder / "review.json")
    assert not (folder / "review.json").exists()


def summary(tmp_path, prototypes, bad, **options):
    """The summary of a review that marks the prototypes of some numbers as bad."""
    signals = np.zeros((len(prototypes), 12, 1000), dtype=np.float32) + np.sin(np.arange(1000))
    folder = tmp_path / f"review{len(list(tmp_path.iterdir()))}"
    export_review(folder, prototypes, signals, 100.0)
    marks = [("3", "3", "x" if number in bad else "") for number in range(len(prototypes))]
    import_review([rate(folder, "ann", marks)], prototypes, folder / "review.json", **options)
    return folder / "review.json"


def test_a_second_review_prunes_what_it_showed_and_keeps_out_what_the_first_did(
    trained, tmp_path, monkeypatch
):
    monkeypatch.setattr("medical.ecg.review.print_figure", lambda *_, **__: None)
    whole = trained.network
    labels = [one["classes"] for one in whole.prototypes]
    several = [number for number, one in enumerate(labels) if labels.count(one) > 1]
    first = several[0]
    found = read_pruned(summary(tmp_path, whole.prototypes, [first]), whole.prototypes)
    assert list(found.values()) == [first]
    smaller, problems = prune(whole, list(found.values()))
    assert not problems
    assert len(smaller.prototypes) == len(whole.prototypes) - 1
    shown = smaller.prototypes[-1]
    file = summary(tmp_path, smaller.prototypes, [len(smaller.prototypes) - 1], pruned=list(found))
    assert json.loads(file.read_text())["prune"] == [len(smaller.prototypes) - 1]
    again = read_pruned(file, whole.prototypes)  # the stage begins with the whole projection again
    assert sorted(again.values()) == [first, len(whole.prototypes) - 1]
    assert identity_of(shown) in again


def test_the_stage_prunes_and_a_review_of_its_model_goes_on_from_there(
    trained, demo_root, tmp_path, monkeypatch
):
    monkeypatch.setattr("medical.ecg.review.print_figure", lambda *_, **__: None)
    home = tmp_path / "outputs"
    for name, branch in trained.network.branches.items():
        save_branch(branch, home / "branches" / name)
    (home / "prepared").symlink_to(demo_root.parent / "prepared")

    def project(file):
        settings = Project(l1=[1e-3], iterations=5, prune=file and str(file))
        run_project(SimpleNamespace(threads=None, project=settings), SimpleNamespace(outputs=home))
        return json.loads((home / "model" / "prototypes.json").read_text())

    whole = project(None)
    labels = [one["classes"] for one in whole]
    bad = next(number for number, one in enumerate(labels) if labels.count(one) > 1)
    file = summary(tmp_path, whole, [bad])
    left = project(file)
    assert left == whole[:bad] + whole[bad + 1 :]
    table = rate(file.parent, "bob", [("3", "3", "x" if n == bad else "") for n in range(len(whole))])
    with pytest.raises(DataError, match="identity"):  # of the model before
        import_command([table], model=home / "model", out=tmp_path / "second.json")
    table = rate(summary(tmp_path, left, []).parent, "bob", [("3", "3", "")] * len(left))
    import_command([table], model=home / "model", out=tmp_path / "second.json")
    found = json.loads((tmp_path / "second.json").read_text())
    assert found["prune"] == []
    assert found["prune_identities"] == [identity_of(whole[bad])]
    assert project(tmp_path / "second.json") == left


def test_a_review_of_a_model_trained_since_is_refused(trained, tmp_path, monkeypatch):
    monkeypatch.setattr("medical.ecg.review.print_figure", lambda *_, **__: None)
    prototypes = trained.network.prototypes
    file = summary(tmp_path, prototypes, [1])
    moved = [prototypes[0], prototypes[1] | {"ecg_id": "another"}, *prototypes[2:]]
    with pytest.raises(ConfigError, match=r"project\.prune .*review\.json: 1 of 1 .* remove project\.prune"):
        read_pruned(file, moved)
    assert list(read_pruned(file, [prototypes[0], *prototypes]).values()) == [2], "not by position"
    file.write_text(json.dumps({"prune": [1]}))
    with pytest.raises(ConfigError, match="prune_identities"):
        read_pruned(file, prototypes)


def test_recordings_of_one_name_are_not_written_over_each_other(tmp_path):
    with pytest.raises(ConfigError, match=r"both would be written to rec\.json"):
        explain_command([tmp_path / "a" / "rec.hea", tmp_path / "b" / "rec.hea"], out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


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
