"""Functions are found in every language, with exact lines, and without their documentation in the code."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from code_search.data.extract import extract_functions, strip_comments
from code_search.data.functions import COLUMNS, from_table, to_table
from code_search.data.languages import LANGUAGES, language_of
from code_search.data.repository import read_repository
from core.errors import DataError

sys.path.insert(0, str(Path(__file__).parent))
from languages_golden import GOLDEN


def extract(code: str | bytes, language: str = "python"):
    data = code.encode() if isinstance(code, str) else code
    return extract_functions(data, language, "file", "group")


def test_golden_repository_in_every_language(tmp_path):
    assert set(GOLDEN) == set(LANGUAGES)
    for path, text, _ in GOLDEN.values():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    functions, skipped = read_repository(tmp_path)
    found: dict[str, list] = {}
    for function in functions:
        found.setdefault(function.language, []).append(function)
        assert function.group == tmp_path.name
    for language, (path, text, expected) in GOLDEN.items():
        seen = [(f.id, f.kind, f.qualified, f.documentation) for f in found[language]]
        assert seen == expected, language
        lines = text.splitlines()
        for function in found[language]:
            assert function.path == path
            assert "SECRET" not in function.code, language
            assert function.code[:8] in lines[function.start - 1]
            assert function.source.split("\n")[-1].strip(" ;") in lines[function.end - 1]
    assert skipped == []


@pytest.mark.parametrize("language", GOLDEN)
def test_code_parses_by_itself_and_holds_no_comment(language):
    for function in extract(GOLDEN[language][1], language).functions:
        assert strip_comments(function.code, language) == function.code


def test_every_extension_has_one_language():
    assert language_of("a/B.PY") == "python"
    assert language_of("Makefile") is None
    assert language_of("a.tsx") == "tsx"


def test_source_keeps_what_code_loses():
    function = extract(GOLDEN["javascript"][1], "javascript").functions[0]
    assert function.source.startswith("/** Adds two numbers.")
    assert "// SECRET" in function.source


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_line_ends_and_byte_order_mark_change_nothing(end, mark):
    text = GOLDEN["python"][1]
    result = extract(mark + text.replace("\n", end).encode())
    plain = extract(text)
    assert [(f.id, f.code, f.documentation) for f in result.functions] == [
        (f.id, f.code, f.documentation) for f in plain.functions
    ]
    assert result.status == "ok"
    assert result.reason == ""


def test_tabs():
    function = extract("class A:\n\tdef f(self):\n\t\t'Doc words here.'\n\t\treturn 1\n").functions[0]
    assert function.code == "def f(self):\n\treturn 1"


def test_latin_1_is_read_and_said():
    result = extract("def größe():\n    'Die Größe.'\n    return 'ä'\n".encode("latin-1"))
    assert result.functions[0].name == "größe"
    assert result.functions[0].documentation == "Die Größe."
    assert result.reason == "not UTF-8: read as latin-1"


def test_declared_encoding_is_used():
    result = extract("# -*- coding: koi8-r -*-\ndef f():\n    'Привет'\n    return 1\n".encode("koi8-r"))
    assert result.functions[0].documentation == "Привет"
    assert result.reason == "not UTF-8: read as koi8-r"


def test_utf_16():
    result = extract("def f():\n    'Doc.'\n    return 'é'\n".encode("utf-16"))
    assert result.functions[0].code == "def f():\n    return 'é'"


def test_non_ascii_before_a_function_does_not_shift_it():
    result = extract(
        "x = '日本語 ünïcode'\n\ndef überprüfe(größe):\n    '''Prüft 日本.'''\n    return größe\n"
    )
    function = result.functions[0]
    assert (function.start, function.end, function.name) == (3, 5, "überprüfe")
    assert function.code == "def überprüfe(größe):\n    return größe"
    assert function.documentation == "Prüft 日本."


def test_syntax_errors_keep_what_parses():
    result = extract("def good():\n    return 1\n\ndef bad(:\n  )))\n\ndef fine():\n    return 2\n")
    assert {"good", "fine"} <= {f.name for f in result.functions}
    assert result.status == "partial"
    assert "syntax errors" in result.reason


def test_python_2():
    code = (
        "def f(x):\n    '''Print it all.'''\n    print x\n"
        "    try:\n        pass\n    except E, e:\n        exec 'a' in b\n"
    )
    function = extract(code).functions[0]
    assert function.name == "f"
    assert function.documentation == "Print it all."
    assert "Print it all" not in function.code


@pytest.mark.parametrize("junk", [b"", b"\n\n", b"\x00\x01\x02", b"(((((", b"\xff\xfe", b"def", b"'" * 9999])
@pytest.mark.parametrize("language", ["python", "cpp", "ruby", "php"])
def test_junk_gives_no_crash(junk, language):
    assert extract(junk, language).status in ("ok", "partial")


def test_deep_nesting():
    result = extract("def f():\n    return " + "(" * 3000 + ")" * 3000 + "\n")
    assert result.functions[0].name == "f"


def test_body_of_only_a_docstring_still_parses():
    functions = extract(
        'def a(): "Doc."\n\ndef b():\n    """Doc."""\n\ndef c():\n    """Doc."""; return 1\n'
    ).functions
    assert [f.code for f in functions] == ["def a(): pass", "def b():\n    pass", "def c():\n    return 1"]
    for function in functions:
        ast.parse(function.code)


def test_strings_that_look_like_comments_stay():
    code = "def f():\n    return '# not a comment', \"// neither\", '''\n    # nor this\n'''"
    assert extract(code).functions[0].code == code


def test_only_a_comment_right_above_belongs_to_the_function():
    code = (
        "// Far away.\n\nfunction a() { return 1; }\n"
        "let x = 1; // Beside another.\nfunction b() { return 2; }\n"
    )
    assert [f.documentation for f in extract(code, "javascript").functions] == ["", ""]


def test_removed_comment_does_not_join_words():
    code = "function f() { return/* now */1; }"
    assert extract(code, "javascript").functions[0].code == "function f() { return 1; }"


def test_documented_only():
    code = b"def a():\n    return 1\n\ndef b():\n    'Doc of b.'\n    return 2\n"
    result = extract_functions(code, "python", "m.py", documented_only=True)
    assert [f.name for f in result.functions] == ["b"]


def test_strip_comments_of_a_method_alone():
    assert (
        strip_comments("public function f() { return 1; // one\n}", "php")
        == "public function f() { return 1;\n}"
    )
    assert strip_comments("def f(:", "python") is None


def test_unknown_language():
    with pytest.raises(DataError, match="unknown language: saw 'cobol'"):
        extract("x", "cobol")


def test_table_round_trip(tmp_path):
    functions = extract(GOLDEN["python"][1]).functions
    table = to_table(functions)
    assert list(table.columns) == ["id", *COLUMNS]
    table.to_parquet(tmp_path / "t.parquet")
    import pandas as pd

    assert from_table(pd.read_parquet(tmp_path / "t.parquet")) == functions
    assert list(to_table([]).columns) == ["id", *COLUMNS]
    with pytest.raises(DataError, match="lacks columns"):
        from_table(table.drop(columns="code"))
