"""The command behind `make evidence`: what reaches the comparison, and how mistakes end."""

from __future__ import annotations

import pytest

from core.config import Settings
from core.errors import DataError
from core.evaluation.evidence_script import Request, evidence_script


class Params(Settings):
    seed: int = 0


@pytest.fixture(autouse=True)
def _params(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipelines" / "toy").mkdir(parents=True)
    (tmp_path / "pipelines" / "toy" / "params.yaml").write_text("seed: 7\n")


def test_comparison_gets_params_options_and_a_folder_that_is_gone_afterwards():
    seen: list[Request[Params]] = []

    def compare(request: Request[Params]) -> None:
        assert request.scratch.is_dir()
        seen.append(request)

    assert evidence_script(compare, Params, "toy", argv=["--source", "acdc", "--root", "/data"]) == 0
    (request,) = seen
    assert (request.params.seed, request.source, request.root, request.manifest) == (7, "acdc", "/data", None)
    assert not request.scratch.exists()


def test_mistakes_end_with_2_and_one_line(tmp_path, capsys):
    def compare(request: Request[Params]) -> None:
        raise DataError("labels", seen="one", expected="two")

    assert evidence_script(compare, Params, "toy", argv=[]) == 2
    assert capsys.readouterr().err == "error in evidence: labels: saw 'one', expected two\n"
    (tmp_path / "pipelines" / "toy" / "params.yaml").write_text("sead: 7\n")
    assert evidence_script(compare, Params, "toy", argv=[]) == 2
    assert "did you mean 'seed'" in capsys.readouterr().err
