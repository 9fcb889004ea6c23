"""One contract for every way to thin out a data set: slices in, (keep, representative, score) out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

from core.errors import ConfigError, DataError
from core.learning.determinism import generator
from medical.ct.clusters import cosine_greedy, spherical_clusters
from medical.ct.greedy import Greedy, greedy
from medical.ct.hamming import members, reduce_hashes
from medical.ct.similarity import SSIM, Correlation, MutualInformation, SquaredError, entropy

Scope = Literal["volume", "dataset"]
Images = Callable[[np.ndarray], np.ndarray]


class Rule(NamedTuple):
    """What a method's threshold means: its range, whether it is whole, whether more of it keeps more."""

    low: float
    high: float
    whole: bool
    rising: bool
    words: str


METHODS: dict[str, Rule] = {
    "dhash": Rule(0, 64, True, False, "largest Hamming distance of a duplicate, bits"),
    "ssim": Rule(-1, 1, False, True, "smallest SSIM of a duplicate"),
    "nmi": Rule(0, 1, False, True, "smallest normalised mutual information of a duplicate"),
    "ncc": Rule(-1, 1, False, True, "smallest correlation of a duplicate"),
    "mse": Rule(0, 255.0**2, False, False, "largest squared error of a duplicate"),
    "embedding": Rule(1e-6, 1.999, False, False, "epsilon: a duplicate has a cosine above 1 - epsilon"),
    "semdedup": Rule(1e-6, 1.999, False, False, "epsilon, within clusters of the whole data set"),
    "every_n": Rule(0, 1000, False, False, "smallest distance of kept slices, mm"),
    "entropy": Rule(0, 8, False, False, "smallest entropy of a slice that stays, bits"),
    "random": Rule(0, 1, False, True, "share that is kept"),
}


@dataclass(frozen=True)
class Slices:
    """What the methods look at; each needs some of it.

    Attributes:
        volumes: (n,) labels.
        positions: (n,) mm along the volume. They decide the order, so that shuffled rows give the same
            choice; where two are equal, the given order decides.
        codes: (n, bytes) uint8 packed hashes, for dhash.
        images: rows -> (m, h, w) uint8 of one size, for ssim, nmi, ncc, mse, entropy.
        embeddings: (n, d), for embedding and semdedup.
    """

    volumes: np.ndarray
    positions: np.ndarray
    codes: np.ndarray | None = None
    images: Images | None = field(default=None, repr=False)
    embeddings: np.ndarray | None = None

    def __post_init__(self) -> None:
        sizes = {
            len(one) for one in (self.volumes, self.positions, self.codes, self.embeddings) if one is not None
        }
        if len(sizes) != 1:
            raise DataError("slices", seen=sorted(sizes), expected="one row a slice in every array")
        if not np.isfinite(np.asarray(self.positions, dtype=np.float64)).all():
            raise DataError("positions", expected="finite millimetres")

    @property
    def order(self) -> np.ndarray:
        """Rows by volume, then by position."""
        return np.lexsort((self.positions, self.volumes))


@dataclass(frozen=True)
class Selection:
    """What is kept, and what stands for the rest.

    Attributes:
        keep: (k,) int64 rows, ascending.
        representative: (n,) int64: the kept row that stands for each; itself where kept; -1 where the
            method names none (random in a volume that lost all, entropy).
        score: (n,) float64: the method's measure between the two.
        threshold: that was applied.
    """

    keep: np.ndarray
    representative: np.ndarray
    score: np.ndarray
    threshold: float

    @property
    def ratio(self) -> float:
        """Kept share."""
        return len(self.keep) / max(1, len(self.representative))


def select(
    slices: Slices,
    *,
    method: str,
    threshold: float,
    scope: Scope = "volume",
    clusters: int = 100,
    seed: int = 0,
) -> Selection:
    """Thin out slices.

    All methods but entropy and random are the same greedy choice in order of position (see
    `medical.ct.greedy`) and differ in what counts as a duplicate; `METHODS` says what each threshold means.
    ``every_n`` counts millimetres, not slices; ``random`` draws from all slices alike; ``entropy`` drops
    near-empty slices.

    Args:
        scope: "volume" compares the slices of a volume (the published way), "dataset" all with all.
        clusters: of semdedup, which is of dataset scope by nature.
        seed: of random and semdedup.

    Raises:
        ConfigError: unknown method, threshold out of its range.
        DataError: the method needs something that the slices lack; nothing to select from.

    >>> codes = np.array([[0] * 8, [1] + [0] * 7, [255] * 8], np.uint8)
    >>> three = Slices(np.array(["a"] * 3), np.array([0.0, 1.0, 2.0]), codes)
    >>> select(three, method="dhash", threshold=6).keep.tolist()
    [0, 2]
    >>> select(three, method="every_n", threshold=2.0).representative.tolist()
    [0, 0, 2]
    """
    rule = _rule(method)
    if not rule.low <= threshold <= (np.inf if method in ("dhash", "every_n") else rule.high):
        raise ConfigError(
            f"threshold of {method}", seen=threshold, expected=f"{rule.words}, {rule.low:g} to {rule.high:g}"
        )
    if rule.whole and threshold != int(threshold):
        raise ConfigError(f"threshold of {method}", seen=threshold, expected="a whole number of bits")
    if len(slices.volumes) == 0:
        raise DataError("nothing to select from", expected="at least one slice")
    order = slices.order
    if method == "random":
        found = _random(slices, order, threshold, seed)
    elif method == "entropy":
        found = _entropy(slices, order, threshold)
    else:
        found = _alike(slices, order, method, threshold, scope, clusters, seed)
    representative, score = np.empty(len(order), np.int64), np.empty(len(order))
    representative[order] = np.where(found.representative < 0, -1, order[found.representative])
    score[order] = found.score
    return Selection(np.sort(order[found.keep]), representative, score, float(threshold))


