"""The corpus: pair filters, duplicates, splits by group, the installed distributions, and the sample."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from code_search.data.clean import REASONS, documentation_problem, leak_problem, pair_problem
from code_search.data.corpus import EXACT, IN_TEST, NEAR, SAME_WORDS, Corpus, assemble, check_corpus
from code_search.data.duplicates import SHINGLE, exact_key, near_duplicates
from code_search.data.functions import Function
from code_search.data.installed import STDLIB, distributions, installed_corpus, standard_library
from code_search.data.manifest import manifest_corpus
from code_search.data.reading import FileGroup, Pairs, read_pairs
from code_search.data.sample import evaluation_sample
from core.errors import DataError


def function(number=0, group="a", code=None, documentation=None, name=None, **fields) -> Function:
    name = name or f"work{number}"
    body = code if code is not None else body_of(number, name)
    text = documentation if documentation is not None else f"Read table number {number} from disk."
    given_fields = {
        "language": "python",
        "path": f"{group}/m.py",
        "start": number * 10 + 1,
        "end": number * 10 + 6,
    }
    return Function(
        **{
            **given_fields,
            "name": name,
            "qualified": name,
            "code": body,
            "documentation": text,
            "source": body,
            "group": group,
            **fields,
        }
    )


def body_of(number: int, name: str) -> str:
    words = random.Random(number)
    lines = [
        f"    v{words.randrange(999)} = read{words.randrange(999)}(x, {words.randrange(999)})"
        for _ in range(6)
    ]
    return "\n".join([f"def {name}(x):", *lines, "    return x"])


@pytest.mark.parametrize(
    ("problem", "fields"),
    [
        ("", {}),
        ("not a function", {"kind": "class"}),
        ("fewer than 3 lines", {"end": 2}),
        ("test function", {"name": "check_TEST_rows"}),
        ("special method or constructor", {"name": "__eq__"}),
        ("special method or constructor", {"name": "constructor", "language": "javascript"}),
        ("special method or constructor", {"name": "Box", "qualified": "Box.Box", "language": "java"}),
        ("no documentation", {"documentation": ""}),
        ("documentation under 3 words", {"documentation": "Two words."}),
        ("documentation over 256 words", {"documentation": "word " * 257}),
        ("documentation with a link or markup", {"documentation": "See https://a.b for all the rest"}),
        ("documentation with a link or markup", {"documentation": "Shows an <img src='a'> on the page"}),
        ("documentation not in English letters", {"documentation": "Читает таблицу с диска"}),
        (
            "documentation occurs in the code",
            {"code": "def f():\n    return 'read  TABLE number 0 from disk.'\n"},
        ),
    ],
)
def test_pair_filter(problem, fields):
    assert pair_problem(function(**{"end": 6, **fields})) == problem
    assert not problem or problem in REASONS


def test_filter_takes_a_few_accents():
    assert documentation_problem("Compute the naïve Bayes posterior of a café") == ""


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from(["read", "all", "rows", "from", "disk"]), min_size=3), st.integers(0, 3))
def test_leak_is_found_in_any_layout(words, gap):
    code = f"x = '{('  ' * gap + chr(10)).join(words).upper()}'"
    assert leak_problem(" ".join(words), code)
    assert not leak_problem(" ".join([*words, "elsewhere"]), code)


def jaccard(a: str, b: str) -> float:
    import re

    sets = []
    for code in (a, b):
        tokens = re.findall(r"\w+|[^\w\s]", code) + ["<end>"] * SHINGLE
        sets.append(set(zip(*(tokens[i:] for i in range(SHINGLE)))))
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def test_near_duplicates_against_all_pairs():
    generator = random.Random(3)
    codes = []
    for number in range(25):
        lines = body_of(number, "f").split("\n") * 3
        codes.append("\n".join(lines))
        for changes in (1, 2, 5):
            changed = list(lines)
            for _ in range(changes):
                changed[generator.randrange(len(changed))] = f"    new{generator.randrange(99)} = {number}"
            codes.append("\n".join(changed))
    marked = near_duplicates(codes, 0.8)
    kept: list[str] = []
    expected = []
    for code in codes:
        expected.append(any(jaccard(code, other) >= 0.8 for other in kept))
        if not expected[-1]:
            kept.append(code)
    assert 10 < sum(expected) < 75
    assert marked.tolist() == expected


def test_near_duplicates_do_not_mind_layout_and_order_decides():
    assert near_duplicates(["f ( x )", "f(x)", "", " ", "f(x)"]).tolist() == [False, True, False, True, True]
    assert near_duplicates(["a b c", "a b c"], keep=2).tolist() == [False, False]
    assert near_duplicates([]).tolist() == []


def pairs(*functions) -> Pairs:
    return Pairs(list(functions))


def test_assemble_takes_duplicates_out_of_train_first():
    test, valid, train = function(1, "t"), function(2, "v"), function(3, "a")
    longer = "\n".join([body_of(7, "f")] * 5)
    corpus = assemble(
        test=pairs(test, replace(test, start=90, code=test.code.replace("    ", "\t"))),
        valid=pairs(valid, function(20, "v", documentation=test.documentation + " ")),
        train=pairs(
            train,
            function(4, "a", code=test.code),
            function(5, "a", code=valid.code),
            function(6, "a", documentation="read TABLE number 1\nfrom disk."),
            function(8, "a", code=longer),
            function(9, "b", code=longer + "\n    x = 1"),
        ),
    )
    assert [f.id for f in corpus.test] == [test.id]
    assert corpus.valid == [valid]
    assert [f.start for f in corpus.train] == [31, 81]
    assert {name: corpus.dropped[name] for name in (EXACT, IN_TEST, SAME_WORDS, NEAR)} == {
        EXACT: 1,
        IN_TEST: 1,
        SAME_WORDS: 2,
        NEAR: 2,
    }


def test_corpus_refuses_leaks_and_straddling_groups():
    one, two, three = function(1, "t"), function(2, "v"), function(3, "a")
    check_corpus(Corpus([three], [two], [one]))
    with pytest.raises(DataError, match="no pairs left in valid"):
        check_corpus(Corpus([three], [], [one]))
    with pytest.raises(DataError, match="more than one split: v in train and valid"):
        check_corpus(Corpus([replace(three, group="v")], [two], [one]))
    with pytest.raises(DataError, match="is also a test function"):
        check_corpus(Corpus([replace(three, code=one.code + "\n")], [two], [one]))


def test_digest_depends_on_content():
    one, two, three = function(1, "t"), function(2, "v"), function(3, "a")
    digest = Corpus([three], [two], [one]).digest()
    assert digest == Corpus([three], [two], [one]).digest()
    assert digest != Corpus([replace(three, documentation="Another text here.")], [two], [one]).digest()
    assert digest != Corpus([three, two], [], [one]).digest()


@pytest.fixture
def site(tmp_path):
    """Seven installed distributions and a standard library, as pip and Python lay them out."""
    site, stdlib = tmp_path / "site", tmp_path / "stdlib"
    for number, name in itertools.product(range(7), ["core.py", "tests/test_core.py"]):
        path = site / f"dist{number}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n\n".join(documented(number * 10 + part) for part in range(4)) + "\n")
    for number in range(7):
        info = site / f"dist{number}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: Dist_{number}\nVersion: 1.0\n")
        record = [
            f"dist{number}/core.py,sha256=x,10",
            f"dist{number}/tests/test_core.py,,",
            f"../../bin/run{number}.py,,",
        ]
        (info / "RECORD").write_text("\n".join([*record, f"dist{number}-1.0.dist-info/RECORD,,", ""]))
    stdlib.mkdir()
    (stdlib / "os.py").write_text(
        "\n\n".join(documented(900 + part) for part in range(4)) + "\n" + documented(3) + "\n"
    )
    (stdlib / "bad.py").write_bytes(b"\x00\x01")
    (stdlib / "site-packages").mkdir()
    (stdlib / "site-packages" / "no.py").write_text(documented(800))
    return site, stdlib


def documented(number: int) -> str:
    head, rest = body_of(number, f"work{number}").split("\n", 1)
    return f'{head}\n    """Read table number {number} from the disk."""\n{rest}'


def test_installed_corpus(site):
    options = {"site": [str(site[0])], "stdlib": str(site[1]), "valid_fraction": 0.3}
    corpus = installed_corpus(**options, workers=1)
    assert {f.group for f in corpus.test} == {STDLIB}
    assert len(corpus.test) == 5
    groups = {f.group for f in corpus.train}, {f.group for f in corpus.valid}
    assert len(groups[0] | groups[1]) == 7
    assert not groups[0] & groups[1]
    assert len(corpus.train) + len(corpus.valid) == 7 * 4 - 1  # one is a test function
    assert not any("test" in f.path for f in corpus.train)
    assert {(file.path, file.status) for file in corpus.files if file.status != "ok"} == {
        ("bad.py", "skipped")
    }
    assert corpus.digest() == installed_corpus(**options, workers=2).digest()
    assert len(installed_corpus(**options, max_train=6, workers=1).train) <= 6


def test_installed_corpus_needs_distributions(tmp_path, site):
    with pytest.raises(DataError, match="installed distributions"):
        installed_corpus(site=[str(tmp_path / "none")])
    with pytest.raises(DataError, match="no standard library"):
        standard_library(str(tmp_path / "none"))
    assert [group.group for group in distributions([str(site[0])])] != []


def test_reading_reports_vanished_files(tmp_path):
    (tmp_path / "a.py").write_text(documented(1))
    found = read_pairs([FileGroup("a", str(tmp_path), ["a.py", "gone.py", "a.txt", "../a.py"])], workers=1)
    assert [(f.path, f.reason) for f in found.files] == [
        ("a.py", ""),
        ("gone.py", "deleted while reading"),
        ("a.txt", "no language for this extension"),
        ("../a.py", "outside the root"),
    ]
    assert len(found.functions) == 1


def test_sample_protocol():
    functions = [function(n, documentation=f"Read table {n % 40} now.\nMore text.") for n in range(80)]
    functions.append(function(99, documentation="Two words"))
    sample = evaluation_sample(functions, n=30)
    assert len(sample.queries) == len(sample.functions) == 30
    assert len({query.lower() for query in sample.queries}) == 30
    assert all(f.documentation.startswith(query) for query, f in zip(sample.queries, sample.functions))
    assert sample == evaluation_sample(functions, n=30)
    assert sample != evaluation_sample(functions, n=30, seed=1)
    assert len(evaluation_sample(functions, n=1000).queries) == 40


def test_hidden_name_is_nowhere_in_the_code():
    code = "def area(r):\n    return area(r - 1) + self.area + areas + my_area"
    hidden = evaluation_sample([function(1, name="area", code=code)], hide_name=True).functions[0]
    assert hidden.code == "def f(r):\n    return f(r - 1) + self.f + areas + my_area"
    assert hidden.name == "f"


@pytest.mark.slow
def test_standard_library_of_this_python(standard_library_pairs):
    found = standard_library_pairs
    unique = {exact_key(f.code) for f in found.functions}
    assert len(unique) >= 6000
    assert sum(file.status == "skipped" for file in found.files) == 0
    assert all(f.end - f.start >= 2 for f in found.functions)


def repositories(root, count=4):
    rows = ["id,path,group,split"]
    for number in range(count):
        path = root / f"repo{number}" / "src" / "a.py"
        path.parent.mkdir(parents=True)
        path.write_text("\n\n".join(documented(number * 10 + part) for part in range(3)))
        (path.parent / "b.js").write_text(
            f"/** Writes row {number} out again. */\nfunction put{number}(x) {{\n  g{number}(x);\n}}\n"
        )
        (path.parent / "data.csv").write_text("a,b\n")
        (path.parent / "note.md").write_text("# Note\n")
        rows.append(f"r{number},repo{number},g{number // 2 if number < 2 else number},")
    return rows


def test_manifest_of_own_repositories(tmp_path):
    rows = repositories(tmp_path)
    manifest = tmp_path / "m.csv"
    manifest.write_text("\n".join(rows))
    corpus = manifest_corpus(manifest, root=tmp_path, workers=1)
    assert len(corpus.train + corpus.valid + corpus.test) == 4 * 4
    assert {f.path.split("/")[0] for f in corpus.train if f.group == "g0"} in (set(), {"repo0", "repo1"})
    assert {f.language for f in corpus.train} == {"python", "javascript"}
    assert {(f.path, f.reason) for f in corpus.files if f.status == "skipped"} == {
        (f"repo{number}/src/data.csv", "data, not code") for number in range(4)
    }
    only = manifest_corpus(manifest, root=tmp_path, languages=["javascript"], workers=1)
    assert {f.language for f in only.train + only.valid + only.test} == {"javascript"}


def test_manifest_with_given_splits_a_file_and_a_missing_repository(tmp_path):
    rows = repositories(tmp_path, 2)
    (tmp_path / "one.py").write_text(documented(77))
    given = ["id,path,split", "a,repo0,train", "b,one.py,valid", "c,repo1,test", "d,nowhere,train"]
    (tmp_path / "m.csv").write_text("\n".join(given))
    corpus = manifest_corpus(tmp_path / "m.csv", root=tmp_path, workers=1)
    assert [f.id for f in corpus.valid] == ["one.py:1-9"]
    assert {f.path.split("/")[0] for f in corpus.test} == {"repo1"}
    assert ("nowhere", "missing") in {(f.path, f.reason) for f in corpus.files}
    (tmp_path / "m.csv").write_text("id,path\na,../elsewhere\n")
    with pytest.raises(DataError, match="leaves the data root"):
        manifest_corpus(tmp_path / "m.csv", root=tmp_path)
    with pytest.raises(DataError, match="unknown language"):
        manifest_corpus(tmp_path / "m.csv", root=tmp_path, languages=["cobol"])
    assert rows


def test_processes_read_the_same(tmp_path, monkeypatch):
    repositories(tmp_path, 3)
    groups = [FileGroup(f"g{n}", str(tmp_path), [f"repo{n}/src/a.py", f"repo{n}/src/b.js"]) for n in range(3)]
    monkeypatch.setattr("code_search.data.reading._CHUNK_FILES", 2)
    one, two = read_pairs(groups, workers=1), read_pairs(groups, workers=2)
    assert one == two
    assert len(one.functions) == 12
    monkeypatch.setattr("code_search.data.reading._FIRST_WAVE", 1)
    capped = read_pairs(groups, workers=1, max_functions=5)
    assert capped.functions == one.functions[:5]
    assert len(capped.files) == 4


@pytest.mark.slow
def test_dask_workers_read_the_same(tmp_path, monkeypatch):
    repositories(tmp_path, 3)
    groups = [FileGroup(f"g{n}", str(tmp_path), [f"repo{n}/src/a.py", f"repo{n}/src/b.js"]) for n in range(3)]
    monkeypatch.setattr("code_search.data.reading._CHUNK_FILES", 2)
    assert read_pairs(groups, scheduler="local", workers=2) == read_pairs(groups, scheduler="serial")
