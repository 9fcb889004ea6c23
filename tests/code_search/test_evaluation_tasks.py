"""Tasks, ranks, the fitted ranking, and the numbers made of them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from code_search.benchmarks import benchmark_task
from code_search.evaluate import (
    RANKINGS,
    Task,
    Vectors,
    fit_ranker,
    rank_task,
    resampling_groups,
    sample_tasks,
)
from code_search.lexical import WordIndex
from code_search.ranker import Ranker
from code_search.scores import metrics, ranks_frame, recall_table, task_digest
from core.errors import DataError
from core.evaluation.retrieval import ranks as average_ranks


class Oracle:
    """Knows the right answer: query i and function i share a unit vector."""

    def __init__(self, task: Task) -> None:
        self.dim = len(task.candidates)
        self.of_query = dict(zip(task.queries, task.relevant))
        self.of_code = {function.code: row for row, function in enumerate(task.candidates)}

    def encode_queries(self, queries):
        return np.eye(self.dim, dtype=np.float32)[[self.of_query[query] for query in queries]]

    def encode_functions(self, functions):
        return np.eye(self.dim, dtype=np.float32)[[self.of_code[f.code] for f in functions]]


def test_three_tasks_share_queries_and_differ_in_candidates(library):
    shown, hidden, full = sample_tasks(library, n=40)
    assert shown.queries == hidden.queries == full.queries
    assert len(shown.queries) == 40 == len(shown.candidates)
    assert len(full.candidates) == len(library)
    for query, row in zip(full.queries, full.relevant):
        assert full.candidates[row].documentation.startswith(query)
    for before, after in zip(shown.candidates, hidden.candidates):
        assert after.name == "f"
        assert before.name not in after.code.replace("(", " ").replace(")", " ").split()


def test_an_encoder_never_sees_the_documentation(library, encoder):
    tasks = sample_tasks(library, n=30)
    for task in tasks:
        rank_task(task, Vectors(encoder), Ranker())
    assert encoder.seen
    assert not any(function.documentation for function in encoder.seen)
    assert all(function.source == function.code for function in encoder.seen)


def test_a_function_is_encoded_once_for_all_tasks(library, encoder):
    vectors = Vectors(encoder)
    for task in sample_tasks(library, n=30):
        rank_task(task, vectors, Ranker())
    keys = [(function.name, function.code) for function in encoder.seen]
    assert len(keys) == len(set(keys))


def test_a_perfect_encoder_ranks_everything_first_where_only_it_counts(library):
    task = sample_tasks(library, n=50)[0]
    ranks = rank_task(task, Vectors(Oracle(task)), Ranker(all={"dense": 1.0}))
    assert (ranks["dense"] == 1).all()
    assert (ranks["hybrid"] == 1).all()
    assert ranks["bm25"].mean() > 1


def test_the_baseline_knows_no_names_and_the_ranking_by_words_does(library, encoder):
    task = sample_tasks(library, n=50)[0]
    ranks = rank_task(task, Vectors(encoder), Ranker(all={"bm25": 1.0}))
    plain = WordIndex.from_texts(f.code for f in task.candidates).score_matrix(task.queries)
    assert (ranks["bm25"] == average_ranks(plain, task.relevant)).all()
    assert (ranks["lexical"] == ranks["hybrid"]).all()
    assert (ranks["lexical"] != ranks["bm25"]).any()


def test_ranks_do_not_depend_on_the_chunks_they_are_computed_in(library, encoder, monkeypatch):
    task = sample_tasks(library, n=50)[2]
    whole = rank_task(task, Vectors(encoder), Ranker())
    monkeypatch.setattr("code_search.evaluate._CHUNK_SCORES", 7 * len(task.candidates))
    parts = rank_task(task, Vectors(encoder), Ranker())
    for name in RANKINGS:
        assert (whole[name] == parts[name]).all()


def test_the_fit_trusts_a_perfect_encoder_and_not_a_blind_one(library):
    shown, hidden, _ = sample_tasks(library, n=60)
    both = replace(shown, candidates=shown.candidates + hidden.candidates)

    class Perfect(Oracle):
        def encode_functions(self, functions):
            rows = [self.of_code[f.code] % len(shown.candidates) for f in functions]
            return np.eye(self.dim, dtype=np.float32)[rows]

    class Blind(Oracle):
        def encode_functions(self, functions):
            rng = np.random.default_rng(0)
            return rng.standard_normal((len(functions), self.dim)).astype(np.float32)

    best, mrr = fit_ranker(library, Vectors(Perfect(both)), n=60)
    assert mrr["all"] == mrr["without bm25"] == 1.0
    assert mrr["words"] < 1
    assert best.all["dense"] > 10
    blind, found = fit_ranker(library, Vectors(Blind(both)), n=60)
    assert blind.all["dense"] < best.all["dense"] / 10
    assert found["without bm25"] < found["words"]  # nothing but the blind encoder


def test_groups_are_repositories_or_else_modules(library):
    assert set(resampling_groups(library)) == {function.path.removesuffix(".py") for function in library}
    two = [replace(library[0], group="a"), replace(library[1], group="b")]
    assert resampling_groups(two) == ["a", "b"]


def test_metrics_hold_every_ranking_and_task_with_an_interval_around_the_value(library, encoder):
    tasks = sample_tasks(library, n=40)
    ranks = [rank_task(task, Vectors(encoder), Ranker()) for task in tasks]
    found = metrics(tasks, ranks, samples=200)
    for task in tasks:
        for name in RANKINGS:
            one = found[f"mrr_{name}_{task.name}"]
            assert 0 <= one["low"] <= one["value"] <= one["high"] <= 1
            assert one["n"] == 40
            assert one["baseline"] == (name == "bm25")
        gain = found[f"gain_{task.name}"]["value"]
        difference = found[f"mrr_hybrid_{task.name}"]["value"] - found[f"mrr_bm25_{task.name}"]["value"]
        assert gain == pytest.approx(difference)


def test_a_reciprocal_rank_beyond_the_cutoff_counts_zero_in_metrics_and_table(library):
    task = replace(sample_tasks(library, n=40)[0], cutoff=5)
    ranks = {name: np.array([1.0, 5.0] + [6.0] * 38) for name in RANKINGS}
    value = (1 + 1 / 5) / 40
    assert metrics([task], [ranks], samples=100)["mrr_dense_shown"]["value"] == pytest.approx(value)
    row = recall_table([task], [ranks])["rows"][1]
    assert row[3:] == [round(value, 4), 1 / 40, 2 / 40, 1.0]


def test_ranks_frame_has_a_row_for_each_query_with_its_place(library, encoder):
    tasks = sample_tasks(library, n=10)
    table = ranks_frame(tasks, [rank_task(task, Vectors(encoder), Ranker()) for task in tasks])
    assert len(table) == 30
    row = table[table.task == "full"].iloc[0]
    assert row.function == tasks[2].candidates[tasks[2].relevant[0]].id
    assert row.hybrid >= 1


def test_the_evaluation_digest_changes_with_queries_candidates_and_protocol(library):
    task = sample_tasks(library, n=10)[0]
    changed = [
        replace(task, queries=[*task.queries[:-1], "another query"]),
        replace(task, candidates=[*task.candidates[:-1], library[0]]),
        replace(task, cutoff=1000),
    ]
    digests = {task_digest(one) for one in [task, *changed]}
    assert len(digests) == 4
    assert task_digest(task) == task_digest(replace(task))


def test_a_benchmark_folder_becomes_a_task(tmp_path):
    home = tmp_path / "CodeXGLUE-set" / "python"
    home.mkdir(parents=True)
    rows = [
        {
            "url": f"https://github.com/a/r{row // 2}/blob/0/m.py#L{row}-L{row + 2}",
            "code": f"def work_{row}(x):\n    return x + {row}",
            "docstring_tokens": ["add", "number", str(row)],
            "language": "python",
        }
        for row in range(6)
    ]
    (home / "test.jsonl").write_text("\n".join(map(json.dumps, rows)))
    task = benchmark_task(home)
    assert task.name == "codexglue_set_python"
    assert task.queries[3] == "add number 3"
    assert task.candidates[task.relevant[3]].name == "work_3"
    assert task.groups == ["a/r0", "a/r0", "a/r1", "a/r1", "a/r2", "a/r2"]
    assert task.cutoff == 1000


def test_a_missing_benchmark_is_named(tmp_path):
    with pytest.raises(DataError, match=r"test\.jsonl"):
        benchmark_task(tmp_path)
