"""The committed retrieval figures: one command writes them from a run, and the page's table is made from them."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from code_search.data.functions import Function
from code_search.evaluate import RANKINGS, Task, Vectors, rank_task, sample_tasks
from code_search.ranker import Ranker
from code_search.scores import metrics
from core.files import write_json
from pipelines.code_search import retrieval

ROOT = Path(__file__).resolve().parents[2]
SMOKE = ROOT / "pipelines" / "code_search" / "params.smoke.yaml"


@pytest.fixture
def outputs(library, encoder, tmp_path):
    """What a run of the smallest settings leaves, as far as it is read here."""
    tasks = sample_tasks(library, n=20)
    ranks = [rank_task(task, Vectors(encoder), Ranker(all={"dense": 1.0})) for task in tasks]
    result = {
        "pipeline": "code_search", "title": "t", "source": "installed", "demo": False, "data_digest": "d" * 64,
        "primary": {"name": "mrr_hybrid_full"}, "metrics": metrics(tasks, ranks, 100),
    }  # fmt: skip
    folder = tmp_path / "outputs"
    folder.mkdir()
    write_json(folder / "metrics.json", result)
    write_json(folder / "validation.json", {"pairs": {"train": 600, "valid": 300, "test": 600}})
    for stage, steps in (("pretrain", 60), ("adapt", 20)):
        write_json(folder / f"{stage}_history.json", [{"step": 1}, {"step": steps}])
    return folder


def run(outputs, report, *more):
    return retrieval.main(
        ["--params", str(SMOKE), "--outputs", str(outputs), "--report", str(report), *map(str, more)]
    )


def test_a_run_becomes_an_entry_and_a_table(outputs, tmp_path, monkeypatch):
    report = tmp_path / "reports" / "code_search" / "retrieval.json"
    report.parent.mkdir(parents=True)
    write_json(report, {"params.other.yaml": {"rows": []}})
    monkeypatch.setattr(retrieval, "_searched", lambda params, folder, names: searched(names))
    assert run(outputs, report, "--benchmark", "a/ruby") == 0
    kept = json.loads(report.read_text())
    assert set(kept) == {"params.other.yaml", "params.smoke.yaml"}
    entry = kept["params.smoke.yaml"]
    assert [row["task"] for row in entry["rows"]] == ["shown", "hidden", "full", "a_ruby"]
    assert entry["rows"][3]["hybrid"][0] == 1.0
    assert (entry["encoder"], entry["pairs"]["train"]) == ("static", 600)
    del kept["params.other.yaml"]
    write_json(report, kept)
    spec = importlib.util.spec_from_file_location("generate_pages", ROOT / "docs" / "generate_pages.py")
    pages = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pages)
    table = pages.retrieval(tmp_path, "code_search")
    assert "| `params.smoke.yaml` | 20 candidates, names shown | 20 |" in table
    assert "600 training" in table
    assert "Not measured yet" in pages.retrieval(tmp_path / "nowhere", "code_search")


def searched(names):
    """What is found in benchmark folders: always the right function first."""
    one = Function("ruby", "a.rb", 1, 2, "f", "f", "def f; end", "Do it now.", "", "a")
    tasks = [
        Task(name.replace("/", "_"), "2 candidates", ["q", "r"], [0, 1], [one, one], ["a", "b"], 1000)
        for name in names
    ]
    return tasks, [dict.fromkeys(RANKINGS, np.ones(2)) for _ in names]


def test_figures_of_other_settings_are_refused(outputs, tmp_path, capsys):
    write_json(outputs / "adapt_history.json", [{"step": 500}])
    assert run(outputs, tmp_path / "r.json") == 2
    assert "steps of adapt: saw 500, expected 20, as params.smoke.yaml says" in capsys.readouterr().err
    assert not (tmp_path / "r.json").exists()
    assert run(tmp_path / "none", tmp_path / "r.json") == 2
