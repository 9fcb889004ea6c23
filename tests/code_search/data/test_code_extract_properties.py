"""Whatever the documentation and the comments say, the code does not say it, and it means the same."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from code_search.data.extract import extract_functions, strip_comments

WORDS = st.text(
    st.characters(exclude_categories=["C", "Z"], exclude_characters="\"'\\*/`%{}"), min_size=1, max_size=8
)
SENTENCE = st.lists(WORDS, min_size=3, max_size=8).map(lambda words: " ".join(["QUERY", *words]))
STATEMENT = st.sampled_from(
    [
        "x = 1",
        "x = '# no comment'",
        "y = [1,\n{i}     2]",
        "if x:\n{i}    y = 2",
        "return '''a\n# b\n'''",
        "g(x)",
        "pass",
    ]
)
BODY = st.lists(st.tuples(STATEMENT, st.booleans(), SENTENCE), min_size=1, max_size=6)
QUOTES = st.sampled_from(['"""', "'''"])
SETTINGS = settings(max_examples=60, deadline=None, derandomize=True)


def without_docstring(tree: ast.AST) -> str:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.dump(tree)


@SETTINGS
@given(
    SENTENCE,
    SENTENCE,
    BODY,
    QUOTES,
    st.sampled_from(["", "r", "R"]),
    st.booleans(),
    st.sampled_from(["\n", "\r\n"]),
)
def test_python(first, second, body, quotes, prefix, method, end):
    indent = "    " if method else ""
    inner = indent + "    "
    lines = [f"{indent}def work(x):", f"{inner}{prefix}{quotes}{first}\n\n{inner}{second}{quotes}"]
    for statement, beside, comment in body:
        lines.append(
            f"{inner}{statement.format(i=inner)}{'  # ' + comment if beside and ']' not in statement else ''}"
        )
        lines.append(f"{inner}# {comment}")
    lines.append(f"{inner}return x")
    text = ("class Holder:\n" if method else "") + "\n".join(lines) + "\n"
    data = text.replace("\n", end).encode()
    (function,) = extract_functions(data, "python", "m.py").functions
    assert function.documentation == first
    assert "QUERY" not in function.code
    kept = text.split("\n")[function.start - 1 : function.end]
    assert kept[0].strip() == "def work(x):"
    assert kept[-1].strip() == "return x"
    if not method:  # the dedent of a method may reach into its strings
        assert ast.dump(ast.parse(function.code)) == without_docstring(ast.parse(text))
    else:
        ast.parse(function.code)


@SETTINGS
@given(
    SENTENCE,
    st.lists(SENTENCE, min_size=1, max_size=4),
    st.sampled_from(["javascript", "java", "go", "php", "c", "rust"]),
)
def test_brace_languages(first, comments, language):
    head = {
        "javascript": "function work(x) {",
        "java": "class A {\nint work(int x) {",
        "go": "package a\nfunc work(x int) int {",
        "php": "<?php\nfunction work($x) {",
        "c": "int work(int x) {",
        "rust": "fn work(x: i32) -> i32 {",
    }[language]
    opening, _, signature = head.rpartition("\n")
    above = f"/** {first} */" if language != "go" else f"// {first}"
    inside = [f"  g(); // {comment}\n  /* {comment} */" for comment in comments]
    text = "\n".join([opening, above, signature, *inside, "}", "}" if language == "java" else ""])
    functions = extract_functions(text.encode(), language, "f").functions
    (function,) = [f for f in functions if f.name == "work"]
    assert " ".join(function.documentation.split()) == " ".join(first.split())
    assert "QUERY" not in function.code
    assert function.code.count("g();") == len(comments)
    assert strip_comments(function.code, language) == function.code


@SETTINGS
@given(st.binary(max_size=300), st.sampled_from(["python", "javascript", "ruby", "php", "cpp", "go"]))
def test_any_bytes(data, language):
    for function in extract_functions(data, language, "f").functions:
        assert 1 <= function.start <= function.end


@pytest.mark.parametrize("quote", ['"', "'"])
def test_single_quoted_docstring(quote):
    data = f"def f():\n    {quote}Read all the rows.{quote}\n    return 1\n".encode()
    function = extract_functions(data, "python", "m.py").functions[0]
    assert function.documentation == "Read all the rows."
    assert function.code == "def f():\n    return 1"
