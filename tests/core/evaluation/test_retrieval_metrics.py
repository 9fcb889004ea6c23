from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from reference.vectors import reference
from sklearn.metrics import label_ranking_average_precision_score

from core.errors import ConfigError, DataError
from core.evaluation import retrieval
from core.evaluation.retrieval import (
    average_precision,
    map_at_r,
    ranks,
    ranks_streaming,
    reciprocal,
    retrieval_metrics,
)

# few distinct values, so that ties are common
SCORES = st.tuples(st.integers(1, 6), st.integers(1, 8)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.sampled_from([-1.0, 0.0, 0.5, 2.0]))
)


def slow_rank(row, target: int, ties: str) -> float:
    higher = sum(score > row[target] for score in row)
    equal = sum(score == row[target] for score in row) - 1
    return 1 + higher + {"average": equal / 2, "optimistic": 0, "pessimistic": equal}[ties]


@given(scores=SCORES, data=st.data(), ties=st.sampled_from(["average", "optimistic", "pessimistic"]))
def test_ranks_agree_with_counting(scores, data, ties):
    target = [data.draw(st.integers(0, scores.shape[1] - 1)) for _ in scores]
    expected = [slow_rank(row, index, ties) for row, index in zip(scores, target, strict=True)]
    assert ranks(scores, target, ties).tolist() == expected


@given(scores=SCORES, data=st.data())
def test_pessimistic_reciprocal_ranks_agree_with_scikit_learn(scores, data):
    target = [data.draw(st.integers(0, scores.shape[1] - 1)) for _ in scores]
    truth = np.zeros(scores.shape, dtype=int)
    truth[np.arange(len(scores)), target] = 1
    ours = retrieval_metrics(ranks(scores, target, "pessimistic"))["mrr"]
    assert ours == pytest.approx(label_ranking_average_precision_score(truth, scores))


@given(scores=SCORES, data=st.data())
def test_average_precision_agrees_with_scikit_learn(scores, data):
    truth = data.draw(arrays(np.bool_, scores.shape))
    truth[:, 0] = True
    distinct = scores + np.linspace(0, 1e-3, scores.size).reshape(scores.shape)
    expected = label_ranking_average_precision_score(truth, distinct)
    found = average_precision(distinct, truth)
    assert found.mean() == pytest.approx(expected)
    assert (average_precision(scores, truth) <= found + 1e-12).all()  # ties are ordered worst first


@settings(max_examples=30)
@given(st.integers(1, 20), st.integers(1, 30), st.integers(1, 7), st.integers(0, 10**6))
def test_streaming_agrees_with_the_whole_matrix(queries, candidates, chunk, seed):
    rng = np.random.default_rng(seed)
    left, right = rng.integers(-2, 3, (queries, 4)), rng.integers(-2, 3, (candidates, 4))
    target = rng.integers(-1, candidates, queries)
    whole = ranks(left @ right.T, target)
    assert ranks_streaming(left, right, target, chunk=chunk).tolist() == whole.tolist()


def test_the_chunk_keeps_similarities_within_the_budget(monkeypatch):
    sizes = []
    real = retrieval.ranks
    monkeypatch.setattr(retrieval, "ranks", lambda block, *a: sizes.append(block.nbytes) or real(block, *a))
    monkeypatch.setattr(retrieval, "CHUNK_BYTES", 4000)
    x = np.random.default_rng(0).normal(size=(100, 8)).astype(np.float32)
    assert ranks_streaming(x, x, np.arange(100)).shape == (100,)
    assert max(sizes) <= 4000
    assert len(sizes) == 10


def test_reference_reciprocal_ranks():
    """The published ranking loop; a query whose url is not among the candidates counts 0."""
    v = reference("cocosoda_eval")
    place = {url: index for index, url in enumerate(v["code_urls"].tolist())}
    target = [place.get(url, -1) for url in v["query_urls"].tolist()]
    rank = ranks_streaming(v["nl"], v["code"], target)
    found = retrieval_metrics(rank, (1, 5, 10), mrr_cutoff=int(v["cutoff"]))
    np.testing.assert_allclose(reciprocal(rank, int(v["cutoff"])), v["reciprocal_ranks"], atol=1e-12)
    assert found["mrr"] == pytest.approx(float(v["mrr"]), abs=1e-12)
    assert [round(found[f"r@{k}"], 3) for k in (1, 5, 10)] == [float(v[f"r{k}"]) for k in (1, 5, 10)]


@pytest.mark.parametrize("chunk", [None, 5])
def test_reference_map_at_r(chunk):
    v = reference("cocosoda_poj104")
    found = map_at_r(v["vecs"], v["labels"], chunk=chunk)
    np.testing.assert_allclose(found, v["ap"], atol=1e-12)
    assert found.mean() == pytest.approx(float(v["map"]), abs=1e-12)


def test_a_constant_scorer_is_average_at_best():
    rank = ranks(np.zeros((10, 11)), np.arange(10))
    assert rank.tolist() == [6.0] * 10
    assert map_at_r(np.ones((4, 2)), [0, 0, 1, 1]).tolist() == [0.0] * 4


def test_absent_candidates_have_infinite_rank():
    assert ranks([[1.0, 2.0]], [-1]).tolist() == [np.inf]
    assert retrieval_metrics([np.inf, 1]) == {"mrr": 0.5, "r@1": 0.5, "r@5": 0.5, "r@10": 0.5}


def test_tensors_of_any_precision_are_read():
    scores = torch.tensor([[0.25, 0.5]], dtype=torch.bfloat16, requires_grad=True)
    assert ranks(scores, torch.tensor([0])).tolist() == [2.0]
    eye = torch.eye(3, dtype=torch.float16)
    assert ranks_streaming(eye, eye, torch.arange(3)).tolist() == [1.0] * 3


def test_no_relevant_candidate_is_nan():
    assert np.isnan(average_precision([[1.0, 2.0]], [[False, False]]))[0]
    assert np.isnan(map_at_r([[1.0], [2.0]], ["a", "b"])).all()


def test_nothing_to_rank():
    assert ranks(np.zeros((0, 3)), np.zeros(0)).shape == (0,)
    assert ranks_streaming(np.zeros((0, 3)), np.zeros((2, 3)), []).shape == (0,)
    assert ranks(np.zeros((2, 0)), [-1, -1]).tolist() == [np.inf, np.inf]


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: ranks(np.zeros((2, 3)), [0]), r"\(Q, C\) and \(Q,\)"),
        (lambda: ranks(np.zeros((1, 3)), [3]), r"-1 \(absent\) to 2"),
        (lambda: ranks([[np.nan, 1.0]], [0]), "1 NaN"),
        (lambda: ranks_streaming(np.zeros((2, 3)), np.zeros((2, 4)), [0, 0]), r"\(Q, d\) and \(C, d\)"),
        (lambda: average_precision(np.zeros((2, 3)), np.zeros((2, 2))), r"both \(Q, C\)"),
        (lambda: map_at_r(np.zeros((2, 3)), [0]), r"\(N, d\) and \(N,\)"),
        (lambda: retrieval_metrics([]), "no query"),
    ],
)
def test_what_does_not_fit_is_explained(call, told):
    with pytest.raises(DataError, match=told):
        call()


def test_an_unknown_tie_rule_is_refused():
    with pytest.raises(ConfigError, match="optimistic or pessimistic"):
        ranks([[1.0]], [0], "best")  # type: ignore[arg-type]
