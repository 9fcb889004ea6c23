"""Which functions make a pair of documentation and code that is worth learning from or testing on."""

from __future__ import annotations

import re

from code_search.data.functions import Function
from code_search.data.languages import LANGUAGES

WORD = re.compile(r"[^\W_]+")
_SPECIAL = re.compile(r"https?:|www\.|<img\b|</\w+|<\w+[^<>\n]*/?>")
_DUNDER = re.compile(r"__\w+__")
MIN_LINES, MIN_WORDS, MAX_WORDS = 3, 3, 256
REASONS = (
    "not a function",
    "fewer than 3 lines",
    "test function",
    "special method or constructor",
    "no documentation",
    "documentation under 3 words",
    "documentation over 256 words",
    "documentation with a link or markup",
    "documentation not in English letters",
    "documentation occurs in the code",
)


def pair_problem(function: Function) -> str:
    """Why a function is no training or test pair; "" when it is one. The reasons are listed in ``REASONS``.

    The rules are those of CodeSearchNet and of its cleaning for GraphCodeBERT; the last one is ours: the
    query must not stand in its own candidate, whatever the spacing and case.

    >>> code = "def add(a, b):\\n    c = a + b\\n    return c"
    >>> pair_problem(Function("python", "m.py", 1, 4, "add", "add", code, "Sum of two numbers.", "", "m"))
    ''
    >>> pair_problem(Function("python", "m.py", 1, 4, "add", "add", code, "Sum.", "", "m"))
    'documentation under 3 words'
    """
    if function.kind != "function":
        return "not a function"
    if function.end - function.start < MIN_LINES - 1:
        return "fewer than 3 lines"
    if "test" in function.name.lower():
        return "test function"
    if _is_special(function):
        return "special method or constructor"
    documentation = function.documentation
    return documentation_problem(documentation) or leak_problem(documentation, function.code)


def documentation_problem(documentation: str) -> str:
    """Why a text is no query; "" when it is one."""
    if not documentation:
        return "no documentation"
    words = WORD.findall(documentation)
    if len(words) < MIN_WORDS:
        return "documentation under 3 words"
    if len(words) > MAX_WORDS:
        return "documentation over 256 words"
    if _SPECIAL.search(documentation):
        return "documentation with a link or markup"
    if not documentation.isascii():
        letters = [character for character in documentation if character.isalpha()]
        if sum(not character.isascii() for character in letters) > 0.1 * len(letters):
            return "documentation not in English letters"
    return ""


def leak_problem(documentation: str, code: str) -> str:
    """``documentation occurs in the code`` where its text or first line does, spacing and case aside."""
    haystack = "".join(code.split()).lower()
    for text in {documentation, documentation.partition("\n")[0]}:
        if len(WORD.findall(text)) >= MIN_WORDS and "".join(text.split()).lower() in haystack:
            return "documentation occurs in the code"
    return ""


def _is_special(function: Function) -> bool:
    language = LANGUAGES.get(function.language)
    if language and function.name in language.constructors:
        return True
    if _DUNDER.fullmatch(function.name):
        return True
    scope = function.qualified.rpartition(".")[0].rpartition(".")[2]
    return function.language in ("java", "cpp") and function.name.lstrip("~") == scope
