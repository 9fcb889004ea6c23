"""A small corpus with words to learn, and encoders over it."""

from __future__ import annotations

import random

import pytest

from code_search.data.functions import Function

VERBS = ["read", "write", "close", "parse", "sort", "merge", "count", "find", "remove", "split"]
THINGS = ["file", "header", "matrix", "token", "user", "image", "graph", "socket", "buffer", "record"]


def make_functions(count: int, group: str, seed: int = 0) -> list[Function]:
    rng = random.Random(f"{seed}{group}")
    found = []
    for number in range(count):
        verb, thing, other = rng.choice(VERBS), rng.choice(THINGS), rng.choice(THINGS)
        do, what, to = (
            verb[::-1],
            thing[::-1],
            other[::-1],
        )  # code and prose share no word: it must be learned
        code = f"def {do}_{what}(self, {to}):\n    {what} = self.{do}({to})\n    return {what}"
        found.append(
            Function(
                "python", f"{group}/m{number}.py", 1, 4, f"{do}_{what}", f"{do}_{what}", code,
                f"{verb.title()} the {thing} with the {other}.", code, group,
            )
        )  # fmt: skip
    return found


@pytest.fixture(scope="session")
def functions() -> list[Function]:
    return make_functions(240, "train")


@pytest.fixture(scope="session")
def held_out() -> list[Function]:
    return make_functions(60, "valid")
