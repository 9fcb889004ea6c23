"""Which clips are put together: class pairs split so that a test pair is new, then clips drawn for them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import combinations

from audio_language.data.clip import Clip, meaning
from core.data.splits import group_split
from core.errors import DataError
from core.learning.determinism import generator

FRACTIONS = {"train": 0.75, "valid": 0.05, "test": 0.2}

ClassPair = tuple[str, str]
"""Two different classes, in alphabetical order: a pair and its reverse are one."""


def split_class_pairs(
    labels: Sequence[str], *, fractions: Mapping[str, float] = FRACTIONS, seed: int = 0
) -> dict[str, list[ClassPair]]:
    """Split -> its pairs of classes; every pair is in one split, together with its reverse.

    >>> found = split_class_pairs(["a", "b", "c", "d"], seed=1)
    >>> {split: len(pairs) for split, pairs in found.items()}
    {'train': 4, 'valid': 1, 'test': 1}
    """
    pairs = list(combinations(sorted(set(labels)), 2))
    found: dict[str, list[ClassPair]] = {split: [] for split in fractions}
    for pair, split in zip(pairs, group_split(["\t".join(pair) for pair in pairs], fractions, seed)):
        found[split].append(pair)
    return found


def draw_pairs(
    clips: Sequence[Clip],
    indices: Sequence[int],
    count: int,
    *,
    class_pairs: Collection[ClassPair] | None = None,
    seed: int = 0,
) -> list[tuple[int, int]]:
    """``count`` ordered pairs of clips: class pairs in turn, the clips and their order drawn.

    Clips without label are each a class of their own: then any two of different sources and captions are
    drawn. A pair of clips comes at most once in the same order, as long as there are enough.

    Args:
        clips: all clips. indices: those to draw from (of one split).
        class_pairs: the classes that may meet; all where left out.

    Raises:
        DataError: no class pair has clips of both classes here.
    """
    rng = generator(seed, "pairs", count, len(indices))
    of_class: dict[str, list[int]] = {}
    for index in indices:
        of_class.setdefault(clips[index].label or f"\0{index}", []).append(index)
    labelled = not any(name.startswith("\0") for name in of_class)
    drawn: dict[tuple[int, int], None] = {}
    if labelled:
        known = class_pairs if class_pairs is not None else combinations(sorted(of_class), 2)
        usable = sorted(pair for pair in known if all(name in of_class for name in pair))
        if not usable:
            raise DataError(
                "class pairs with clips of both classes", seen=0, expected="at least one",
                remedy="add clips or classes, or change the share of pairs for this split",
            )  # fmt: skip
    tries = 0
    while len(drawn) < count and tries < 20 * count:
        if labelled:
            if tries % len(usable) == 0:
                order = rng.permutation(len(usable))
            names = list(usable[order[tries % len(usable)]])
            rng.shuffle(names)
            first, second = (of_class[name][int(rng.integers(len(of_class[name])))] for name in names)
        else:
            first, second = (indices[int(k)] for k in rng.integers(len(indices), size=2))
        tries += 1
        if labelled or _differ(clips[first], clips[second]):
            drawn.setdefault((first, second))
    return list(drawn)


def _differ(a: Clip, b: Clip) -> bool:
    return a.group != b.group and meaning(a.name) != meaning(b.name)
