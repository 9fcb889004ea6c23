"""Renaming keeps the meaning, can be undone, and touches nothing that others see."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from code_search.data.languages import parse_alone
from code_search.data.mutate import local_variables, rename, rename_variables

FUNCTIONS = {
    "python": """def f(a, b=1, *rest, key=2):
    c = [x for x in a if x]
    for i, y in enumerate(c):
        b += y.i + g(b=i)
    return f'{c}' + str(b) + max(rest, key=key)""",
    "javascript": """function f(a, {b}, ...rest) {
  const x = a + 1;
  for (const y of rest) { x.y = y }
  return {x, a: x}
}""",
    "typescript": "function f(a: number, b?: string): number { let c = a; return c }",
    "tsx": "const C = (p: P) => { const q = p.q; return <div a={q}>{q}</div> }",
    "java": """int f(int a, List<String> xs) {
  int b = a;
  for (String s : xs) { b += s.length(); }
  return this.b + b;
}""",
    "go": """func f(xs []int, n int) (out int) {
	for i, x := range xs { out += x * i }
	p := P{n: n}
	return p.n
}""",
    "php": """function f($a, $b = 1) {
  $c = $a;
  foreach ($a as $k => $v) { $c[$k] = $v; $this->x = 1; }
  return $c;
}""",
    "ruby": "def f(a, b = 1)\n  c = a\n  a.each { |x| c += x.c }\n  c\nend",
    "c": "int f(int a, char *b) { int c = a, *d = &c; int e[3]; s.c = c; return c + *d; }",
    "cpp": "int f(const A& a) { auto x = a.x; for (auto y : v) x += y; return x; }",
    "rust": "fn f(a: &[i32], mut b: i32) -> i32 { let mut c = 0; for x in a.iter() { c += x; } b + c }",
}
NAMES = {
    "python": ["a", "rest", "c", "x", "i", "y"],
    "javascript": ["a", "rest", "y"],
    "typescript": ["a", "b", "c"],
    "tsx": ["p", "q"],
    "java": ["a", "xs", "b", "s"],
    "go": ["xs", "out", "i", "x", "p"],
    "php": ["$a", "$b", "$c", "$k", "$v"],
    "ruby": ["a", "b", "c", "x"],
    "c": ["a", "b", "c", "d", "e"],
    "cpp": ["a", "x", "y"],
    "rust": ["a", "b", "c", "x"],
}


@pytest.mark.parametrize("language", FUNCTIONS)
def test_renaming_in_every_language(language):
    code = FUNCTIONS[language]
    assert local_variables(code, language) == NAMES[language]
    for k in (0, 1, 2, None):
        renamed, mapping = rename_variables(code, language, k, seed=1)
        assert len(mapping) == min(len(NAMES[language]), 99 if k is None else k)
        assert not parse_alone(renamed, language)[0].has_error
        assert rename(renamed, language, {new: old for old, new in mapping.items()}) == code
        assert len(set(mapping.values())) == len(mapping)
        assert (renamed == code) == (k == 0)


def test_members_stay():
    assert ".c" in rename_variables(FUNCTIONS["ruby"], "ruby", None)[0]
    assert "this.b" in rename_variables(FUNCTIONS["java"], "java", None)[0]
    assert "$this->x" in rename_variables(FUNCTIONS["php"], "php", None)[0]


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("def f(self, cls): return self", []),
        ("def f(x): return locals()", []),
        ("def f(x):\n    global y\n    y = x", ["x"]),
        ("def f(x):\n    import os\n    return os.path(x)", ["x"]),
        ("def f(x=x): return x", []),
        ("def f(x):\n    class A:\n        y = x\n    return A.y", ["x"]),
        ("def f(x): print x", []),
        ("def f(", []),
        ("", []),
    ],
)
def test_what_python_keeps(code, names):
    assert local_variables(code, "python") == names


def test_result_is_the_same():
    code = FUNCTIONS["python"].replace("g(b=i)", "i").replace("y.i", "y")
    renamed, mapping = rename_variables(code, "python", None)
    assert len(mapping) == 7
    results = []
    for text in (code, renamed):
        scope: dict = {}
        exec(text, scope)
        results.append(scope["f"]([3, 0, 5], 2, "7", "9", key=int))
    assert results[0] == results[1]


IDENTIFIER = st.sampled_from(["total", "row", "rows", "größe", "v0", "x"])


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(IDENTIFIER, IDENTIFIER), min_size=1, max_size=6), st.integers(0, 5), st.integers(0, 99)
)
def test_bijection(assignments, k, seed):
    body = "\n".join(f"    {left} = {right}.row + len({right!r})" for left, right in assignments)
    code = f"def f(x, row, total):\n{body}\n    return x"
    renamed, mapping = rename_variables(code, "python", k, seed)
    assert rename(renamed, "python", {new: old for old, new in mapping.items()}) == code
    kinds = [[type(node) for node in ast.walk(ast.parse(text))] for text in (code, renamed)]
    assert kinds[0] == kinds[1]
    assert rename_variables(code, "python", k, seed)[0] == renamed
