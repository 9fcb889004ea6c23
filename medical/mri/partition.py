"""Partitions of a volume: which slices of different volumes show about the same anatomy."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from core.errors import ConfigError, DataError

Mode = Literal["balanced", "official"]


def partition_bounds(depth: int, parts: int, mode: Mode = "balanced", *, name: str = "volume") -> np.ndarray:
    """First slice of each partition, and the end of the last: (parts + 1,) int64.

    Chaitanya et al. (NeurIPS 2020) cut a volume into S partitions along the slice axis.

    Args:
        depth: slices of the volume, D >= parts.
        parts: partitions, S >= 1.
        mode: ``balanced`` uses every slice, sizes differ by at most one; ``official`` cuts at multiples of
            floor(D / S), as the published code does, and leaves the last D mod S slices out.
        name: of the volume, for messages.

    Raises:
        DataError: fewer slices than partitions.
        ConfigError: no partition, or an unknown mode.

    >>> partition_bounds(10, 4).tolist(), partition_bounds(10, 4, "official").tolist()
    ([0, 3, 5, 8, 10], [0, 2, 4, 6, 8])
    """
    if mode not in get_args(Mode):
        raise ConfigError("partition mode", seen=mode, expected="balanced or official")
    if parts < 1:
        raise ConfigError("partitions", seen=parts, expected="a number >= 1")
    if depth < parts:
        raise DataError(
            f"{name}: slices",
            seen=depth,
            expected=f"at least one for each of the {parts} partitions",
            remedy="leave the volume out, or lower the number of partitions",
        )
    steps = np.arange(parts + 1)
    return steps * (depth // parts) if mode == "official" else -(-steps * depth // parts)


def partition_index(
    slices: int | np.ndarray, depth: int, parts: int, mode: Mode = "balanced", *, name: str = "volume"
) -> np.ndarray:
    """Partition of each slice index, from 0; -1 for a slice that the official rule never draws.

    ``balanced`` is floor(slice * S / D). Arguments and errors as in `partition_bounds`, and DataError for an
    index outside 0 .. depth - 1.

    >>> partition_index(np.arange(6), 6, 4).tolist(), partition_index(np.arange(6), 6, 4, "official").tolist()
    ([0, 0, 1, 2, 2, 3], [0, 1, 2, 3, -1, -1])
    """
    index = np.asarray(slices)
    if index.size and (index.min() < 0 or index.max() >= depth):
        raise DataError(f"{name}: slice index", seen=index.tolist(), expected=f"0 to {depth - 1}")
    bounds = partition_bounds(depth, parts, mode, name=name)
    found = np.searchsorted(bounds, index, side="right") - 1
    return np.where(found < parts, found, -1)
