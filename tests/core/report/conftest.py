"""A repository with the outputs of one pipeline, ready to be reported."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path

import pytest

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d4944415478da63fcffff3f030005fe02"
    "fea7d2a5d90000000049454e44ae426082"
)
METRICS = {
    "pipeline": "code_search",
    "title": "Code search",
    "source": "installed packages",
    "demo": True,
    "data_digest": "d" * 64,
    "primary": {"name": "hybrid", "higher_is_better": True, "baseline": "bm25"},
    "metrics": {
        "bm25": {"label": "BM25", "value": 0.533, "low": 0.5, "high": 0.56, "n": 1000, "baseline": True},
        "hybrid": {"label": "Hybrid", "value": 0.631, "low": 0.61, "high": 0.65, "n": 1000},
        "uniformity": {"label": "Uniformity", "value": -2.8},
        "failed": {"label": "Failed", "value": None},
    },
    "figures": [{"file": "figures/curve.png", "caption": "A curve"}],
    "tables": [
        {"title": "By language", "columns": ["language", "MRR"], "rows": [["python", 0.63], ["go", None]]}
    ],
    "notes": ["A note."],
}


@pytest.fixture
def metrics() -> dict:
    """A metrics.json that may be changed freely."""
    return copy.deepcopy(METRICS)


@pytest.fixture
def write(tmp_path) -> Callable[[dict], Path]:
    """write(metrics) puts the outputs of a pipeline in place and returns the repository root."""

    def call(metrics: dict) -> Path:
        name = metrics["pipeline"]
        outputs, definition = tmp_path / "outputs" / name, tmp_path / "pipelines" / name
        (outputs / "figures").mkdir(parents=True, exist_ok=True)
        (outputs / "figures" / "curve.png").write_bytes(PNG)
        (outputs / "metrics.json").write_text(json.dumps(metrics))
        registered = {
            "name": name,
            "version": 3,
            "alias": "champion",
            "run_id": "r" * 32,
            "weights_sha256": "c" * 64,
            "primary": {"name": "hybrid", "value": 0.631, "evaluation_digest": "d1"},
            "reason": "not worse",
            "model_uri": f"models:/{name}@champion",
        }
        (outputs / "registered.json").write_text(json.dumps(registered))
        definition.mkdir(parents=True, exist_ok=True)
        (definition / "dvc.yaml").write_text("stages: {train: {cmd: train}}\n")
        kept = tmp_path / ".kindred" / "stages" / name
        kept.mkdir(parents=True, exist_ok=True)
        (kept / "train.json").write_text(json.dumps({"seconds": 185.0, "peak_mib": 1200.4}))
        (definition / "params.yaml").write_text("train:\n  steps: 4000\nseed: 0\n")
        return tmp_path

    return call


@pytest.fixture
def page(tmp_path) -> Callable[[], str]:
    """page() is the text of the report."""
    return lambda: (tmp_path / "outputs" / "report" / "index.html").read_text(encoding="utf-8")
