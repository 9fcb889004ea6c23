"""The sources of a corpus: CodeSearchNet folders, an own manifest, and the tables on disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from code_search.corpora import codesearchnet_corpus, read_corpus
from code_search.tables import load_split, save_splits
from core.errors import ConfigError, DataError

VERBS = {"train": ["load", "parse", "open", "send"], "valid": ["merge", "split"], "test": ["count", "store"]}


def rows(split: str, languages: str) -> list[dict]:
    made = []
    for number, verb in enumerate(VERBS[split]):
        body = " + ".join(f"{verb}_{item}" for item in range(8 + number))
        code = {
            "python": f"def {verb}_it(value):\n    total = {body}\n    return value - total",
            "ruby": f"def {verb}_it(value)\n  total = {body}\n  value - total\nend",
        }[languages]
        made.append(
            {
                "url": f"https://github.com/a/{split}{number}/blob/0/m.{languages}#L1-L3",
                "code": code,
                "docstring_tokens": [verb, "the", languages, "things", "from", "somewhere"],
                "language": languages,
            }
        )
    return made


@pytest.fixture
def folder(tmp_path) -> Path:
    for language in ("python", "ruby"):
        home = tmp_path / language
        home.mkdir()
        for split in VERBS:
            (home / f"{split}.jsonl").write_text("\n".join(json.dumps(row) for row in rows(split, language)))
    return tmp_path


def test_the_published_splits_are_kept_for_every_language(folder):
    corpus = codesearchnet_corpus(folder)
    assert {f.language for f in corpus.train} == {"python", "ruby"}
    assert (len(corpus.train), len(corpus.valid), len(corpus.test)) == (8, 4, 4)
    assert {f.documentation.split()[0] for f in corpus.test} == {"count", "store"}


def test_caps_and_languages_narrow_the_corpus(folder):
    assert len(codesearchnet_corpus(folder, max_train=4).train) == 4
    assert {f.language for f in codesearchnet_corpus(folder, languages=["ruby"]).train} == {"ruby"}


def test_functions_whose_code_is_in_the_codebase_file_are_found(folder):
    home = folder / "python"
    tests = rows("test", "python")
    (home / "codebase.jsonl").write_text("\n".join(map(json.dumps, [*tests, *rows("valid", "python")])))
    for split in ("valid", "test"):
        emptied = [row | {"code": ""} for row in rows(split, "python")]
        (home / f"{split}.jsonl").write_text("\n".join(map(json.dumps, emptied)))
    corpus = codesearchnet_corpus(folder, languages=["python"])
    assert [f.code for f in corpus.test] == [row["code"] for row in tests]
    assert len(corpus.valid) == 2


def test_a_folder_with_test_rows_only_says_where_it_belongs(folder):
    for language in ("python", "ruby"):
        (folder / language / "train.jsonl").unlink()
    with pytest.raises(DataError, match=r"evaluate\.benchmarks"):
        codesearchnet_corpus(folder)


def test_an_own_manifest_is_read(tmp_path):
    for name, verb in (("one", "load"), ("two", "merge"), ("three", "count")):
        (tmp_path / name).mkdir()
        code = rows("train", "python")[0]["code"].replace("load", verb).split("\n")
        code.insert(1, f'    """{verb.title()} the many things."""')
        (tmp_path / name / "m.py").write_text("\n".join(code))
    (tmp_path / "manifest.csv").write_text("id,path,split\na,one,train\nb,two,valid\nc,three,test\n")
    corpus = read_corpus(
        "manifest", root=str(tmp_path), manifest=str(tmp_path / "manifest.csv"), scheduler="serial"
    )
    assert [f.documentation for f in corpus.test] == ["Count the many things."]


def test_an_unknown_source_is_refused():
    with pytest.raises(ConfigError, match="installed, codesearchnet or manifest"):
        read_corpus("somewhere")


def test_tables_keep_everything_but_the_raw_text(library, tmp_path):
    save_splits({"train": library[:5]}, tmp_path)
    for before, after in zip(library, load_split(tmp_path, "train")):
        assert (after.id, after.code, after.documentation) == (before.id, before.code, before.documentation)
        assert after.source == ""


def test_a_missing_table_names_the_remedy(tmp_path):
    with pytest.raises(DataError, match="dvc repro"):
        load_split(tmp_path, "train")
