"""Two clips become one: one after the other, the other way round, or at the same time."""

from __future__ import annotations

from typing import Literal

import numpy as np

from core.errors import DataError

Relation = Literal["before", "reversed", "while"]
RELATIONS: tuple[Relation, ...] = ("before", "reversed", "while")
"""The views of a pair (a, b), in the order of the temporal objective's rows."""


def compose(a: np.ndarray, b: np.ndarray, relation: Relation, *, overlay: str = "pad") -> np.ndarray:
    """Put two mono clips together.

    ``before`` is a and then b, ``reversed`` b and then a, ``while`` their sum. Nothing is cropped: a clip
    of 5 s before one of 5 s lasts 10 s. Sums may leave -1..1 and are not clipped.

    Args:
        a: (A,) samples. b: (B,) samples of the same rate, any float or integer type.
        relation: see above.
        overlay: length of a sum: that of the longer clip, the shorter filled with silence (``pad``), or
            that of a, b cut or filled (``first``).

    Raises:
        DataError: not mono, an empty clip, or an unknown word.

    Source: Sinha et al., "TeminAL", arXiv 2408.09269.

    >>> a, b = np.array([1.0, 2.0, 3.0]), np.array([10.0, 20.0])
    >>> [compose(a, b, relation).tolist() for relation in RELATIONS]
    [[1.0, 2.0, 3.0, 10.0, 20.0], [10.0, 20.0, 1.0, 2.0, 3.0], [11.0, 22.0, 3.0]]
    """
    for name, clip in (("a", a), ("b", b)):
        if clip.ndim != 1 or not len(clip):
            raise DataError(
                f"clip {name} to compose", seen=clip.shape, expected="(samples,), mono, not empty"
            )
    if relation == "before":
        return np.concatenate([a, b])
    if relation == "reversed":
        return np.concatenate([b, a])
    if relation != "while" or overlay not in ("pad", "first"):
        raise DataError(
            "(relation, overlay)", seen=(relation, overlay), expected=f"one of {RELATIONS}, and pad or first"
        )
    length = len(a) if overlay == "first" else max(len(a), len(b))
    mixed = np.zeros(length, np.result_type(a, b))
    mixed[: len(a)] += a[:length]
    mixed[: len(b)] += b[:length]
    return mixed
