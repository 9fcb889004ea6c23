"""MLflow runs, model cards, registry, promotion and serving guards.

The names are imported when they are first used: a stage that only reads weights then depends on the few files
behind them, and is not out of date when, say, the model card changes.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_MODULES = {
    "Registered": "registry",
    "Result": "result",
    "Score": "promotion",
    "TrackedRun": "run",
    "checked_artifacts": "package",
    "decide": "promotion",
    "list_models": "catalog",
    "load_weights": "weights",
    "local_model": "catalog",
    "model_card": "card",
    "parse_result": "result",
    "promote": "promotion",
    "read_registered": "registry",
    "read_result": "result",
    "register": "registry",
    "repository_root": "store",
    "rollback": "promotion",
    "save_weights": "weights",
    "start_run": "run",
    "tracking_uri": "store",
    "write_result": "result",
}
__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
