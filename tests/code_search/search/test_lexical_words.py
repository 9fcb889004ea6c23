"""Words of code and English, and BM25 over them, against bm25s's own index and a slow reference."""

from __future__ import annotations

import math

import bm25s
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from code_search.lexical import STOP_WORDS, WordIndex, combine, count_words, split_identifier, words

TEXTS = [
    "def read_csv(path): return rows",
    "def writeCSV(path, rows): rows rows rows",
    "close the socket",
    "",
    "HTTPServer2 reads HTTP requests from a socket",
]


@pytest.mark.parametrize(
    ("identifier", "parts"),
    [
        ("camelCase", ["camel", "case"]),
        ("PascalCase", ["pascal", "case"]),
        ("HTTPServer", ["http", "server"]),
        ("parseHTTP2Frame", ["parse", "http", "2", "frame"]),
        ("__init__", ["init"]),
        ("SCREAMING_SNAKE", ["screaming", "snake"]),
        ("utf8", ["utf", "8"]),
        ("naïveBayes", ["naïvebayes"]),
        ("变量_名", ["变量", "名"]),
        ("___", []),
    ],
)
def test_identifiers_split_at_case_underscore_and_digits(identifier, parts):
    assert split_identifier(identifier) == parts


def test_query_and_code_meet_in_their_stems():
    assert set(words("parsing the dates")) <= set(words("def parseDate(self): ..."))
    assert not STOP_WORDS & set(words("The file is in a folder"))


def test_scores_equal_those_of_bm25s():
    theirs = bm25s.BM25(k1=1.5, b=0.75, method="lucene")
    theirs.index([words(text) for text in TEXTS], show_progress=False)
    ours = WordIndex.from_texts(TEXTS)
    for query in ("read rows", "rows rows socket", "HTTP"):
        np.testing.assert_allclose(ours.scores(query), theirs.get_scores(words(query)), atol=1e-5)


def test_scores_equal_the_formula():
    documents = [words(text) for text in TEXTS]
    mean = sum(map(len, documents)) / len(documents)
    expected = []
    for document in documents:
        total = 0.0
        for word in words("socket reads rows"):
            frequency = sum(word in other for other in documents)
            idf = math.log(1 + (len(documents) - frequency + 0.5) / (frequency + 0.5))
            times = document.count(word)
            total += idf * times / (times + 1.5 * (0.25 + 0.75 * len(document) / mean))
        expected.append(total)
    np.testing.assert_allclose(WordIndex.from_texts(TEXTS).scores("socket reads rows"), expected, rtol=1e-5)


def test_contributions_add_up_to_the_score():
    index = WordIndex.from_texts(TEXTS)
    for document in range(len(TEXTS)):
        parts = index.contributions("read rows socket socket", document)
        assert sum(parts.values()) == pytest.approx(
            float(index.scores("read rows socket socket")[document]), abs=2e-3
        )


def test_nothing_known_scores_nothing():
    index = WordIndex.from_texts(TEXTS)
    assert not index.scores("zebra").any()
    assert not index.scores("the of").any()
    assert index.contributions("zebra", 0) == {}
    assert WordIndex.from_texts([]).scores("read").shape == (0,)
    assert not WordIndex.from_texts(["", "the"]).scores("read").any()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.lists(st.sampled_from(["open", "read", "file", "row", "x1", "Größe"]), max_size=6), max_size=8
    ),
    st.data(),
)
def test_combining_is_counting_afresh(documents, data):
    texts = [" ".join(document) for document in documents]
    kept = data.draw(st.lists(st.sampled_from(range(len(texts))), unique=True) if texts else st.just([]))
    added = ["open window", "read read"]
    places = np.full(len(texts), -1)
    for place, document in enumerate(kept):
        places[document] = place
    joined = combine(
        [(count_words(texts), places), (count_words(added), np.arange(len(kept), len(kept) + 2))],
        len(kept) + 2,
    )
    fresh = count_words([texts[document] for document in kept] + added)
    assert sorted(joined.vocabulary) == sorted(fresh.vocabulary)
    for query in ("open file", "read row", "Größe"):
        np.testing.assert_allclose(WordIndex(joined).scores(query), WordIndex(fresh).scores(query), rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("hidden", "published"), [(False, 0.534), (True, 0.425)])
def test_standard_library_reaches_the_published_mrr(standard_library_pairs, hidden, published):
    from code_search.data.duplicates import exact_key
    from code_search.data.sample import evaluation_sample
    from core.evaluation.retrieval import ranks

    unique = {exact_key(pair.code): pair for pair in reversed(standard_library_pairs.functions)}
    sample = evaluation_sample(list(unique.values())[::-1], hide_name=hidden)
    assert len(sample.queries) == 1000
    index = WordIndex.from_texts(function.code for function in sample.functions)
    found = ranks(index.score_matrix(sample.queries), np.arange(1000))
    assert np.mean(1 / np.asarray(found)) == pytest.approx(published, abs=0.02)
