"""No room on the disk: one line that says so and exit code 2, nothing half-written, and the next run goes on."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import textwrap

import numpy as np
import torch

from core.errors import RegistryError
from core.files import atomic_directory, atomic_write
from core.learning.checkpoint import checkpoint_path, newest_checkpoint, save_checkpoint
from core.tracking import load_weights, save_weights
from core.tracking.store import patiently

LARGE = 200_000


def test_checkpoint_weights_table_and_folder_stay_whole(tmp_path, in_child, small_disk):
    save_checkpoint(checkpoint_path(tmp_path, 1), {"w": torch.ones(3)})
    digest = save_weights(tmp_path / "model.safetensors", {"w": torch.ones(3)})
    atomic_write(tmp_path / "table.csv", "old")
    with atomic_directory(tmp_path / "out") as folder:
        (folder / "a").write_text("old")
    before = sorted(path.name for path in tmp_path.iterdir())

    def folder() -> None:
        with atomic_directory(tmp_path / "out") as target:
            np.save(target / "a.npy", np.zeros(LARGE))

    for write in (
        lambda: save_checkpoint(checkpoint_path(tmp_path, 2), {"w": torch.zeros(LARGE)}),
        lambda: save_weights(tmp_path / "model.safetensors", {"w": torch.zeros(LARGE)}),
        lambda: atomic_write(tmp_path / "table.csv", "x" * LARGE),
        folder,
    ):

        def crowded(write=write) -> None:
            small_disk(50_000)
            write()

        code, said = in_child(crowded)
        assert code == 1
        assert said.startswith("OSError: "), said
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert newest_checkpoint(tmp_path) == checkpoint_path(tmp_path, 1)
    assert load_weights(tmp_path / "model.safetensors", digest)["w"].tolist() == [1.0] * 3
    assert (tmp_path / "table.csv").read_text() == "old"
    assert (tmp_path / "out" / "a").read_text() == "old"


STAGE = """
    from pathlib import Path
    from core.config import Settings
    from core.files import atomic_write
    from core.stage import Stage, run_stage

    class Params(Settings):
        pass

    def main(settings: Params, stage: Stage) -> None:
        atomic_write(stage.outputs / "table.csv", "x" * 200_000)

    if __name__ == "__main__":
        run_stage(main, Params)
"""


def test_a_stage_says_it_in_one_line(tmp_path, small_disk):
    home = tmp_path / "pipelines" / "demo"
    home.mkdir(parents=True)
    (home / "write.py").write_text(textwrap.dedent(STAGE))
    (home / "params.yaml").write_text("{}")

    done = subprocess.run(
        [sys.executable, "-B", "-m", "pipelines.demo.write"],
        cwd=tmp_path, preexec_fn=lambda: small_disk(50_000), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error in demo/write: the file is larger than the limit")
    assert done.stderr.count("\n") == 1
    assert list((tmp_path / "outputs" / "demo").iterdir()) == []


def test_predictions_stop_with_a_sentence_and_go_on(tmp_path, in_child, small_disk, monkeypatch, capfd):
    from types import SimpleNamespace

    from core.tracking import batch

    class Echo:
        metadata = SimpleNamespace(
            get_input_schema=lambda: SimpleNamespace(
                has_input_names=lambda: True,
                inputs=[SimpleNamespace(name="text", type=SimpleNamespace(name="string"))],
            )
        )

        def predict(self, frame):
            return list(frame["text"])

    import mlflow.pyfunc

    monkeypatch.setattr(mlflow.pyfunc, "load_model", lambda folder: Echo())
    source, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("".join(json.dumps({"text": "x" * 500}) + "\n" for _ in range(200)))
    monkeypatch.setattr(sys, "argv", ["batch", "model", str(source), str(output), "--batch", "10"])

    def crowded() -> None:
        small_disk(50_000)
        os._exit(batch.main())

    assert in_child(crowded) == (2, "")
    assert "a rerun goes on" in capfd.readouterr().err
    assert 0 < output.stat().st_size <= 50_000
    assert batch.main() == 0
    rows = [json.loads(line)["row"] for line in output.read_text().splitlines()]
    assert sorted(rows) == list(range(200))


def test_the_tracking_database_is_named(tmp_path, in_child, small_disk):
    file = tmp_path / "mlflow.db"
    with sqlite3.connect(file) as database:
        database.execute("CREATE TABLE runs (value TEXT)")

    def crowded() -> None:
        small_disk(50_000)
        with sqlite3.connect(file) as database:
            patiently(database.execute, "INSERT INTO runs VALUES (?)", ("x" * LARGE,))
            patiently(database.commit)

    code, said = in_child(crowded)
    assert code == 1
    assert said.startswith(f"{RegistryError.__name__}: MLflow could not write: "), said
    with sqlite3.connect(file) as database:
        assert database.execute("SELECT COUNT(*) FROM runs").fetchone() == (0,)
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
