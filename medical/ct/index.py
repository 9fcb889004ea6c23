"""The stored index of a reduced data set: is this slice, or this series, a duplicate of what was kept?"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.errors import DataError
from core.files import read_json, write_json
from medical.ct.hamming import hamming
from medical.ct.hashing import dhash, from_hex, to_hex

if TYPE_CHECKING:
    import pandas as pd

CODES, FACTS = "codes.npy", "index.json"
_BLOCK = 2**22


@dataclass(frozen=True)
class Nearest:
    """The kept slice that is nearest to a slice: its name, the distance in bits, whether that is a duplicate."""

    exemplar: str
    distance: int
    duplicate: bool
    code: str


class HashIndex:
    """Packed hashes of the kept slices, 8 bytes a slice, with a name for each.

    Args:
        codes: (k, bytes) uint8. names: (k,) texts.
        threshold: bits up to which a slice counts as a duplicate.
        window, hash_size: how new slices have to be hashed.
    """

    def __init__(
        self, codes: np.ndarray, names: Sequence[str], *, threshold: int, window: str, hash_size: int
    ) -> None:
        if len(codes) != len(names) or len(codes) == 0:
            raise DataError(
                "hash index", seen=(len(codes), len(names)), expected="one name a hash, at least one"
            )
        self.codes, self.names = np.ascontiguousarray(codes), list(names)
        self.threshold, self.window, self.hash_size = int(threshold), window, int(hash_size)

    def nearest(self, codes: np.ndarray) -> list[Nearest]:
        """For each hash (n, bytes) the first of the nearest kept slices; O(n k) time, bounded memory.

        >>> index = HashIndex(np.zeros((1, 8), np.uint8), ["a"], threshold=6, window="lung", hash_size=8)
        >>> index.nearest(np.full((1, 8), 1, np.uint8))[0].distance
        8
        """
        found = []
        step = max(1, _BLOCK // len(self.codes))
        for start in range(0, len(codes), step):
            part = codes[start : start + step]
            distance = hamming(part, self.codes)
            for code, place, bits in zip(part, distance.argmin(axis=1), distance.min(axis=1)):
                found.append(
                    Nearest(self.names[place], int(bits), bool(bits <= self.threshold), to_hex(code))
                )
        return found

    def query(self, images: Sequence[np.ndarray]) -> list[Nearest]:
        """`nearest` of eight-bit slices (H, W), which must be in this index's window."""
        return self.nearest(np.stack([dhash(image, self.hash_size) for image in images]))

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write ``codes.npy`` and ``index.json`` into an existing folder."""
        home = Path(folder)
        np.save(home / CODES, self.codes, allow_pickle=False)
        facts = {"threshold": self.threshold, "window": self.window, "hash_size": self.hash_size}
        write_json(home / FACTS, {**facts, "names": self.names})


def open_index(folder: str | os.PathLike[str]) -> HashIndex:
    """Read an index that `HashIndex.save` wrote.

    Raises:
        DataError: a file is missing or does not fit the other.
    """
    home = Path(folder)
    facts = read_json(home / FACTS)
    try:
        codes = np.load(home / CODES, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"{home / CODES} cannot be read", seen=str(error), remedy="run the select stage"
        ) from None
    try:
        return HashIndex(
            codes,
            facts["names"],
            threshold=facts["threshold"],
            window=facts["window"],
            hash_size=facts["hash_size"],
        )
    except (KeyError, TypeError):
        raise DataError(f"{home / FACTS} is not a hash index", remedy="run the select stage") from None


def index_of(kept: pd.DataFrame, *, threshold: float, window: str, hash_size: int) -> HashIndex:
    """The index of the kept slices of a table with columns path, frame, hash."""
    names = [slice_name(row) for row in kept[["path", "frame"]].to_dict("records")]
    return HashIndex(
        from_hex(kept["hash"]), names, threshold=int(threshold), window=window, hash_size=hash_size
    )


def slice_name(row: Any) -> str:
    """A slice as people write it: its path, with the frame where there are several.

    >>> slice_name({"path": "a/CT.nii.gz", "frame": 7})
    'a/CT.nii.gz[7]'
    """
    return f"{row['path']}[{row['frame']}]" if int(row["frame"]) else str(row["path"])
