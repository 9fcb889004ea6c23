"""Which version serves: the gate from `challenger` to `champion`, promotion by hand, rollback."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.errors import RegistryError
from core.tracking.result import Result
from core.tracking.store import PatientClient, connect

CHAMPION = "champion"
CHALLENGER = "challenger"
HISTORY = "kindred.champions"
ROLLED_BACK = "kindred.rolled_back"


@dataclass(frozen=True)
class Score:
    """The primary metric of one version, and on what it was measured."""

    version: int
    metric: str
    value: float | None
    higher_is_better: bool
    evaluation_digest: str

    @staticmethod
    def of(result: Result) -> Score:
        """The score of a result that has no version yet."""
        primary = result.primary
        return Score(0, primary.name, result.score, primary.higher_is_better, result.comparable)

    def tags(self) -> dict[str, str]:
        """As tags of the model version."""
        return {
            "kindred.primary": self.metric,
            "kindred.value": repr(self.value),
            "kindred.higher_is_better": str(self.higher_is_better).lower(),
            "kindred.evaluation_digest": self.evaluation_digest,
        }

    @staticmethod
    def from_tags(version: int, tags: Mapping[str, str]) -> Score:
        """Read back what :meth:`tags` wrote; a version made elsewhere has no metric."""
        text = tags.get("kindred.value", "None")
        return Score(
            version,
            tags.get("kindred.primary", ""),
            None if text == "None" else float(text),
            tags.get("kindred.higher_is_better", "true") == "true",
            tags.get("kindred.evaluation_digest", ""),
        )


@dataclass(frozen=True)
class Decision:
    """Outcome of the gate, with the sentence that is recorded."""

    promote: bool
    reason: str


def decide(candidate: Score, champion: Score | None) -> Decision:
    """Promote when there is no champion, or when the candidate is not worse on the same evaluation.

    >>> old = Score(1, "mrr", 0.5, True, "d1")
    >>> decide(Score(2, "mrr", 0.6, True, "d1"), old).promote
    True
    >>> decide(Score(2, "mrr", 0.6, True, "d2"), old).promote
    False
    """
    if candidate.value is None or not math.isfinite(candidate.value):
        return Decision(False, f"{candidate.metric} is not a number, so the version stays a challenger")
    if champion is None:
        return Decision(True, f"first champion, {candidate.metric} {candidate.value:.4g}")
    if champion.version == candidate.version:
        return Decision(True, f"version {champion.version} is the champion already")
    if champion.value is None or champion.metric != candidate.metric:
        return Decision(
            False, f"champion version {champion.version} has no {candidate.metric} to compare with"
        )
    if champion.evaluation_digest != candidate.evaluation_digest:
        return Decision(
            False,
            f"not comparable with champion version {champion.version}: it was evaluated on "
            f"{champion.evaluation_digest[:12]}, this one on {candidate.evaluation_digest[:12]}; "
            "promote by hand with `kindred models promote`",
        )
    sign = 1 if candidate.higher_is_better else -1
    better = sign * candidate.value >= sign * champion.value
    relation = "not worse than" if better else "worse than"
    return Decision(
        better,
        f"{candidate.metric} {candidate.value:.4g} is {relation} "
        f"{champion.value:.4g} of version {champion.version}",
    )


def version_of(client: PatientClient, name: str, alias: str) -> int | None:
    """The version that carries ``alias``, or None."""
    from mlflow.exceptions import MlflowException

    try:
        found = client.get_registered_model(name).aliases.get(alias)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
    return None if found is None else int(found)


def make_champion(client: PatientClient, name: str, version: int, reason: str) -> None:
    """Point `champion` at a version. Safe to repeat, and safe to be killed at any line.

    The history is written before the alias: an entry without alias is ignored by :func:`rollback`, while an
    alias without entry could not be rolled back to.
    """
    history = champions(client, name)
    current = version_of(client, name, CHAMPION)
    if current is not None and current not in history:
        history.append(current)
    if not history or history[-1] != version:
        history.append(version)
        client.set_registered_model_tag(name, HISTORY, ",".join(map(str, history)))
    client.set_registered_model_alias(name, CHAMPION, str(version))
    if version_of(client, name, CHALLENGER) == version:
        client.delete_registered_model_alias(name, CHALLENGER)
    client.set_model_version_tag(name, str(version), "kindred.reason", reason)


def promote(name: str, version: int, *, root: str | os.PathLike[str] | None = None) -> None:
    """Make ``version`` the champion by hand, whatever its metric.

    Raises:
        RegistryError: there is no such model or version.
    """
    client = connect(root, make=False)
    existing = versions(client, name)
    if version not in existing:
        raise RegistryError(
            f"version of {name}",
            seen=version,
            expected=f"one of {sorted(existing)}",
            remedy="kindred models list",
        )
    client.set_model_version_tag(name, str(version), ROLLED_BACK, "false")
    make_champion(client, name, version, "promoted by hand")


def rollback(name: str, *, root: str | os.PathLike[str] | None = None) -> int:
    """Give `champion` back to the version that held it before, and return that version.

    The version that is left is marked, so that registering the same model again does not promote it.

    Raises:
        RegistryError: the model has no champion, or none before it.
    """
    client = connect(root, make=False)
    current = version_of(client, name, CHAMPION)
    if current is None:
        raise RegistryError(f"{name} has no champion", remedy="kindred models promote NAME VERSION")
    history, existing = champions(client, name), versions(client, name)
    last = max((place for place, version in enumerate(history) if version == current), default=len(history))
    earlier = [version for version in history[:last] if version in existing and version != current]
    if not earlier:
        raise RegistryError(
            f"{name} version {current} is the only champion so far",
            remedy="kindred models promote NAME VERSION",
        )
    client.set_model_version_tag(name, str(current), ROLLED_BACK, "true")
    client.set_registered_model_alias(name, CHAMPION, str(earlier[-1]))
    client.set_model_version_tag(
        name, str(current), "kindred.reason", f"rolled back to version {earlier[-1]}"
    )
    client.set_registered_model_tag(name, HISTORY, ",".join(map(str, earlier)))
    return earlier[-1]


def champions(client: PatientClient, name: str) -> list[int]:
    """Versions that have been champion, oldest first."""
    text = client.get_registered_model(name).tags.get(HISTORY, "")
    return [int(part) for part in text.split(",") if part]


def versions(client: PatientClient, name: str) -> dict[int, Any]:
    """Every version of a model: number -> MLflow's ModelVersion.

    Raises:
        RegistryError: no model of that name is registered.
    """
    found: dict[int, Any] = {}
    token = None
    while True:
        page = client.search_model_versions(f"name = '{name}'", max_results=1000, page_token=token)
        found |= {int(one.version): one for one in page}
        token = page.token
        if not token:
            break
    if not found:
        raise RegistryError(
            f"no model named {name!r} is registered",
            remedy="run its pipeline first: make repro PIPELINE=NAME",
        )
    return found
