"""Parameters, manifests, arrays and tables that are wrong or mean harm, offered to every pipeline."""

from __future__ import annotations

import copy
import importlib
import os
import re
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import numpy as np
import pandas as pd
import pytest
import yaml

from core.config import Settings, load_settings, parse_settings
from core.data.checks import disarm, disarmed
from core.errors import ConfigError, DataError

ROOT = Path(__file__).parents[2]
PIPELINES = sorted(path.parent.name for path in ROOT.glob("pipelines/*/params.yaml"))
NONE = type(None)
FORMS = (
    "audio_language.data.sources",
    "code_search.data.manifest",
    "earth_observation.data.own",
    "medical.alignment.data.own",
    "medical.ct.data.layouts",
    "medical.ecg.data.own",
    "medical.mri.data.layouts",
)


def model_of(pipeline: str) -> type[Settings]:
    return importlib.import_module(f"pipelines.{pipeline}.validate").Params


def kinds(annotation: Any) -> set[Any]:
    """The plain types that an annotation allows."""
    if get_origin(annotation) in (Union, UnionType):
        return set().union(*(kinds(part) for part in get_args(annotation)))
    return {annotation}


def fields(settings: Settings, place: tuple[str, ...] = ()):
    """(path, types) of every value of a params file, also of those that are left at their defaults."""
    for name, info in type(settings).model_fields.items():
        value = getattr(settings, name)
        if isinstance(value, Settings):
            yield from fields(value, (*place, name))
        else:
            yield (*place, name), kinds(info.annotation)


def changed(raw: dict, path: tuple[str, ...], value: Any) -> dict:
    raw = copy.deepcopy(raw)
    section = raw
    for name in path[:-1]:
        section = section.setdefault(name, {})
    section[path[-1]] = value
    return raw


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_wrong_parameters_are_refused_by_their_path(pipeline):
    file, model = ROOT / "pipelines" / pipeline / "params.yaml", model_of(pipeline)
    raw, places = yaml.safe_load(file.read_text()), list(fields(load_settings(file, model)))
    sections = {path[:-1] for path, _ in places}
    temperatures = [path for path, _ in places if "temperature" in path[-1]]
    numbers = [path for path, types in places if float in types]
    assert len(sections) > 3
    assert numbers
    wrong = [((*section, "tempratur"), 1, "not a known key") for section in sections]
    wrong += [(path, "many", "saw 'many'") for path, types in places if types <= {int, float, bool, NONE}]
    wrong += [(path, 5, "saw 5") for path, types in places if types <= {str, NONE}]
    wrong += [(path, "1e-3", "YAML reads 1e-3 as text") for path in numbers if "temperature" not in path[-1]]
    wrong += [(path, -0.07, "saw -0.07") for path in temperatures]
    for path, value, words in wrong:
        with pytest.raises(ConfigError) as caught:
            parse_settings(changed(raw, path, value), model, origin="params.yaml")
        told = str(caught.value)
        assert f"{'.'.join(path)} in params.yaml" in told, (path, told)
        assert words in told or "also: " in told, (path, told)


@pytest.mark.parametrize("module", FORMS)
def test_wrong_manifests_are_refused_by_their_row(tmp_path, module):
    form = importlib.import_module(module).FORM
    root = tmp_path / "dätä 1"
    root.mkdir()
    (root / "out").symlink_to("/etc")
    (column,) = [one.name for one in form.columns if one.path][:1]
    row = {one.name: one.example for one in form.columns} | {column: "a", "id": "a", "group": "g"}

    def read(*rows: dict[str, str]):
        (root / "m.csv").write_text(form.template(rows), encoding="utf-8")
        return form.read(root / "m.csv", root=root)

    assert len(read(row, row | {"id": "b"})) == 2
    for rows, words in (
        ([], "has no rows"),
        ([row, row], "unique"),
        ([row | {"split": "train"}, row | {"id": "b", "split": "test"}], "g in test and train"),
        ([row | {column: "../x"}], "row 2, column"),
        ([row | {column: "out/passwd"}], "leaves the data root"),
        ([row | {column: "/etc/passwd"}], "leaves the data root"),
        ([row | {"id": ""}], "row 2, column id"),
    ):
        with pytest.raises(DataError, match=re.escape(words)) as caught:
            read(*rows)
        assert "m.csv" in str(caught.value) or "group" in str(caught.value)


class Malicious:
    def __reduce__(self):
        return os.system, ("touch pwned",)


def test_a_pickle_offered_as_embeddings_is_refused_and_not_run(tmp_path, monkeypatch):
    from audio_language.collection import VECTORS, Collection, load_collection, save_collection
    from medical.ct.index import CODES, HashIndex, open_index

    monkeypatch.chdir(tmp_path)
    save_collection(Collection(tmp_path, ["a.wav"], np.zeros((1, 2)), "0"), tmp_path / "sounds")
    (tmp_path / "hashes").mkdir()
    HashIndex(np.zeros((1, 8), np.uint8), ["a"], threshold=1, window="lung", hash_size=8).save(
        tmp_path / "hashes"
    )
    for read, file in ((load_collection, f"sounds/{VECTORS}"), (open_index, f"hashes/{CODES}")):
        read(Path(file).parent)
        np.save(file, np.array([Malicious()], dtype=object), allow_pickle=True)
        with pytest.raises(DataError, match=Path(file).name):
            read(Path(file).parent)
    assert not Path("pwned").exists()


FORMULAS = ("=HYPERLINK(1)", "+1+cmd", "-1+cmd", "@SUM(1)", "\t=1", "\n=1")


def test_formulas_in_tables_are_disarmed(tmp_path):
    from audio_language.collection import write_rows

    table = disarmed(pd.DataFrame({"id": FORMULAS, "score": -1.5, "=x": "fine"}))
    assert list(table["id"]) == [f"'{text}" for text in FORMULAS]
    assert list(table.columns) == ["id", "score", "'=x"]
    assert (table["score"] == -1.5).all()
    assert disarm(-1) == -1
    assert disarm("a\r=1") == "a\n=1"  # Python's writer would leave it bare, and a new row would begin there
    rows = [{"file": text, "score": -0.5} for text in (*FORMULAS, "\r=1")]
    write_rows(tmp_path / "tags.csv", rows, ("file", "score"))
    back = pd.read_csv(tmp_path / "tags.csv")
    assert list(back["file"].str[0]) == ["'"] * len(rows)


READ_BACK = {
    "audio_language/collection.py": "embeddings.csv: the files in the order of the vectors",
    "core/data/form.py": "a template that the user fills in",
    "earth_observation/demo.py": "",
    "medical/alignment/corpus.py": "items.csv",
    "medical/alignment/demo.py": "",
    "medical/alignment/prepared.py": "table.csv",
    "medical/alignment/data/own.py": "the rows of the user's own table, in memory",
    "medical/ecg/data/table.py": "items.csv, quality.csv",
    "medical/ecg/demo.py": "",
    "medical/ecg/prepared.py": "table.csv",
    "audio_language/demo.py": "",
    "pipelines/ct_reduction/validate.py": "series.csv",
}
"""Files that write tables which the next stage reads back, so that their cells must stay as they are."""


def test_every_table_for_people_is_disarmed():
    writes = re.compile(r"\.to_csv\(|csv\.writer\(|csv\.DictWriter\(")
    bare = []
    for folder in ("core", "medical", "audio_language", "earth_observation", "code_search", "pipelines"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            name, text = file.relative_to(ROOT).as_posix(), file.read_text()
            if writes.search(text) and "disarm" not in text and name not in READ_BACK:
                bare.append(name)
    assert bare == []
