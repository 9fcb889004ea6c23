from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import ttest_rel

from core.errors import ConfigError, DataError
from core.evaluation.evidence import evidence_table, paired_interval, run_evidence
from core.report.evidence import read_evidence

SEEDS = [0, 1, 2, 3, 4]


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def arms(calls: list, stop_at: tuple[str, int] | None = None):
    def arm(name: str, gain: float):
        def run(seed: int) -> dict[str, float]:
            if (name, seed) == stop_at:
                raise KeyboardInterrupt
            calls.append((name, seed))
            rng = np.random.default_rng(seed)
            return {"mrr": float(rng.normal()) + gain + 0.01 * rng.normal(), "loss": 1.0}

        return run

    return {"full": arm("full", 0.5), "plain": arm("plain", 0.0)}


def evidence(calls: list, **options):
    given = {"seeds": SEEDS, "comparisons": [("full", "plain")], "settings": {"a": 1}, "say": lambda _: None}
    return run_evidence(
        "demo", "full beats plain", arms(calls, options.pop("stop_at", None)), **(given | options)
    )


def test_the_file_has_the_agreed_layout(tmp_path):
    found = evidence([])
    assert json.loads((tmp_path / "reports/demo/evidence.json").read_text()) == found
    assert list(found) == ["claim", "source", "seeds", "primary", "shown", "arms", "differences", "minutes"]
    assert (found["seeds"], found["primary"]) == (SEEDS, "mrr")
    assert len(found["arms"]["full"]["mrr"]) == 5
    assert set(found["differences"]["full-vs-plain"]["mrr"]) == {"mean", "low", "high"}
    assert (tmp_path / "reports/demo/evidence.png").stat().st_size > 5000


def test_differences_are_paired_over_seeds():
    found = evidence([])["differences"]["full-vs-plain"]["mrr"]
    assert found["mean"] == pytest.approx(0.5, abs=1e-9)
    assert found["high"] - found["low"] < 1e-9


def test_a_stopped_run_goes_on_and_a_finished_one_runs_nothing():
    calls: list = []
    with pytest.raises(KeyboardInterrupt):
        evidence(calls, stop_at=("plain", 2))
    assert len(calls) == 5
    evidence(calls)
    assert len(calls) == len(set(calls)) == 10
    evidence(calls)
    assert len(calls) == 10


def test_other_settings_start_afresh():
    calls: list = []
    evidence(calls)
    evidence(calls, settings={"a": 2})
    assert len(calls) == 20


def test_other_sources_are_written_beside_the_demo(tmp_path):
    evidence([], source="ptbxl")
    assert (tmp_path / "reports/demo/evidence-ptbxl.json").is_file()
    assert not (tmp_path / "reports/demo/evidence.json").exists()
    evidence([], source="installed", default=True)
    assert json.loads((tmp_path / "reports/demo/evidence.json").read_text())["source"] == "installed"


def test_the_table_says_where_zero_lies():
    found = {
        "arms": {"a": {"m": [1.0, 2.0]}, "b": {"m": [0.0, 3.0]}},
        "differences": {
            "a-vs-b": {"m": {"mean": 1.0, "low": 0.5, "high": 1.5}},
            "b-vs-a": {"m": {"mean": -1.0, "low": -1.5, "high": -0.5}},
        },
    }
    lines = evidence_table(found).splitlines()
    assert lines[2] == "| a vs b | m | 1.5 | 1.5 | +1 [+0.5, +1.5] | below |"
    assert lines[3].endswith("| above |")


def test_the_interval_is_that_of_the_paired_t_test():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=7), rng.normal(size=7)
    expected = ttest_rel(a, b).confidence_interval(0.95)
    mean, low, high = paired_interval(a, b)
    assert (low, high) == pytest.approx((expected.low, expected.high))
    assert mean == pytest.approx((a - b).mean())


@pytest.mark.parametrize("pair", [([1.0], [2.0]), ([1.0, np.nan], [1.0, 2.0])])
def test_no_interval_without_finite_pairs(pair):
    with pytest.raises(DataError, match="two or more finite"):
        paired_interval(*pair)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"seeds": [0, 1, 2]}, "at least 5"),
        ({"seeds": [0, 0, 1, 2, 3, 4]}, "different"),
        ({"comparisons": [("full", "none")]}, "none"),
    ],
)
def test_wrong_plans_are_refused_before_anything_runs(options, told):
    calls: list = []
    with pytest.raises(ConfigError, match=told):
        evidence(calls, **options)
    assert calls == []


def test_an_undefined_metric_is_said_and_left_out_of_the_differences(tmp_path):
    def arm(gain: float):
        return lambda seed: {
            "auc": 0.5 + gain + 0.01 * seed,
            "shift": float("nan") if gain and seed == 2 else 1.0 * seed,
            "gap": float("inf"),
        }

    told: list[str] = []
    for _ in range(2):  # the second run reads what the first one kept
        told.clear()
        found = run_evidence(
            "demo", "a beats b", {"a": arm(0.1), "b": arm(0.0)}, seeds=SEEDS, comparisons=[("a", "b")],
            settings={}, primary="shift", say=told.append,
        )  # fmt: skip
        assert found["arms"]["a"]["shift"] == [0.0, 1.0, None, 3.0, 4.0]
        assert list(found["differences"]["a-vs-b"]) == ["auc"]
        assert "shift undefined" in next(line for line in told if line.startswith("seed 2  a"))
        assert "| a vs b | shift | undefined | 2 | undefined | |" in told[-1]
        assert "| a vs b | gap | undefined | undefined | undefined | |" in told[-1]
    written = read_evidence(tmp_path / "reports/demo/evidence.json")
    assert written.arms["b"]["gap"] == [None] * 5
    assert (tmp_path / "reports/demo/evidence.png").stat().st_size > 5000
