"""The public layouts, from small folders that look like them."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from core.config import load_settings
from core.errors import ConfigError, DataError
from medical.alignment.data.sources import read_items
from medical.alignment.demo import write_demo
from medical.alignment.learn.batches import AlignmentSet
from medical.alignment.phantom import FINDINGS
from medical.alignment.prepared import groups_of
from medical.alignment.settings import Params

FRACTIONS = {"train": 0.6, "valid": 0.2, "test": 0.2}


def test_the_demo_is_read_as_mimic_and_is_what_was_drawn(demo_root, demo_items):
    table = demo_items.table
    assert demo_items.labels == list(FINDINGS)
    assert {"xray+ecg+text", "xray"} <= {
        "+".join(n for n, on in zip(("xray", "ecg", "text"), row) if on)
        for row in zip(table["xray"] != "", table["ecg"] != "", table["xray_report"] != "")
    }
    films = table[table["xray"] != ""]["xray"]
    assert all("/files/p10/p10000" in path and path.endswith(".jpg") for path in films)
    said = table["xray_report"].str.contains("Discordant")
    known = (table["xray_report"] != "") & np.isfinite(demo_items.targets[:, 4])
    np.testing.assert_array_equal(said[known], demo_items.targets[known.to_numpy(), 4] == 1)
    # the far ECGs of the demo were not linked to a film
    far = table["ecg"].str.contains("/s45")
    assert far.any()
    assert (table["xray"][far] == "").all()
    assert not set(table[table["split"] == "train"]["subject"]) & set(
        table[table["split"] == "test"]["subject"]
    )


def test_equal_arguments_give_equal_files(tmp_path, demo_root):
    twin = write_demo(tmp_path / "twin", studies=45, missing=0.3)
    names = sorted(path.relative_to(twin) for path in twin.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(demo_root) for path in demo_root.rglob("*") if path.is_file())
    assert all((twin / name).read_bytes() == (demo_root / name).read_bytes() for name in names)


def test_the_official_split_and_only_linked_items(demo_root):
    linked = read_items(
        "mimic",
        str(demo_root),
        findings=FINDINGS,
        keep_unlinked=False,
        official_split=True,
        fractions=FRACTIONS,
    )
    assert (linked.table["ecg"] != "").all()
    with (demo_root / "mimic-cxr-jpg" / "mimic-cxr-2.0.0-split.csv").open() as stream:
        official = {
            row["subject_id"]: row["split"].replace("validate", "valid") for row in csv.DictReader(stream)
        }
    assert all(official[one.subject] == one.split for one in linked.table.itertuples())
    with pytest.raises(DataError, match="Pneumonia"):
        read_items("mimic", str(demo_root), findings=["Pneumonia"], fractions=FRACTIONS)
    with pytest.raises(DataError, match=r"metadata\.csv"):
        read_items("mimic", str(demo_root / "mimic-iv-ecg"), findings=FINDINGS, fractions=FRACTIONS)


def test_symile_mimic_tables_over_the_same_folders(demo_root, tmp_path):
    listed = read_items("mimic", str(demo_root), findings=FINDINGS, fractions=FRACTIONS)
    full = listed.table[(listed.table["xray"] != "") & (listed.table["ecg"] != "")].head(6)
    for part in ("mimic-cxr-jpg", "mimic-iv-ecg", "mimic-cxr-reports"):
        (tmp_path / part).symlink_to(demo_root / part)
    header = ["subject_id", "hadm_id", "cxr_study_id", "cxr_path", "ecg_path", *FINDINGS]
    for number, name in enumerate(("train", "val", "test")):
        rows = full.iloc[2 * number : 2 * number + 2]
        lines = [
            [one.subject, n, f"{one.id.split('-')[0][1:]}.0", one.xray.split("mimic-cxr-jpg/")[1],
             one.ecg.split("mimic-iv-ecg/")[1], 1, 0, -1, "", 0]
            for n, one in enumerate(rows.itertuples())
        ]  # fmt: skip
        lines = [
            line for line in lines if number == 0 or line[0] not in set(full["subject"].iloc[: 2 * number])
        ]
        with (tmp_path / f"{name}.csv").open("w", newline="") as stream:
            csv.writer(stream).writerows([header, *lines])
    found = read_items("symile_mimic", str(tmp_path), findings=FINDINGS)
    assert found.table["split"].iloc[0] == "train"
    assert found.targets[0, :3].tolist() == [1, 0, -1]
    assert (found.table["xray"] != "").all()
    assert (found.table["xray_report"] == full["xray_report"].iloc[: len(found)].to_numpy())[0]


def test_film_and_report_sets(tmp_path):
    chexpert = tmp_path / "CheXpert-v1.0-small"
    chexpert.mkdir()
    columns = "Path,Sex,Frontal/Lateral,Edema,Fracture"
    (chexpert / "train.csv").write_text(
        f"{columns}\nCheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg,F,Frontal,1.0,-1.0\n"
        "CheXpert-v1.0-small/train/patient00001/study1/view2_lateral.jpg,F,Lateral,1.0,\n"
        "CheXpert-v1.0-small/train/patient00002/study1/view1_frontal.jpg,F,Frontal,,0.0\n"
    )
    (chexpert / "valid.csv").write_text(
        f"{columns}\nCheXpert-v1.0-small/valid/patient64541/study1/view1_frontal.jpg,M,Frontal,0.0,1.0\n"
    )
    found = read_items("chexpert", str(tmp_path), findings=["Edema", "Fracture"], empty_reports="labels")
    assert sorted(found.table["split"]) == ["test", "train", "valid"]
    assert found.table["xray_report"].iloc[0] == "Edema is present. Uncertain finding of Fracture."
    assert found.facts["films_not_frontal"] == 1
    home = tmp_path / "indiana"
    home.mkdir()
    (home / "indiana_reports.csv").write_text(
        "uid,MeSH,Problems,image,indication,comparison,findings,impression\n"
        '1,normal,normal,x,y,z,"Clear XXXX lungs. Normal heart size.",No acute disease.\n'
        "2,a,Cardiomegaly;Opacity,x,y,z,,\n3,a,Cardiomegaly,x,y,z,The heart is XXXX enlarged today.,Cardiomegaly.\n"
    )
    reports = read_items("indiana", str(home), fractions=FRACTIONS)
    assert reports.labels == ["Cardiomegaly", "Opacity"]
    assert reports.table["xray_report"].tolist()[:2] == [
        "Clear lungs. Normal heart size. No acute disease.",
        "",
    ]
    (home / "metadata.csv").write_text(
        "patientid,finding,imagename\nA,COVID-19,a.png\nB,No finding,b.png\nC,,c.png\n"
    )
    films = read_items("actualmed", str(home), fractions=FRACTIONS)
    assert films.targets[:2, 0].tolist() == [1, 0]
    assert np.isnan(films.targets[2, 0])


def test_batches_hold_what_is_there(demo_prepared, make_space):
    items = AlignmentSet(demo_prepared, demo_prepared.rows("train"), make_space().tokenizer)
    batch = items.__getitems__(list(range(len(items))))
    present = batch["present"]
    assert (present.sum(1) >= 2).all()
    assert not batch["film"][~present[:, 0]].any()
    assert batch["film"][present[:, 0]].flatten(1).any(1).all()
    assert not batch["signal"][~present[:, 1]].any()
    assert (batch["mask"].any(1) == present[:, 2]).all()


def test_groups_follow_patients_and_equal_reports():
    assert groups_of(["a", "b", "c"], ["x", "x", "y"]).tolist() == [0, 0, 1]
    assert groups_of(["a", "b", "c"], None).tolist() == [0, 1, 2]


def test_shipped_params_are_valid_and_mistakes_are_named(tmp_path):
    from pathlib import Path

    folder = Path(__file__).resolve().parents[3] / "pipelines" / "xray_ecg_report"
    files = sorted(folder.glob("params*.yaml"))
    assert len(files) == 4
    assert all(file.read_text().startswith("#") for file in files)
    paper = [load_settings(file, Params) for file in files][
        [file.name for file in files].index("params.paper.yaml")
    ]
    assert (paper.objective.temperature, paper.objective.learnable, paper.pretrain.learning_rate) == (
        0.02,
        False,
        3e-5,
    )
    assert (paper.model.lora.rank, paper.model.lora.alpha, paper.model.attention_drop) == (
        16,
        8.0,
        [0.3, 0.3],
    )
    text = (folder / "params.yaml").read_text()
    for old, new, words in (
        ("method: more ", "method: clip ", "objective.method"),
        ("source: demo ", "source: mimic ", "data.root"),
        ("batch_size: 64", "batch_sise: 64", "batch_size"),
    ):
        (tmp_path / "p.yaml").write_text(text.replace(old, new, 1))
        with pytest.raises(ConfigError, match=words):
            load_settings(tmp_path / "p.yaml", Params)
