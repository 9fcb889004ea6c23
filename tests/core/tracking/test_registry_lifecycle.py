"""Registration, promotion and rollback against a real SQLite registry."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pandas as pd
import pytest

from core.errors import CheckpointError, RegistryError
from core.tracking import list_models, local_model, promote, rollback
from core.tracking.catalog import model_card
from core.tracking.promotion import champions
from core.tracking.store import connect


def aliases(root: Path) -> dict[int, list[str]]:
    return {row["version"]: row["aliases"] for row in list_models(root)}


@pytest.mark.slow
def test_life_of_a_model(repository, register_echo):
    first = register_echo(1.0, 0.5)
    assert (first.version, first.alias) == (1, "champion")
    written = json.loads((repository / "registered.json").read_text())
    assert written["weights_sha256"] == first.weights_sha256
    assert {"name", "version", "alias", "run_id", "weights_sha256", "primary", "reason"} <= written.keys()

    worse = register_echo(2.0, 0.4)
    assert (worse.version, worse.alias) == (2, "challenger")
    assert "worse than 0.5 of version 1" in worse.reason

    elsewhere = register_echo(3.0, 0.9, digest="d2")
    assert elsewhere.alias == "challenger"
    assert "not comparable" in elsewhere.reason

    better = register_echo(4.0, 0.6)
    assert better.alias == "champion"
    assert aliases(repository) == {4: ["champion"], 3: [], 2: [], 1: []}

    # The same weights with the same result are not doubled.
    again = register_echo(4.0, 0.6)
    assert again == better or again.version == better.version
    assert len(aliases(repository)) == 4

    assert rollback("echo") == 1
    assert aliases(repository)[1] == ["champion"]
    # What was rolled back is not promoted by running the stage again.
    assert register_echo(4.0, 0.6).alias == "challenger"
    with pytest.raises(RegistryError, match="only champion so far"):
        rollback("echo")

    promote("echo", 2)
    assert aliases(repository)[2] == ["champion"]
    assert rollback("echo") == 1
    with pytest.raises(RegistryError, match="expected one of"):
        promote("echo", 99)

    card = model_card("echo", "1")
    assert "only ever echoed" in card
    assert "demo data" in card


def test_cards_are_kept_whole_beside_a_description_that_every_database_holds(repository, register_echo):
    (repository / "validation.json").write_text(
        json.dumps({"checked": 3, "quarantined": 1, "source": "manifest", "by_kind": {"nan": 1}, "patients": 2,
                    "findings": [{"file": "patient-jones.png"}]})
    )  # fmt: skip
    limits = [f"not tested on material number {n}" for n in range(400)]
    register_echo(1.0, 0.5, limits=limits, validation=repository / "validation.json")
    description = str(connect(repository).get_model_version("echo", "1").description)
    assert len(description) <= 5000
    assert "model_card.md of the run" in description
    card = model_card("echo")
    assert limits[-1] in card
    assert "# Data of echo" in card
    assert "| nan | 1 |" in card
    assert "jones" not in card


@pytest.mark.slow
def test_model_folder_is_whole_and_lean(repository, register_echo):
    import mlflow

    register_echo(1.0, 0.5, check=True)
    folder, version = local_model("echo")
    assert version == 1
    copied = {path.relative_to(folder / "code").as_posix() for path in (folder / "code").rglob("*")}
    assert "core/tracking/serving.py" in copied
    assert not any("__pycache__" in name or name.startswith(("code_search", "medical")) for name in copied)
    pins = (folder / "requirements.txt").read_text().splitlines()
    assert all("==" in pin for pin in pins)
    assert any(pin.startswith("safetensors==") for pin in pins)
    assert not any(path.suffix in (".pkl", ".pickle", ".pth", ".pt") for path in folder.rglob("*"))
    assert not (repository / "mlruns").exists()

    model = mlflow.pyfunc.load_model(str(folder))
    assert model.predict(pd.DataFrame({"text": ["ab"], "times": [2]})) == [{"text": "abab", "weight": 1.0}]

    # Damage after registration is found when the model is loaded, whichever file it is in.
    for victim in ("model/model.safetensors", "model/digest.txt"):
        copy = repository / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(folder, copy)
        with (copy / "artifacts" / victim).open("ab") as stream:
            stream.write(b" ")
        with pytest.raises(CheckpointError, match="SHA-256 of model/"):
            mlflow.pyfunc.load_model(str(copy))
    shutil.rmtree(copy)
    shutil.copytree(folder, copy)
    (copy / "artifacts" / "model" / "extra.json").write_text("{}")
    with pytest.raises(CheckpointError, match="unexpected file"):
        mlflow.pyfunc.load_model(str(copy))


@pytest.mark.slow
def test_model_that_cannot_answer_its_example_is_not_registered(repository, register_echo):
    broken = repository / "broken.py"
    broken.write_text(
        "import mlflow\n"
        "class Broken(mlflow.pyfunc.PythonModel):\n"
        "    def predict(self, context, model_input):\n"
        "        raise RuntimeError('no weights today')\n"
        "mlflow.models.set_model(Broken())\n"
    )
    with pytest.raises(RegistryError, match="no weights today"):
        register_echo(1.0, 0.5, check=True, model_code=broken)
    assert list_models(repository) == []


def test_bad_arguments_are_named(repository, register_echo):
    with pytest.raises(RegistryError, match="at least 2 rows"):
        register_echo(1.0, 0.5, input_example=pd.DataFrame({"text": ["a"]}))
    with pytest.raises(RegistryError, match="not pinned"):
        register_echo(1.0, 0.5, requirements=["no-such-distribution"])
    with pytest.raises(RegistryError, match="package 'nowhere'"):
        register_echo(1.0, 0.5, packages=["core", "nowhere"])
    stray = repository / "stray.safetensors"
    stray.write_bytes(b"x")
    with pytest.raises(CheckpointError, match="none of the artifacts"):
        register_echo(1.0, 0.5, weights=stray)
    (repository / "model" / "vocabulary.json").write_bytes(b"\x80\x04K\x01.")
    with pytest.raises(CheckpointError, match="holds a pickle"):
        register_echo(1.0, 0.5)
    assert list_models(repository) == []


class Killed(BaseException):
    """Ends the registration where it is raised, past every `except Exception`."""


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["_new_version", "_place"])
def test_registration_that_ended_early_is_completed_by_the_next(
    repository, register_echo, monkeypatch, moment
):
    import core.tracking.registry as registry

    def die(*args, **kwargs):
        raise Killed

    register_echo(1.0, 0.5)
    with monkeypatch.context() as patch:
        patch.setattr(registry, moment, die)
        with pytest.raises(Killed):
            register_echo(2.0, 0.6)
    assert aliases(repository)[1] == ["champion"]
    assert register_echo(2.0, 0.6).version == 2
    assert aliases(repository) == {2: ["champion"], 1: []}


KILL_9 = """
    import os, signal, sys
    from pathlib import Path
    import pytest
    sys.path.insert(0, {tests!r})
    import conftest
    import core.tracking.registry as registry

    def die(*args, **kwargs):
        os.kill(os.getpid(), signal.SIGKILL)

    def half(client, name, version, reason):
        client.set_registered_model_alias = die
        make_champion(client, name, version, reason)

    make_champion, registry.make_champion = registry.make_champion, half
    with pytest.MonkeyPatch.context() as patch:
        conftest.register_echo.__wrapped__(Path({root!r}), patch)(2.0, 0.6)
"""


@pytest.mark.slow
def test_kill_9_between_history_and_alias(repository, register_echo):
    register_echo(1.0, 0.5)
    script = textwrap.dedent(KILL_9).format(tests=str(Path(__file__).parent), root=str(repository))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert aliases(repository) == {2: ["challenger"], 1: ["champion"]}
    with pytest.raises(RegistryError, match="only champion so far"):
        rollback("echo")

    finished = register_echo(2.0, 0.6)
    assert (finished.version, finished.alias) == (2, "champion")
    assert aliases(repository) == {2: ["champion"], 1: []}
    assert champions(connect(repository), "echo") == [1, 2]
    assert rollback("echo") == 1
