"""A corpus of made-up functions whose code and prose share no word, so that retrieval has to be learned."""

from __future__ import annotations

import random

from code_search.data.functions import Function

VERBS = ["read", "write", "close", "parse", "sort", "merge", "count", "find", "remove", "split"]
THINGS = ["file", "header", "matrix", "token", "user", "image", "graph", "socket", "buffer", "record"]


def made_up_functions(count: int, group: str, seed: int = 0) -> list[Function]:
    """Functions of one group; their words are those of the documentation, spelled backwards."""
    rng = random.Random(f"{seed}{group}")
    found = []
    for number in range(count):
        verb, thing, other = rng.choice(VERBS), rng.choice(THINGS), rng.choice(THINGS)
        do, what, to = verb[::-1], thing[::-1], other[::-1]
        code = f"def {do}_{what}(self, {to}):\n    {what} = self.{do}({to})\n    return {what}"
        found.append(
            Function(
                "python", f"{group}/m{number}.py", 1, 4, f"{do}_{what}", f"{do}_{what}", code,
                f"{verb.title()} the {thing} with the {other}.", code, group,
            )
        )  # fmt: skip
    return found
