"""The served model: what it answers, what it refuses, which index it uses."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from code_search.index import build_index, export_snapshot, open_index
from code_search.serve import FIELDS, CodeSearch, input_example, signature
from core.errors import KindredError
from core.tracking.package import write_checksums


@pytest.fixture
def model(repository, encoder):
    build_index(repository, encoder=encoder)
    return CodeSearch(open_index(repository, encoder=encoder))


@pytest.fixture
def context(repository, encoder, tmp_path, monkeypatch):
    """What MLflow hands to `load_context`: artifacts with their checksums; no weights are needed here."""
    import code_search.model

    monkeypatch.setattr(code_search.model, "load_encoder", lambda folder: encoder, raising=False)
    monkeypatch.delenv("KINDRED_INDEX", raising=False)
    report = build_index(repository, encoder=encoder)
    export_snapshot(report.folder, tmp_path / "index")
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "config.json").write_text("{}")
    artifacts = {"index": str(tmp_path / "index"), "encoder": str(tmp_path / "encoder")}
    write_checksums(tmp_path / "checksums.json", artifacts)
    return SimpleNamespace(artifacts={**artifacts, "checksums": str(tmp_path / "checksums.json")})


def test_every_row_gets_its_answer(model):
    answers = model.predict(
        None,
        pd.DataFrame(
            {
                "query": ["comma separated table", "recipient"],
                "top": [2, 5],
                "mode": ["hybrid", "lexical"],
                "path": [None, "lib"],
            }
        ),
    )
    assert [len(answer["results"]) for answer in answers] == [2, 1]
    first = answers[0]["results"][0]
    assert (first["rank"], first["name"], first["path"]) == (1, "read_csv_file", "src/io/files.py")
    assert (first["start_line"], first["end_line"], first["lang"]) == (4, 7, "python")
    assert first["snippet"].startswith("def read_csv_file")
    assert 0 < first["score"] <= 1
    assert answers[1]["results"][0]["score_dense"] is None


@pytest.mark.parametrize(
    "row",
    [
        {"query": ""},
        {"query": "   "},
        {"query": None},
        {"query": float("nan")},
        {"query": 3},
        {"query": ["read"]},
        {"query": "x" * 2001},
        {"query": "x", "top": 0},
        {"query": "x", "top": 101},
        {"query": "x", "top": 1.5},
        {"query": "x", "top": np.inf},
        {"query": "x", "top": "ten"},
        {"query": "x", "mode": "magic"},
        {"query": "x", "lang": "cobol"},
        {"query": "x", "path": "/etc/passwd"},
        {"query": "x", "path": "../.."},
        {"query": "x", "index": "/etc"},
        {"top": 3},
    ],
)
def test_what_is_no_question_is_refused_as_the_callers_mistake(model, row):
    from mlflow.exceptions import MlflowException

    with pytest.raises(MlflowException) as refused:
        model.predict(None, pd.DataFrame([row]))
    assert refused.value.error_code == "INVALID_PARAMETER_VALUE"
    assert model.predict(None, [{"query": "recipient"}])[0]["results"]


def test_too_many_questions_are_refused(model):
    from mlflow.exceptions import MlflowException

    with pytest.raises(MlflowException, match="at most 100"):
        model.predict(None, [{"query": "x"}] * 101)


def test_the_signature_fits_request_and_answer(model):
    from mlflow.models.utils import _enforce_schema

    described = signature()
    assert described.inputs.input_names() == [field.name for field in FIELDS]
    example = input_example()
    assert len(example) >= 2
    answers = model.predict(None, _enforce_schema(example, described.inputs))
    assert described.outputs.input_names() == list(answers[0])
    assert set(described.outputs.input_dict()["results"].type.dtype.to_dict()["properties"]) == set(
        answers[0]["results"][0]
    )


def test_the_index_travels_with_the_model(context, repository, tmp_path):
    repository.rename(tmp_path / "gone")
    served = CodeSearch()
    served.load_context(context)
    results = served.predict(context, [{"query": "comma separated table"}])[0]["results"]
    assert (results[0]["name"], results[0]["state"]) == ("read_csv_file", "unchecked")


def test_an_index_can_be_named_at_start(context, repository, monkeypatch):
    monkeypatch.setenv("KINDRED_INDEX", str(repository))
    served = CodeSearch()
    served.load_context(context)
    (repository / "lib/mail.php").unlink()
    results = served.predict(context, [{"query": "comma separated table", "top": 50}])[0]["results"]
    assert results[0]["state"] == "current"
    assert "lib/mail.php" not in {result["path"] for result in results}


def test_an_index_of_another_encoder_or_a_changed_file_is_refused(
    context, repository, make_encoder, monkeypatch
):
    monkeypatch.setenv("KINDRED_INDEX", str(repository))
    build_index(repository, encoder=make_encoder("other"))
    with pytest.raises(KindredError, match="not the one that made this index"):
        CodeSearch().load_context(context)
    monkeypatch.delenv("KINDRED_INDEX")
    with open(f"{context.artifacts['index']}/texts.npy", "ab") as stream:
        stream.write(b"x")
    with pytest.raises(KindredError, match="SHA-256"):
        CodeSearch().load_context(context)
