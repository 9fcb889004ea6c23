"""The evaluation sample: one query a function, every function of the sample a candidate."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from code_search.data.functions import Function

_SUBTOKEN = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
HIDDEN_NAME = "f"


@dataclass(frozen=True)
class Sample:
    """Query ``i`` asks for function ``i``; the pool is all functions."""

    queries: list[str]
    functions: list[Function]


def evaluation_sample(
    functions: Sequence[Function], n: int = 1000, seed: int = 0, *, hide_name: bool = False
) -> Sample:
    """Draw up to ``n`` query and function pairs.

    Rows whose documentation's first line has at least three sub-tokens are shuffled with
    ``random.Random(seed)``; the first ``n`` with distinct first lines (case aside) are taken. The query is
    that first line, the candidate is the function without its documentation.

    Args:
        functions: in a stable order (by path and line), or the draw is another one.
        n: size; fewer where there are not so many.
        seed: of the shuffle.
        hide_name: replace the function's own name by ``f`` everywhere in its code.

    >>> code, text = "def area(r): return r", "Area of a circle."
    >>> f = Function("python", "a.py", 1, 2, "area", "area", code, text, "", "a")
    >>> sample = evaluation_sample([f], hide_name=True)
    >>> sample.queries, sample.functions[0].code
    (['Area of a circle.'], 'def f(r): return r')
    """
    rows = [f for f in functions if len(_SUBTOKEN.findall(_first_line(f))) >= 3]
    random.Random(seed).shuffle(rows)
    taken: dict[str, Function] = {}
    for function in rows:
        if len(taken) == n:
            break
        taken.setdefault(_first_line(function).lower(), function)
    chosen = list(taken.values())
    queries = [_first_line(f) for f in chosen]
    return Sample(queries, [hide_own_name(f) for f in chosen] if hide_name else chosen)


def hide_own_name(function: Function) -> Function:
    """The function with its own name replaced by ``f`` wherever it stands as a word of its code."""
    if not function.name:
        return function
    whole_word = re.compile(rf"(?<!\w){re.escape(function.name)}(?!\w)")
    return replace(
        function, name=HIDDEN_NAME, qualified=HIDDEN_NAME, code=whole_word.sub(HIDDEN_NAME, function.code)
    )


def _first_line(function: Function) -> str:
    return function.documentation.partition("\n")[0].strip()