def select_to_ratio(
    slices: Slices,
    *,
    method: str,
    ratio: float,
    tolerance: float = 0.02,
    scope: Scope = "volume",
    clusters: int = 100,
    seed: int = 0,
    rounds: int = 16,
) -> Selection:
    """Find the threshold at which the kept share comes closest to ``ratio``, by bisection.

    Kept shares need not fall monotonically with a greedy threshold, so the best of all that were tried is
    taken. A hash threshold is whole: its shares come in steps.

    Raises:
        DataError: nothing comes within ``tolerance`` of the ratio.
    """
    rule = _rule(method)
    if not 0 < ratio <= 1:
        raise ConfigError("target ratio", seen=ratio, expected="a share above 0, at most 1")
    low, high = rule.low, rule.high
    if method == "dhash" and slices.codes is not None:
        high = 8.0 * slices.codes.shape[1]
    if method == "every_n":
        high = max(1.0, 2 * float(np.ptp(slices.positions)))
    best: Selection | None = None
    for _ in range(rounds):
        middle = (low + high) / 2
        threshold = float(round(middle)) if rule.whole else middle
        found = select(slices, method=method, threshold=threshold, scope=scope, clusters=clusters, seed=seed)
        if best is None or abs(found.ratio - ratio) < abs(best.ratio - ratio):
            best = found
        if found.ratio == ratio or (rule.whole and high - low <= 1):
            break
        if (found.ratio > ratio) == rule.rising:
            high = middle
        else:
            low = middle
    assert best is not None
    if abs(best.ratio - ratio) > tolerance:
        raise DataError(
            f"kept share with {method}", seen=round(best.ratio, 4), expected=f"{ratio:g} within {tolerance:g}",
            remedy="widen select.tolerance, choose another ratio or another method",
        )  # fmt: skip
    return best


def _rule(method: str) -> Rule:
    if method not in METHODS:
        raise ConfigError("select.method", seen=method, expected=f"one of {', '.join(METHODS)}")
    return METHODS[method]


def _alike(
    slices: Slices, order: np.ndarray, method: str, threshold: float, scope: Scope, clusters: int, seed: int
) -> Greedy:
    """The greedy methods, on rows in order; the outcome numbers places in the order."""
    groups = slices.volumes[order] if scope == "volume" else None
    if method == "dhash":
        return reduce_hashes(_needed(slices.codes, method, "hashes")[order], int(threshold), groups)
    if method in ("embedding", "semdedup"):
        embeddings = _needed(slices.embeddings, method, "embeddings")[order]
        if method == "semdedup":
            groups = spherical_clusters(embeddings, clusters, seed)
        return cosine_greedy(embeddings, threshold, groups)
    parts = [np.arange(len(order))] if groups is None else members(groups)
    representative, score = np.empty(len(order), np.int64), np.empty(len(order))
    for rows in parts:
        found = _greedy_images(slices, order[rows], method, threshold)
        representative[rows], score[rows] = rows[found.representative], found.score
    return Greedy(np.flatnonzero(representative == np.arange(len(order))), representative, score)


def _greedy_images(slices: Slices, rows: np.ndarray, method: str, threshold: float) -> Greedy:
    if method == "every_n":
        z = np.asarray(slices.positions, dtype=np.float64)[rows]
        return greedy(len(rows), lambda a, b: abs(z[a][:, None] - z[b][None]), lambda d: d < threshold - 1e-6)
    images = _needed(slices.images, method, "images")(rows)
    if method == "ssim":
        return greedy(len(rows), SSIM(images).measure, lambda s: s >= threshold, panel=1)
    if method == "nmi":
        return greedy(len(rows), MutualInformation(images).measure, lambda s: s >= threshold, panel=1)
    if method == "ncc":
        return greedy(len(rows), Correlation(images).measure, lambda s: s >= threshold)
    return greedy(len(rows), SquaredError(images).measure, lambda s: s <= threshold)


def _random(slices: Slices, order: np.ndarray, share: float, seed: int) -> Greedy:
    """Exactly round(share n) slices; the nearest kept slice of the volume stands for a dropped one."""
    n = len(order)
    count = max(1, round(share * n))
    kept = np.zeros(n, bool)
    kept[generator(seed, "random selection").choice(n, count, replace=False)] = True
    z = np.asarray(slices.positions, dtype=np.float64)[order]
    representative, score = np.full(n, -1), np.full(n, np.nan)
    for rows in members(slices.volumes[order]):
        inside = rows[kept[rows]]
        if len(inside):
            distance = abs(z[rows][:, None] - z[inside][None])
            nearest = distance.argmin(axis=1)
            representative[rows], score[rows] = inside[nearest], distance.min(axis=1)
    representative[kept] = np.flatnonzero(kept)
    score[kept] = 0.0
    return Greedy(np.flatnonzero(kept), representative, score)


def _entropy(slices: Slices, order: np.ndarray, threshold: float) -> Greedy:
    images = _needed(slices.images, "entropy", "images")
    parts = [
        entropy(images(order[rows])) for rows in np.array_split(np.arange(len(order)), -(-len(order) // 256))
    ]
    score = np.concatenate(parts)
    kept = score >= threshold
    return Greedy(np.flatnonzero(kept), np.where(kept, np.arange(len(order)), -1), score)


def _needed(value: Any, method: str, what: str) -> Any:
    if value is None:
        raise DataError(f"method {method} needs {what}", remedy=f"hand {what} to Slices")
    return value
