"""What is registered, and where it lies on this machine."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from core.errors import RegistryError
from core.tracking.card import DATA_CARD, MODEL_CARD
from core.tracking.promotion import CHAMPION, Score, version_of, versions
from core.tracking.store import PatientClient, connect, database_file, patiently, tracking_uri


def local_model(
    name: str, alias: str = CHAMPION, *, root: str | os.PathLike[str] | None = None
) -> tuple[Path, int]:
    """Folder on this machine that holds the model behind an alias (or a version number), and its version.

    Raises:
        RegistryError: no such model, alias or version.
    """
    client = connect(root, make=False)
    import mlflow

    version = resolve(client, name, alias)
    return Path(patiently(mlflow.artifacts.download_artifacts, f"models:/{name}/{version}")), version


def resolve(client: PatientClient, name: str, alias: str) -> int:
    """The version behind an alias, or behind a version number given as text."""
    existing = versions(client, name)
    version = int(alias) if alias.isdigit() else version_of(client, name, alias)
    if version is None or version not in existing:
        raise RegistryError(
            f"alias or version of {name}",
            seen=alias,
            expected=f"an alias, or one of the versions {sorted(existing)}",
            remedy="kindred models list",
        )
    return version


def list_models(root: str | os.PathLike[str] | None = None) -> list[dict[str, Any]]:
    """Every version of every model, newest first, as plain mappings."""
    file = database_file(tracking_uri(root))
    if file is not None and not file.exists():
        return []
    client = connect(root)
    rows = []
    for model in client.search_registered_models(max_results=1000):
        aliases = client.get_registered_model(model.name).aliases
        for number, version in sorted(versions_or_none(client, model.name).items(), reverse=True):
            score = Score.from_tags(number, version.tags)
            rows.append(
                {
                    "name": model.name,
                    "version": number,
                    "aliases": sorted(alias for alias, holder in aliases.items() if int(holder) == number),
                    "metric": score.metric,
                    "value": score.value,
                    "evaluation_digest": score.evaluation_digest,
                    "reason": version.tags.get("kindred.reason", ""),
                    "weights_sha256": version.tags.get("kindred.weights_sha256", ""),
                }
            )
    return rows


def versions_or_none(client: PatientClient, name: str) -> dict[int, Any]:
    """Like :func:`core.tracking.promotion.versions`, but empty for a model without versions."""
    try:
        return versions(client, name)
    except RegistryError:
        return {}


def model_card(name: str, alias: str = CHAMPION, *, root: str | os.PathLike[str] | None = None) -> str:
    """The model card and the data card of the version behind an alias or a version number, as Markdown."""
    client = connect(root)
    version = client.get_model_version(name, str(resolve(client, name, alias)))
    import mlflow

    cards = []
    for file in (MODEL_CARD, DATA_CARD):
        with contextlib.suppress(mlflow.exceptions.MlflowException, OSError):
            cards.append(patiently(mlflow.artifacts.load_text, f"runs:/{version.run_id}/{file}"))
    return "\n".join(cards) or str(version.description or "")
