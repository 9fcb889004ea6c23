"""MLflow runs, model cards, registry, promotion and serving guards."""

from core.tracking.card import model_card
from core.tracking.catalog import list_models, local_model
from core.tracking.package import checked_artifacts
from core.tracking.promotion import Score, decide, promote, rollback
from core.tracking.registry import Registered, register
from core.tracking.result import Result, parse_result, read_result, write_result
from core.tracking.run import TrackedRun, start_run
from core.tracking.store import repository_root, tracking_uri
from core.tracking.weights import load_weights, save_weights

__all__ = [
    "Registered",
    "Result",
    "Score",
    "TrackedRun",
    "checked_artifacts",
    "decide",
    "list_models",
    "load_weights",
    "local_model",
    "model_card",
    "parse_result",
    "promote",
    "read_result",
    "register",
    "repository_root",
    "rollback",
    "save_weights",
    "start_run",
    "tracking_uri",
    "write_result",
]
