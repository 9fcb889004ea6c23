"""Runs: parameters, curves, provenance, and several processes at one database."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import textwrap

import pytest

from core.errors import RegistryError
from core.tracking import start_run
from core.tracking.run import flatten, metric_name
from core.tracking.store import connect, experiment_id, patiently, provenance, repository_root, tracking_uri


def test_run_holds_params_curves_and_provenance(repository):
    figure = repository / "curve.png"
    figure.write_bytes(b"\x89PNG")
    history = [
        {"step": step, "loss": 1.0 / (step + 1), "r@1": step / 10, "note": "text"} for step in range(1100)
    ]
    with start_run(
        "echo", "train", {"a": {"b": 1}, "c": "x" * 9000}, data_digest="d1", root=repository
    ) as run:
        run.log_history(history, prefix="train/")
        run.log_metrics({"mrr": 0.5, "nothing": None, "bad": math.nan})
        run.log_figures([figure])
        with pytest.raises(RegistryError, match="not a file"):
            run.log_file(repository / "absent.png")
    client = connect(repository)
    found = client.get_run(run.run_id)
    assert found.info.status == "FINISHED"
    assert found.data.params["a.b"] == "1"
    assert found.data.metrics["mrr"] == 0.5
    assert found.data.tags["kindred.data_digest"] == "d1"
    assert len(found.data.tags["kindred.lock_sha256"]) == 64
    assert len(client.get_metric_history(run.run_id, "train/r_at_1")) == 1100
    assert (
        repository / "mlartifacts" / "echo" / run.run_id / "artifacts" / "figures" / "curve.png"
    ).is_file()


def test_failed_run_is_marked_and_the_error_passes(repository):
    with pytest.raises(KeyError), start_run("echo", "train", root=repository) as run:
        raise KeyError("x")
    assert connect(repository).get_run(run.run_id).info.status == "FAILED"


def test_run_of_a_dead_process_is_closed_by_the_next_one(repository):
    client = connect(repository)
    mine = client.create_run(
        experiment_id(client, "echo"), tags={"kindred.process": f"{os.uname().nodename}:999999:1"}
    )
    other = client.create_run(experiment_id(client, "echo"), tags={"kindred.process": "another-host:1:1"})
    with start_run("echo", "train", root=repository):
        pass
    assert client.get_run(mine.info.run_id).info.status == "KILLED"
    assert client.get_run(other.info.run_id).info.status == "RUNNING"


WRITER = """
    import sys
    from core.tracking import start_run
    with start_run(sys.argv[1], "train", {"a": 1}) as run:
        for step in range(40):
            run.log_metrics({"loss": step}, step=step)
    print(run.run_id)
"""


@pytest.mark.slow
def test_two_pipelines_write_one_database_at_once(repository):
    (repository / "mlflow.db").unlink()
    command = [sys.executable, "-c", textwrap.dedent(WRITER)]
    processes = [
        subprocess.Popen([*command, name], cwd=repository, stdout=subprocess.PIPE, text=True)
        for name in ("one", "two")
    ]
    outputs = [process.communicate(timeout=400)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    client = connect(repository)
    for output in outputs:
        assert len(client.get_metric_history(output[-1], "loss")) == 40


def test_locked_database_is_tried_again_and_other_errors_are_not(monkeypatch):
    monkeypatch.setattr("core.tracking.store.time.sleep", lambda seconds: None)
    calls = []

    def busy(text):
        calls.append(text)
        if len(calls) < 4:
            raise RuntimeError(text)
        return "done"

    assert patiently(busy, "(sqlite3.OperationalError) database is locked") == "done"
    calls.clear()
    with pytest.raises(RuntimeError, match="no such table"):
        patiently(busy, "no such table")
    assert len(calls) == 1
    with pytest.raises(RegistryError, match="read-only"):
        patiently(busy, "(sqlite3.OperationalError) attempt to write a readonly database")


def test_deleted_experiment_is_restored(repository):
    client = connect(repository)
    first = experiment_id(client, "echo")
    client.delete_experiment(first)
    assert experiment_id(client, "echo") == first


def test_store_that_cannot_be_opened_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/file/mlflow.db")
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(RegistryError, match="cannot be opened"):
        connect(tmp_path)


def test_tracking_uri_of_the_user_wins(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking.example:5000")
    assert tracking_uri(tmp_path) == "http://tracking.example:5000"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", " ")
    assert tracking_uri(tmp_path).startswith("sqlite:///")


def test_root_is_found_from_below_and_provenance_is_empty_outside_git(repository, monkeypatch):
    below = repository / "pipelines" / "echo"
    below.mkdir()
    monkeypatch.chdir(below)
    assert repository_root() == repository
    assert "git_commit" not in provenance(repository)


@pytest.mark.parametrize("name", ["recall@10", "PRC(S)", "LAO/LAE", "ü", "a:b"])
def test_metric_names_are_accepted_by_mlflow(name):
    from mlflow.utils.validation import _validate_metric_name

    _validate_metric_name(metric_name(name))


def test_flatten_keeps_empty_and_falsy_values():
    assert flatten({"a": {"b": None, "c": []}, "d": 0}) == {"a.b": None, "a.c": [], "d": 0}
