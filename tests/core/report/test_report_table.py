"""The table in the terminal, and where everything lies."""

from __future__ import annotations

import json
import sqlite3

import pytest

from core.report import build_report, print_results
from core.report.table import in_registry, result_table


@pytest.fixture(autouse=True)
def own_store(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_table_is_aligned_and_marks_demo_primary_and_baseline(write, metrics, capsys):
    root = write(metrics)
    build_report(root)
    print_results(root)
    out = capsys.readouterr().out
    assert "Code search (demo data)" in out
    line = next(line for line in out.splitlines() if "Hybrid" in line)
    assert line.split() == ["*", "Hybrid", "0.631", "0.610", "to", "0.650", "1,000"]
    assert "BM25 (baseline)" in out
    assert str(root / "outputs" / "report" / "index.html") in out
    assert "mlflow ui --backend-store-uri" in out
    assert "models:/code_search@champion" in out
    starts = {line.index("0.") for line in out.splitlines() if "0.6" in line or "0.53" in line}
    assert len(starts) == 1


def test_labels_cannot_steer_the_terminal(write, metrics):
    metrics["metrics"]["hybrid"]["label"] = "\x1b[2Jwiped\r\n"
    table = result_table(build_report(write(metrics)))
    assert "\x1b" not in table
    assert "\r" not in table
    assert "wiped" in table


def test_model_that_left_the_registry_is_told(write, metrics, capsys):
    root = write(metrics)
    build_report(root)
    print_results(root)
    assert "does not hold any more" in capsys.readouterr().out
    uri = f"sqlite:///{root}/mlflow.db"
    with sqlite3.connect(root / "mlflow.db") as connection:
        connection.execute("CREATE TABLE model_versions (name TEXT, version INTEGER)")
        connection.execute("INSERT INTO model_versions VALUES ('code_search', 3)")
    connection.close()
    assert in_registry(uri, "code_search", 3)
    assert not in_registry(uri, "code_search", 4)
    assert in_registry("http://elsewhere", "code_search", 4)


def test_problems_are_printed_at_the_end(write, metrics, capsys):
    metrics["figures"] = [{"file": "absent.png"}]
    root = write(metrics)
    build_report(root)
    print_results(root)
    assert "problem: figure 'absent.png'" in capsys.readouterr().out.splitlines()[-1]


def test_stage_script_writes_the_page_and_fails_on_damage(write, metrics, monkeypatch, capsys):
    from pipelines.report import main

    root = write(metrics)
    monkeypatch.chdir(root)
    assert main() == 0
    (root / "outputs" / "code_search" / "registered.json").write_text(json.dumps({"name": "x"}))
    assert main() == 2
    assert "registered.json" in capsys.readouterr().err
