"""Land-cover classes, and how a label raster becomes the set of classes that an image shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from core.errors import ConfigError, DataError

NODATA = 255
"""Value of a label raster where nothing is known (cloud, shadow, outside)."""


@dataclass(frozen=True)
class ClassTable:
    """Classes of a product: class number k is ``names[k]``, drawn as ``colours[k]`` (0 to 255)."""

    name: str
    names: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]

    def __len__(self) -> int:
        return len(self.names)

    def shade(self, k: int) -> tuple[float, float, float]:
        """The colour of a class, each part in [0, 1], as matplotlib takes it."""
        red, green, blue = self.colours[k]
        return red / 255, green / 255, blue / 255


def _hex(*codes: str) -> tuple[tuple[int, int, int], ...]:
    return tuple((int(c[:2], 16), int(c[2:4], 16), int(c[4:], 16)) for c in codes)


DYNAMIC_WORLD = ClassTable(
    "dynamic_world",
    ("water", "trees", "grass", "flooded vegetation", "crops", "shrub and scrub", "built", "bare", "snow and ice"),
    _hex("419bdf", "397d49", "88b053", "7a87c6", "e49635", "dfc35a", "c4281b", "a59b8f", "b39fe1"),
)  # fmt: skip
_TEN = _hex(
    "4e79a7", "f28e2b", "59a14f", "e15759", "76b7b2", "edc948", "b07aa1", "ff9da7", "9c755f", "bab0ac"
)
EUROSAT = ClassTable(
    "eurosat",
    ("AnnualCrop", "Forest", "HerbaceousVegetation", "Highway", "Industrial", "Pasture", "PermanentCrop",
     "Residential", "River", "SeaLake"),
    _TEN,
)  # fmt: skip
_CORINE: dict[str, tuple[tuple[int, str], ...]] = {
    "Urban fabric": ((111, "Continuous urban fabric"), (112, "Discontinuous urban fabric")),
    "Industrial or commercial units": ((121, "Industrial or commercial units"),),
    "Arable land": (
        (211, "Non-irrigated arable land"), (212, "Permanently irrigated land"), (213, "Rice fields")
    ),
    "Permanent crops": (
        (221, "Vineyards"), (222, "Fruit trees and berry plantations"), (223, "Olive groves"),
        (241, "Annual crops associated with permanent crops"),
    ),
    "Pastures": ((231, "Pastures"),),
    "Complex cultivation patterns": ((242, "Complex cultivation patterns"),),
    "Land principally occupied by agriculture, with significant areas of natural vegetation": (
        (243, "Land principally occupied by agriculture, with significant areas of natural vegetation"),
    ),
    "Agro-forestry areas": ((244, "Agro-forestry areas"),),
    "Broad-leaved forest": ((311, "Broad-leaved forest"),),
    "Coniferous forest": ((312, "Coniferous forest"),),
    "Mixed forest": ((313, "Mixed forest"),),
    "Natural grassland and sparsely vegetated areas": (
        (321, "Natural grassland"), (333, "Sparsely vegetated areas")
    ),
    "Moors, heathland and sclerophyllous vegetation": (
        (322, "Moors and heathland"), (323, "Sclerophyllous vegetation")
    ),
    "Transitional woodland, shrub": ((324, "Transitional woodland/shrub"),),
    "Beaches, dunes, sands": ((331, "Beaches, dunes, sands"),),
    "Inland wetlands": ((411, "Inland marshes"), (412, "Peatbogs")),
    "Coastal wetlands": ((421, "Salt marshes"), (422, "Salines")),
    "Inland waters": ((511, "Water courses"), (512, "Water bodies")),
    "Marine waters": ((521, "Coastal lagoons"), (522, "Estuaries"), (523, "Sea and ocean")),
}  # fmt: skip
_LEFT_OUT = (
    "Road and rail networks and associated land", "Port areas", "Airports", "Mineral extraction sites", "Dump sites",
    "Construction sites", "Green urban areas", "Sport and leisure facilities", "Bare rock", "Burnt areas",
    "Intertidal flats",
)  # fmt: skip
BIGEARTHNET = ClassTable(
    "bigearthnet_19",
    tuple(_CORINE),
    _hex(
        "c4281b", "8c564b", "e49635", "b07aa1", "b5cf6b", "e7ba52", "d6c27a", "8ca252", "2ca02c", "0b5d1e", "637939",
        "88b053", "bd9e39", "cedb9c", "f2e2b0", "7a87c6", "9edae5", "419bdf", "1f4e9c",
    ),
)  # fmt: skip
TABLES = {table.name: table for table in (DYNAMIC_WORLD, EUROSAT, BIGEARTHNET)}
CORINE_CODES = {code: k for k, group in enumerate(_CORINE.values()) for code, _ in group}
"""CORINE level-3 code -> BigEarthNet class; codes that are not here belong to no class."""
_CORINE_NAMES = {
    _name.casefold(): k
    for k, (title, group) in enumerate(_CORINE.items())
    for _name in (title, *(name for _, name in group))
}


def own_classes(names: Sequence[str]) -> ClassTable:
    """A table of own class names, class number k being the k-th, in colours of a fixed wheel."""
    if len(names) < 2 or len(set(names)) != len(names) or len(names) > NODATA:
        raise DataError("data.classes", seen=list(names), expected=f"2 to {NODATA} different names")
    turns = [_TEN[k % 10] for k in range(len(names))]
    return ClassTable(
        "own", tuple(names), tuple((r // (1 + k // 10), g, b) for k, (r, g, b) in enumerate(turns))
    )


def corine_classes(names: Sequence[str], *, where: str) -> list[int]:
    """BigEarthNet's 19 classes for its 43 or 19 label names; names outside the grouping are left out.

    >>> corine_classes(["Pastures", "Vineyards", "Airports"], where="a.json")
    [3, 4]
    """
    unknown = [n for n in names if n.casefold() not in _CORINE_NAMES and n not in _LEFT_OUT]
    if unknown:
        raise DataError(
            f"{where}: labels", seen=unknown[:3], expected="class names of CORINE or BigEarthNet-19"
        )
    return sorted({_CORINE_NAMES[name.casefold()] for name in names if name.casefold() in _CORINE_NAMES})


def corine_map(codes: np.ndarray, *, where: str) -> np.ndarray:
    """A reference map of CORINE level-3 codes as class numbers; codes without class become 255.

    Raises:
        DataError: values that are no CORINE code at all.
    """
    values, place = np.unique(codes, return_inverse=True)
    odd = [int(v) for v in values if v not in CORINE_CODES and v not in (0, 999) and not 111 <= v <= 523]
    if odd:
        raise DataError(f"{where}: values", seen=odd[:5], expected="CORINE codes of three digits")
    table = np.array([CORINE_CODES.get(int(v), NODATA) for v in values], dtype=np.uint8)
    return table[place].reshape(codes.shape)


def check_classes_of(raster: np.ndarray, classes: int, *, where: str) -> None:
    """Refuse a label raster with values outside 0..classes-1 and 255.

    Raises:
        DataError: which values; that they count from 1, where that is what it looks like.
    """
    values = np.unique(raster)
    odd = [int(v) for v in values if not (0 <= v < classes or v == NODATA)]
    if not odd:
        return
    shifted = odd == [classes] and 0 not in values
    raise DataError(
        f"{where}: label values",
        seen=odd[:5],
        expected=f"0 to {classes - 1}, {NODATA} where unknown",
        remedy="the classes seem to count from 1: set data.label_offset to -1" if shifted
        else "set data.classes to the classes of this raster, or mask these pixels with 255",
    )  # fmt: skip


def multi_labels(rasters: np.ndarray, classes: int, *, min_fraction: float = 0.0) -> np.ndarray:
    """Which classes each label raster shows.

    A class is present where its share of the valid pixels is at least ``min_fraction``, and above 0.

    Args:
        rasters: (N, H, W) class numbers, 255 where nothing is known.
        min_fraction: in [0, 1). 0 is "any pixel", which is how SSL4EO-S12-ML reads.

    Returns:
        (N, classes) float32 of 0 and 1; zeros for a raster without a valid pixel: no label, not "no class".

    >>> multi_labels(np.array([[[0, 0], [2, 255]]]), 3, min_fraction=0.5).tolist()
    [[1.0, 0.0, 0.0]]
    """
    if not 0 <= min_fraction < 1:
        raise ConfigError("min_fraction", seen=min_fraction, expected="a share in [0, 1)")
    flat = np.asarray(rasters).reshape(len(rasters), -1).astype(np.int64)
    valid = flat != NODATA
    rows = np.broadcast_to(np.arange(len(flat))[:, None], flat.shape)
    cells = rows[valid] * classes + flat[valid]
    counts = np.bincount(cells, minlength=len(flat) * classes).reshape(len(flat), classes)
    share = counts / np.maximum(valid.sum(1, keepdims=True), 1)
    return ((counts > 0) & (share >= min_fraction)).astype(np.float32)


def hot(sets: Sequence[Sequence[int]], classes: int) -> np.ndarray:
    """Multi-hot rows (N, classes) float32 of lists of class numbers.

    >>> hot([[1], []], 2).tolist()
    [[0.0, 1.0], [0.0, 0.0]]
    """
    out = np.zeros((len(sets), classes), dtype=np.float32)
    for row, present in enumerate(sets):
        out[row, list(present)] = 1
    return out


def label_similarity(y: np.ndarray, other: np.ndarray | None = None, *, kind: str = "cosine") -> np.ndarray:
    """Overlap of label sets (N, C) and (M, C): |A and B| / sqrt(|A| |B|), or Jaccard; 0 for empty sets.

    The training computes the same a tile at a time (`core.objectives.soft_contrast`); this is for figures.

    >>> label_similarity(np.array([[1.0, 1, 0]]), np.array([[0.0, 1, 0]])).round(3).tolist()
    [[0.707]]
    """
    other = y if other is None else other
    shared = y @ other.T
    a, b = y.sum(1)[:, None], other.sum(1)[None, :]
    if kind not in ("cosine", "jaccard"):
        raise ConfigError("label similarity", seen=kind, expected="cosine or jaccard")
    bound = np.sqrt(a * b) if kind == "cosine" else a + b - shared
    return np.divide(shared, bound, out=np.zeros_like(shared), where=bound > 0)


def colour_map(table: ClassTable) -> Mapping[int, tuple[int, int, int, int]]:
    """Class number -> (red, green, blue, alpha), as GeoTIFF holds it; 255 is transparent."""
    return {**{k: (*colour, 255) for k, colour in enumerate(table.colours)}, NODATA: (0, 0, 0, 0)}
