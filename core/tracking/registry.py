"""From a finished pipeline to a version in the MLflow registry: log, check, register, decide."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from core.errors import CheckpointError, DataError, RegistryError
from core.files import read_json, sha256_file, write_json
from core.tracking.card import DATA_CARD, MODEL_CARD, excerpt, model_card
from core.tracking.catalog import versions_or_none
from core.tracking.check import check_model
from core.tracking.data_card import data_card
from core.tracking.package import CHECKSUMS, content_digest, copy_code, locked_requirements, write_checksums
from core.tracking.promotion import (
    CHALLENGER,
    CHAMPION,
    ROLLED_BACK,
    Score,
    decide,
    make_champion,
    version_of,
)
from core.tracking.result import Result, parse_result, read_result
from core.tracking.run import start_run
from core.tracking.store import PatientClient, connect, patiently, provenance, repository_root

_NAME = re.compile(r"^[a-z][a-z0-9_]*$")


@dataclass(frozen=True)
class Registered:
    """What ``registered.json`` holds."""

    name: str
    version: int
    alias: str
    run_id: str
    weights_sha256: str
    primary: dict[str, Any]
    reason: str
    model_uri: str


def read_registered(path: str | os.PathLike[str]) -> Registered:
    """Read a ``registered.json``. Raises DataError when it is not one."""
    raw = read_json(path)
    try:
        return Registered(**raw)
    except TypeError as error:
        raise DataError(f"{path}", seen=str(error), expected="what the register stage writes") from None


def register(
    name: str,
    *,
    model_code: str | os.PathLike[str],
    artifacts: Mapping[str, str | os.PathLike[str]],
    weights: str | os.PathLike[str],
    packages: Sequence[str],
    requirements: Sequence[str],
    signature: Any,
    input_example: Any,
    result: Result | Mapping[str, Any] | str | os.PathLike[str],
    params: Mapping[str, Any] | None = None,
    limits: Sequence[str] = (),
    max_request_mib: float = 8.0,
    validation: str | os.PathLike[str] | None = None,
    output: str | os.PathLike[str] | None = None,
    root: str | os.PathLike[str] | None = None,
) -> Registered:
    """Register a trained model and let the gate decide whether it becomes the champion.

    The version is made only after the model was logged whole, loaded in a fresh process from its own copy
    of the code and asked its own input example. Killed at any point, the next call goes on: a version that
    holds the same content and the same result is used again, never doubled.

    Args:
        name: registered name, by convention the pipeline's (lower case, digits, underscores).
        model_code: a small ``.py`` that calls ``mlflow.models.set_model``; no pickle is written.
        artifacts: name -> file or folder; the model finds them by :func:`core.tracking.checked_artifacts`.
        weights: the safetensors file, inside one of the artifacts, whose SHA-256 identifies the weights.
        packages: packages of the repository that the model imports, e.g. ``["core", "code_search"]``.
        requirements: distributions that the model imports; pinned with all they need from
            ``requirements.lock``.
        signature: ``mlflow.models.ModelSignature`` of input and output.
        input_example: at least two rows.
        result: the evaluate stage's result, or the path of its ``metrics.json``.
        params: the pipeline's parameters, for the run and the card.
        limits: sentences for the model card: what the model was not tested on, where it fails.
        max_request_mib: the largest request body that ``kindred serve`` accepts for this model.
        validation: the pipeline's ``validation.json``, from which the data card is made.
        output: where to write ``registered.json``.
        root: repository root; found from the working directory when left out.

    Raises:
        RegistryError: a wrong name, fewer than two example rows, a requirement that is not locked, a model
            that does not answer its own example.
        CheckpointError: the weights are not among the artifacts, or an artifact holds a pickle.
    """
    home = Path(root or repository_root()).absolute()
    if not _NAME.match(name):
        raise RegistryError("model name", seen=name, expected="lower-case letters, digits and underscores")
    rows = len(input_example) if hasattr(input_example, "__len__") else 1
    if rows < 2:
        raise RegistryError(f"input example of {name}", seen=f"{rows} row", expected="at least 2 rows")
    outcome = _as_result(result)
    score = Score.of(outcome)
    pins = locked_requirements(requirements, home / "requirements.lock")
    weights_sha256 = _weights_digest(Path(weights), artifacts)
    client = connect(home)
    with tempfile.TemporaryDirectory(prefix="kindred-register-") as scratch:
        code_paths = copy_code(packages, home, Path(scratch) / "code")
        checks = Path(scratch) / f"{CHECKSUMS}.json"
        parts = {
            "artifacts": write_checksums(checks, artifacts),
            "pins": pins,
            "model_code": sha256_file(model_code),
            "max_request_mib": max_request_mib,
        }
        digest = content_digest(parts, Path(scratch) / "code")
        found = _same_version(client, name, digest, score)
        if found is None:
            card = model_card(
                name,
                outcome,
                params=params or {},
                limits=limits,
                weights_sha256=weights_sha256,
                provenance=provenance(home),
            )
            cards = {MODEL_CARD: card}
            if validation is not None:
                cards[DATA_CARD] = data_card(name, read_json(validation))
            for file, text in cards.items():
                (Path(scratch) / file).write_text(text, encoding="utf-8")
            with start_run(name, "register", params, root=home, data_digest=outcome.data_digest) as run:
                run.log_metrics({key: metric.value for key, metric in outcome.metrics.items()})
                for file in cards:
                    run.log_file(Path(scratch) / file)
                uri, model_id = _log_model(
                    python_model=str(model_code),
                    artifacts={key: str(path) for key, path in {**artifacts, CHECKSUMS: checks}.items()},
                    code_paths=[str(path) for path in code_paths],
                    pip_requirements=pins,
                    signature=signature,
                    input_example=input_example,
                    metadata={
                        "kindred": {"weights_sha256": weights_sha256, "max_request_mib": max_request_mib}
                    },
                )
                check_model(uri, home)
                found = _new_version(
                    client,
                    name,
                    source=uri,
                    model_id=model_id,
                    run_id=run.run_id,
                    description=excerpt(card),
                    tags={
                        "kindred.content_digest": digest,
                        "kindred.weights_sha256": weights_sha256,
                        **score.tags(),
                    },
                )
    version = int(found.version)
    alias, reason = _place(client, name, version, score, found.tags)
    registered = Registered(
        name=name,
        version=version,
        alias=alias,
        run_id=found.run_id,
        weights_sha256=weights_sha256,
        primary={"name": score.metric, "value": score.value, "evaluation_digest": score.evaluation_digest},
        reason=reason,
        model_uri=f"models:/{name}@{alias}",
    )
    if output is not None:
        write_json(output, asdict(registered))
    return registered


def _as_result(result: Result | Mapping[str, Any] | str | os.PathLike[str]) -> Result:
    if isinstance(result, Result):
        return result
    if isinstance(result, Mapping):
        return parse_result(result, origin="result")
    return read_result(result)


def _weights_digest(weights: Path, artifacts: Mapping[str, str | os.PathLike[str]]) -> str:
    places = [Path(place).absolute() for place in artifacts.values()]
    if not any(weights.absolute().is_relative_to(place) for place in places):
        raise CheckpointError(
            f"weights {weights} lie in none of the artifacts", remedy="add their folder to artifacts"
        )
    if not weights.is_file():
        raise CheckpointError(f"weights {weights} are missing", remedy="run the training stage")
    return sha256_file(weights)


def _log_model(**arguments: Any) -> tuple[str, str]:
    import mlflow

    modules = set(sys.modules)
    try:
        info = patiently(mlflow.pyfunc.log_model, name="model", **arguments)
    finally:
        # MLflow imports the model file under a name of its own; two registrations must not meet there.
        for module in set(sys.modules) - modules:
            if module.startswith("code_model_"):
                del sys.modules[module]
    return info.model_uri, info.model_id


def _same_version(client: PatientClient, name: str, digest: str, score: Score) -> Any:
    """An existing version with this content and result: left by a killed registration, or a repetition."""
    wanted = {"kindred.content_digest": digest, **score.tags()}
    for _, version in sorted(versions_or_none(client, name).items(), reverse=True):
        if all(version.tags.get(key) == value for key, value in wanted.items()):
            return version
    return None


def _new_version(client: PatientClient, name: str, **version: Any) -> Any:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    return client.create_model_version(name, **version)


def _place(
    client: PatientClient, name: str, version: int, score: Score, tags: Mapping[str, str]
) -> tuple[str, str]:
    """Give the version its alias; returns the alias and the reason."""
    holder = version_of(client, name, CHAMPION)
    if holder == version:
        reason = tags.get("kindred.reason") or f"version {version} is the champion already"
        make_champion(client, name, version, reason)
        return CHAMPION, reason
    client.set_registered_model_alias(name, CHALLENGER, str(version))
    if tags.get(ROLLED_BACK) == "true":
        reason = "rolled back by hand before; promote by hand with `kindred models promote`"
        return CHALLENGER, reason
    champion = None
    if holder is not None:
        champion = Score.from_tags(holder, client.get_model_version(name, str(holder)).tags)
    decision = decide(replace(score, version=version), champion)
    if decision.promote:
        make_champion(client, name, version, decision.reason)
        return CHAMPION, decision.reason
    client.set_model_version_tag(name, str(version), "kindred.reason", decision.reason)
    return CHALLENGER, decision.reason
