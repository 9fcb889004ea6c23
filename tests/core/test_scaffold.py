"""`kindred new`: what it writes is what the pipeline reads, for every pipeline."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import yaml

from core.config import load_settings
from core.data.form import ID, Column, ManifestForm
from core.errors import ConfigError, DataError
from core.scaffold import OwnData, filled_params, main, write_scaffold

REPOSITORY = Path(__file__).parents[2]
PIPELINES = sorted(path.parent.name for path in (REPOSITORY / "pipelines").glob("*/dvc.yaml"))
TOY = OwnData(
    "toy", ManifestForm((ID, Column("path", "a picture", "a.png", needed=True, path=True))), ("**/*.png",)
)


@pytest.mark.parametrize("name", PIPELINES)
def test_every_pipeline_reads_what_is_written_for_it(name, tmp_path):
    own = importlib.import_module(f"pipelines.{name}.own").OWN
    folder = tmp_path / "my däta"
    write_scaffold(own, folder, REPOSITORY / "pipelines" / name / "params.yaml")
    raw = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))
    default = yaml.safe_load((REPOSITORY / "pipelines" / name / "params.yaml").read_text(encoding="utf-8"))
    assert {key: raw[key] for key in raw if key not in ("data", "evaluate")} == {
        key: default[key] for key in default if key not in ("data", "evaluate")
    }
    settings = importlib.import_module(f"pipelines.{name}.validate").Params
    if name == "mri_segmentation":
        with pytest.raises(ConfigError, match=r"data\.structures"):
            load_settings(folder / "params.yaml", settings)
        text = (folder / "params.yaml").read_text().replace("structures: []", "structures: [cyst]")
        (folder / "params.yaml").write_text(text)
    data = load_settings(folder / "params.yaml", settings).data
    assert (data.source, data.root) == ("manifest", str(folder))
    manifest = Path(data.manifest)
    with pytest.raises(DataError, match="has no rows"):
        own.form.read(manifest, root=folder)
    manifest.write_text(own.form.example(), encoding="utf-8")
    (row,) = own.form.read(manifest, root=folder).to_dict("records")
    assert row["id"] == "a1"
    page = (folder / "KINDRED.md").read_text(encoding="utf-8")
    assert all(f"`{column.name}`" in page for column in own.form.columns)
    assert f"kindred validate {name} --params '{folder}/params.yaml'" in page
    for key in own.decide:
        section, _, field = key.partition(".")
        model = settings.model_fields[section].annotation
        assert field.partition(".")[0] in model.model_fields, f"{key} is no setting of {name}"


def test_files_that_are_there_get_a_row_and_nothing_is_overwritten(tmp_path):
    for file in ("b/1.png", "a/1.png", "2.png", ".hidden/3.png", "notes.txt"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    (tmp_path / "default.yaml").write_text("data:\n  source: demo\n")
    write_scaffold(TOY, tmp_path, tmp_path / "default.yaml")
    assert (tmp_path / "manifest.csv").read_text() == ("id,path\n2,2.png\na/1.png,a/1.png\nb/1.png,b/1.png\n")
    with pytest.raises(DataError, match=r"already holds manifest\.csv, params\.yaml, KINDRED\.md"):
        write_scaffold(TOY, tmp_path, tmp_path / "default.yaml")
    with pytest.raises(DataError, match="is a file"):
        write_scaffold(TOY, tmp_path / "notes.txt", tmp_path / "default.yaml")


def test_folders_that_hold_found_files_are_no_rows_themselves(tmp_path):
    for folder in ("dicom", "nifti"):
        (tmp_path / folder).mkdir()
    (tmp_path / "nifti" / "a.nii.gz").touch()
    rows = TOY.form.rows_of(tmp_path, ("*/", "**/*.nii.gz"))
    assert [row["path"] for row in rows] == ["dicom", "nifti/a.nii.gz"]


def test_parameters_keep_their_comments():
    text = (
        "# top\nseed: 0\ndata:   # where\n  source: demo  # a | b\n  demo:\n    n: 1\n  window: x  # kept\n"
    )
    text += "last: {a: 1}\n"
    new = filled_params(
        text, {"data.source": "manifest", "data.root": 'a "b": #c', "data.list": []}, drop=("data.demo",)
    )
    assert yaml.safe_load(new) == {
        "seed": 0,
        "data": {"source": "manifest", "root": 'a "b": #c', "list": [], "window": "x"},
        "last": {"a": 1},
    }
    assert "# where" in new
    assert "# kept" in new
    with pytest.raises(ConfigError, match="section evaluate"):
        filled_params(text, {"evaluate.prompts": 1})


def test_mistake_ends_with_2_and_success_names_the_next_commands(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipelines" / "toy").mkdir(parents=True)
    (tmp_path / "pipelines" / "toy" / "params.yaml").write_text("data:\n  source: demo\n")
    monkeypatch.setattr("sys.argv", ["own", "mine"])
    main(TOY)
    out = capsys.readouterr().out
    assert f"kindred validate toy --params {tmp_path}/mine/params.yaml" in out
    assert "cp " in out
    with pytest.raises(SystemExit) as caught:
        main(TOY)
    assert caught.value.code == 2
    assert "already holds" in capsys.readouterr().err
