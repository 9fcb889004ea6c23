"""Splits by group: patients, scenes and repositories never straddle train, validation and test."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping, Sequence

from core.errors import ConfigError, DataError


def group_split(groups: Sequence[Hashable], fractions: Mapping[str, float], seed: int = 0) -> list[str]:
    """Give each row the split of its group: groups ordered by a hash of (seed, group), cut at the fractions.

    Fractions count groups, not items, and are met as closely as whole groups allow; every split gets at
    least one. The order of the rows does not matter. A group that is added or removed later moves at most
    one other group over each boundary.

    Args:
        groups: one group a row (patient, scene, repository); strings or numbers, not empty, not NaN.
        fractions: split -> share > 0, summing to 1, in order.
        seed: another seed gives another split.

    Returns:
        The split of each row.

    Raises:
        DataError: a missing group, or fewer groups than splits.
        ConfigError: fractions that are not positive or do not sum to 1.

    >>> group_split(["a", "a", "b", "c", "d", "e"], {"train": 0.6, "test": 0.4}, seed=1)
    ['train', 'train', 'test', 'train', 'train', 'test']
    """
    if not fractions or not all(v > 0 for v in fractions.values()) or abs(sum(fractions.values()) - 1) > 1e-6:
        raise ConfigError("split fractions", seen=dict(fractions), expected="shares > 0 that sum to 1")
    _refuse_missing(groups)
    ordered = sorted({str(group) for group in groups}, key=lambda group: (_hash(seed, group), group))
    if len(ordered) < len(fractions):
        raise DataError(
            "groups to split",
            seen=f"{len(ordered)} group(s)",
            expected=f"at least one for each of {list(fractions)}",
            remedy="give more groups, or name the split of each row in the manifest",
        )
    of_group, start, share = {}, 0, 0.0
    for position, (split, fraction) in enumerate(fractions.items()):
        share += fraction
        room = len(ordered) - (len(fractions) - 1 - position)  # leave one group for each split that follows
        stop = min(max(round(share * len(ordered)), start + 1), room)
        of_group.update(dict.fromkeys(ordered[start:stop], split))
        start = stop
    return [of_group[str(group)] for group in groups]


def check_splits(groups: Sequence[Hashable], splits: Sequence[str]) -> None:
    """Refuse a table in which a group has rows in more than one split.

    Raises:
        DataError: naming up to five such groups with their splits.

    >>> check_splits(["p1", "p1", "p2"], ["train", "train", "test"])
    """
    if len(groups) != len(splits):
        raise DataError("groups and splits", seen=(len(groups), len(splits)), expected="one of each a row")
    _refuse_missing(groups)
    seen: dict[Hashable, set[str]] = {}
    for group, split in zip(groups, splits, strict=True):
        seen.setdefault(group, set()).add(split)
    straddling = {group: sorted(found) for group, found in seen.items() if len(found) > 1}
    if straddling:
        listed = "; ".join(
            f"{group} in {' and '.join(found)}" for group, found in list(straddling.items())[:5]
        )
        raise DataError(
            f"{len(straddling)} group(s) in more than one split: {listed}",
            expected="all rows of a group in one split, or results on test are too good",
            remedy="give each group one split, or leave the split column empty and set fractions",
        )


def _refuse_missing(groups: Sequence[Hashable]) -> None:
    for row, group in enumerate(groups):
        if group is None or group != group or (isinstance(group, str) and not group.strip()):
            raise DataError(
                f"group of row {row}", seen=group, expected="a name", remedy="fill the group column"
            )


def _hash(seed: int, group: str) -> bytes:
    return hashlib.blake2b(f"{seed}:{group}".encode(), digest_size=8).digest()
