"""The robustness protocol: renaming is a bijection, and the points say what they rest on."""

from __future__ import annotations

import ast
from dataclasses import replace

import numpy as np
import pytest

from code_search.data.functions import Function
from code_search.data.languages import parse_alone
from code_search.data.mutate import local_variables, rename, rename_variables
from code_search.evaluate import Vectors, sample_tasks
from code_search.ranker import Ranker
from code_search.robustness import robustness

SNIPPETS = {
    "python": "def total(prices, tax):\n    net = sum(prices)\n    return net * (1 + tax) + größe.net",
    "javascript": "function sum(prices, tax) { let net = 0; for (const p of prices) net += p; return net; }",
    "java": "int sum(int[] prices, int t) { int net = t; for (int p : prices) { net += p; } return net; }",
    "go": "func sum(prices []int, t int) int { net := t; for _, p := range prices { net += p }; return net }",
    "php": "function total($prices, $tax) { $net = array_sum($prices); return $net * $tax; }",
    "ruby": "def total(prices, tax)\n  net = prices.sum\n  net * tax\nend",
}


@pytest.mark.parametrize("language", SNIPPETS)
@pytest.mark.parametrize("k", [1, 2, None])
def test_renaming_parses_and_its_inverse_restores_every_byte(language, k):
    code = SNIPPETS[language]
    for seed in range(3):
        changed, mapping = rename_variables(code, language, k, seed)
        assert len(mapping) == len(set(mapping.values())) == (k or len(local_variables(code, language)))
        assert changed != code
        assert not parse_alone(changed, language)[0].has_error
        assert rename(changed, language, {new: old for old, new in mapping.items()}) == code


def test_every_function_of_a_library_is_restored_and_still_compiles(library):
    renamed = 0
    for function in library:
        changed, mapping = rename_variables(function.code, "python", None)
        renamed += len(mapping)
        ast.parse(changed)
        assert rename(changed, "python", {new: old for old, new in mapping.items()}) == function.code
    assert renamed > 200


def test_a_renamed_function_computes_the_same():
    code = "def f(values, limit):\n    found = [v for v in values if v > limit]\n    return sum(found)"
    for seed in range(4):
        changed = rename_variables(code, "python", 2, seed)[0]
        names: dict = {}
        exec(changed, names)
        assert changed != code
        assert names["f"]([1, 5, 7], 4) == 12


class OnlyKeywords:
    """Reads no names at all: renaming cannot touch it."""

    dim = 64
    words = (
        "def",
        "return",
        "for",
        "if",
        "while",
        "with",
        "try",
        "else",
        "not",
        "in",
        "is",
        "(",
        "[",
        "=",
        "+",
        "-",
    )

    def encode_queries(self, queries):
        rng = np.random.default_rng(len(queries))
        return rng.standard_normal((len(queries), len(self.words))).astype(np.float32)

    def encode_functions(self, functions):
        rows = [
            [f.code.split().count(w) + 0.001 * len(f.code.split()) for w in self.words] for f in functions
        ]
        return np.array(rows, dtype=np.float32)


def points_of(task, vectors, **kwargs):
    found = robustness(task, vectors, Ranker(), **kwargs)
    return {(p.axis, p.level, p.ranking): p for p in found}


def test_n_counts_the_functions_that_have_so_many_variables(library, encoder):
    task = sample_tasks(library, n=60)[0]
    variables = [len(local_variables(f.code, f.language)) for f in task.candidates]
    points = points_of(task, Vectors(encoder), counts=(0, 2, None), rates=(1.0,), seeds=(0,))
    assert points["count", 0, "dense"].n == 60
    assert points["count", 2, "dense"].n == sum(number >= 2 for number in variables)
    assert points["count", None, "dense"].n == sum(number >= 1 for number in variables)
    assert points["rate", 1.0, "dense"].n == sum(number >= 1 for number in variables)


def test_nothing_changes_where_nothing_is_renamed(library, encoder):
    task = sample_tasks(library, n=60)[0]
    points = points_of(task, Vectors(encoder), counts=(0,), rates=(0.0,), seeds=(0, 1))
    for point in points.values():
        assert point.mrr == point.before
        assert point.stayed == 1.0


def test_all_variables_and_rate_one_are_the_same_renaming(library, encoder):
    task = sample_tasks(library, n=60)[0]
    points = points_of(task, Vectors(encoder), counts=(None,), rates=(1.0,), seeds=(0,))
    for ranking in ("bm25", "dense", "hybrid"):
        assert points["count", None, ranking].mrr == points["rate", 1.0, ranking].mrr


def test_a_search_by_names_suffers_and_one_that_reads_none_does_not(library, encoder):
    task = sample_tasks(library, n=80)[1]
    by_names = points_of(task, Vectors(encoder), counts=(None,), rates=(), seeds=(0, 1))
    blind = points_of(task, Vectors(OnlyKeywords()), counts=(None,), rates=(), seeds=(0,))
    assert by_names["count", None, "bm25"].mrr < by_names["count", None, "bm25"].before
    assert by_names["count", None, "dense"].mrr < by_names["count", None, "dense"].before
    assert blind["count", None, "dense"].mrr == pytest.approx(blind["count", None, "dense"].before)


def test_draws_are_seeded_and_differ(library, encoder):
    task = sample_tasks(library, n=60)[0]
    first, again, other = (
        points_of(task, Vectors(encoder), counts=(1,), rates=(), seeds=seeds)["count", 1, "dense"]
        for seeds in ((0,), (0,), (5,))
    )
    assert first == again
    assert first.mrr != other.mrr


def test_a_level_that_no_function_reaches_is_left_out(encoder):
    function = Function(
        "python", "a.py", 1, 2, "f", "f", "def f():\n    return 1", "Return the one.", "", "a"
    )
    other = replace(function, start=5, end=6, code="def g():\n    return 2", documentation="Return the two.")
    task = sample_tasks([function, other], n=2)[0]
    points = robustness(task, Vectors(encoder), Ranker(), counts=(0, 8, None), rates=(1.0,), seeds=(0,))
    assert {(p.axis, p.level) for p in points} == {("count", 0)}
