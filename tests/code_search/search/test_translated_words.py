"""The table of words that answer each other, the scores it gives, and the ranker that carries it."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from code_search.data.functions import Function
from code_search.evaluate import Task, Vectors, rank_task
from code_search.index import build_index, open_index
from code_search.index.encoder import ranker_of
from code_search.lexical import count_words, named_text, words
from code_search.prepared import table_of_words
from code_search.ranker import Ranker, WordScores, load_ranker
from code_search.translate import KAPPA, TranslatedIndex, Translation, count_pairs, learn_translation
from core.errors import CheckpointError
from core.files import write_json

THINGS = ["row", "file", "user", "page", "token", "item", "group", "image"]
VERBS = {"remove": "del {}s[0]", "count": "return len({}s)", "print": "sys.stdout.write({}s)"}
PAIRS = [(f"{verb} the {thing}", code.format(thing)) for verb, code in VERBS.items() for thing in THINGS] * 3


@pytest.fixture(scope="module")
def table():
    functions = [
        Function("python", "a.py", 1, 2, "f", "f", f"def f():\n    {code}", f"{text}. More.", "", "a")
        for text, code in PAIRS
    ]
    return table_of_words(functions)


def test_words_are_learnt_from_what_stands_beside_them(table):
    found = {verb: next(iter(table.related(words(verb)[0]))) for verb in VERBS}
    assert found == {"remove": "del", "count": "len", "print": "write"} or found["print"] in ("sys", "stdout")
    assert next(iter(table.related("page"))) == "page"
    assert "page" not in table.related("remov")
    assert table.related("never seen") == {}


def test_scores_are_those_of_the_formula(table):
    codes = ["del users[0]", "return len(users)", "users.sort()", ""]
    counts = count_words(codes)
    index = TranslatedIndex(table, counts)
    lift = np.zeros((len(table.query_words), len(table.code_words)))
    for row in range(len(lift)):
        part = slice(table.indptr[row], table.indptr[row + 1])
        lift[row, table.indices[part]] = table.data[part]
    share = np.zeros((len(codes), len(table.code_words)))
    for row, code in enumerate(codes):
        bag = Counter(words(code))
        for word, often in bag.items():
            if word in table.code_words:
                share[row, table.code_words.index(word)] = often / (sum(bag.values()) + 1)
    queries = ["remove a user", "count users users", "nothing known"]
    expected = [
        sum(np.log1p(KAPPA * share @ lift[table.rows[w]]) for w in set(words(q)) if w in table.rows)
        + np.zeros(len(codes))
        for q in queries
    ]
    np.testing.assert_allclose(index.score_matrix(queries), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose([index.scores(query) for query in queries], expected, rtol=1e-5, atol=1e-6)
    assert index.scores("remove a user").argmax() == 0
    assert sum(index.contributions(queries[0], 0).values()) == pytest.approx(expected[0][0], abs=0.01)


@pytest.mark.parametrize("pairs", [[], [("rare words here", "only = once")]])
def test_nothing_to_learn_from_gives_an_empty_table(pairs):
    index = TranslatedIndex(learn_translation(*count_pairs(pairs)), count_words(["x = 1"]))
    assert not index.scores("rare words").any()
    assert index.score_matrix(["rare", ""]).shape == (2, 1)


def test_a_table_is_kept_and_a_damaged_one_refused(table, tmp_path):
    digest = table.save(tmp_path / "table")
    again = Translation.load(tmp_path / "table", digest)
    assert (again.query_words, again.code_words) == (table.query_words, table.code_words)
    assert all(np.array_equal(getattr(again, n), getattr(table, n)) for n in ("indptr", "indices", "data"))
    content = (tmp_path / "table").read_bytes()
    (tmp_path / "table").write_bytes(content[:-1] + b"\1")
    with pytest.raises(CheckpointError, match="damaged"):
        Translation.load(tmp_path / "table", digest)
    with pytest.raises(CheckpointError, match="damaged"):
        Translation.load(tmp_path / "missing", digest)


def test_a_ranker_travels_in_the_folder_of_its_encoder(table, tmp_path):
    ranker = Ranker({"bm25": 0.5, "translation": 1.0}, {"dense": 9.0, "bm25": 0.2, "translation": 0.4}, table)
    write_json(tmp_path / "config.json", {"ranker": ranker.save(tmp_path)})
    again = load_ranker(tmp_path)
    assert (again.words, again.all, again.translation.query_words) == (
        ranker.words, ranker.all, table.query_words
    )  # fmt: skip
    assert ranker_of(None, str(tmp_path)).all == ranker.all
    assert ranker_of(None, str(tmp_path / "gone")).all == {}
    write_json(tmp_path / "config.json", {"ranker": None})
    assert load_ranker(tmp_path) is None
    with pytest.raises(CheckpointError, match="ranker"):
        Ranker.load(tmp_path, {"words": {}})


def test_a_function_without_a_vector_stands_where_its_words_put_it():
    ranker = Ranker({"bm25": 1.0}, {"dense": 2.0, "bm25": 1.0})
    parts = {"bm25": np.array([0.0, 1.0, 2.0])}
    dense, has = np.array([0.2, 0.6, 0.0]), np.array([True, True, False])
    np.testing.assert_allclose(ranker.by_all(parts, dense, has), [0.4, 2.2, 3.2], rtol=1e-6)
    np.testing.assert_allclose(ranker.by_all(parts, dense, np.zeros(3, bool)), [0, 1, 2])


def test_an_index_ranks_as_the_evaluation_does(table, repository, make_encoder):
    """The one searches the whole source and the other the code: here both are given the same text."""
    ranker = Ranker({"bm25": 0.5, "translation": 1.0}, {"dense": 3.0, "bm25": 0.2, "translation": 0.4}, table)
    encoder = make_encoder("ranked", ranker=ranker)
    build_index(repository, encoder=encoder)
    index = open_index(repository, encoder=encoder)
    names = [index.snapshot.names[row] for row in range(len(index))]
    texts = [index.snapshot.texts[row] for row in range(len(index))]
    scores = WordScores(count_words(named_text(n, f"{n}\n{t}") for n, t in zip(names, texts)), ranker)
    for query in ("count the rows of a file", "remove user", "read"):
        parts = scores.parts(query)
        found = index.search(query, top=len(index), mode="lexical")
        by_words = ranker.by_words(parts)
        assert [r.score for r in found] == pytest.approx(sorted(by_words[by_words > 0])[::-1], abs=1e-3)
        dense = index._matrix() @ encoder.encode_queries([query])[0]
        found = index.search(query, top=len(index))
        assert [r.score for r in found] == pytest.approx(sorted(ranker.by_all(parts, dense))[::-1], abs=2e-3)
        why = index.explain(query, 1)
        explained = sum(why["lexical"]["words"].values()) + sum(why["lexical"]["translated"].values())
        assert explained == pytest.approx(why["lexical"]["score"], abs=0.02)
        assert why["weights"] == ranker.all


def test_translated_words_find_what_shares_no_word(table):
    codes = ["def f(users):\n    del users[0]", "def g(users):\n    return len(users)"]
    functions = [Function("python", "a.py", 1, 2, c[4], c[4], c, "", "", "a") for c in codes]
    task = Task("t", "t", ["count them", "remove it"], [1, 0], functions, ["a", "b"])

    class Blind:
        dim = 2

        def encode_queries(self, queries):
            return np.ones((len(queries), 2), dtype=np.float32)

        encode_functions = encode_queries

    found = rank_task(task, Vectors(Blind()), Ranker({"translation": 1.0}, {"translation": 1.0}, table))
    assert found["bm25"].tolist() == [1.5, 1.5]
    assert found["lexical"].tolist() == found["hybrid"].tolist() == [1, 1]
