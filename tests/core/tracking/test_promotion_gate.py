"""A challenger becomes champion only when it is not worse on the same evaluation."""

from __future__ import annotations

import math

import pytest

from core.tracking import Score, decide

OLD = Score(1, "mrr", 0.5, True, "d1")


def candidate(value=0.5, *, metric="mrr", higher=True, digest="d1", version=2) -> Score:
    return Score(version, metric, value, higher, digest)


@pytest.mark.parametrize(
    ("new", "old", "promoted", "because"),
    [
        (candidate(), None, True, "first champion"),
        (candidate(0.51), OLD, True, "not worse"),
        (candidate(0.5), OLD, True, "not worse"),
        (candidate(0.49), OLD, False, "is worse"),
        (candidate(0.9, digest="d2"), OLD, False, "not comparable"),
        (candidate(0.9, metric="map"), OLD, False, "has no map"),
        (candidate(None), None, False, "not a number"),
        (candidate(math.nan), None, False, "not a number"),
        (candidate(math.inf), OLD, False, "not a number"),
        (candidate(0.9), Score(1, "mrr", None, True, "d1"), False, "has no mrr"),
        (candidate(0.4, higher=False), Score(1, "mrr", 0.5, False, "d1"), True, "not worse"),
        (candidate(0.6, higher=False), Score(1, "mrr", 0.5, False, "d1"), False, "is worse"),
        (candidate(0.1, version=1), OLD, True, "already"),
    ],
)
def test_gate(new, old, promoted, because):
    decision = decide(new, old)
    assert decision.promote is promoted
    assert because in decision.reason


def test_score_survives_the_registry_tags():
    for value in (0.1 + 0.2, None, -1e-9):
        score = candidate(value)
        assert Score.from_tags(2, score.tags()) == score


def test_version_made_elsewhere_has_no_score():
    assert Score.from_tags(7, {}).value is None
