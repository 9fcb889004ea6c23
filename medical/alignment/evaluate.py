"""What a space can do: retrieval in six directions, zero-shot findings, probes, phrases on films, missing data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from core.errors import DataError
from core.evaluation.bootstrap import bootstrap_interval
from core.evaluation.retrieval import ranks, retrieval_metrics
from medical.alignment.objective import MODALITIES
from medical.alignment.prepared import Prepared
from medical.alignment.prompts import Prompts
from medical.alignment.scores import Rows
from medical.alignment.space import Space

DIRECTIONS = tuple((a, b) for a in MODALITIES for b in MODALITIES if a != b)
FROM_TWO = tuple(("+".join(a for a in MODALITIES if a != b), b) for b in MODALITIES)
"""What an item has of two modalities asks for its third."""
SUBSETS: dict[str, tuple[str, ...]] = {"xray": ("xray",), "ecg": ("ecg",), "xray+ecg": ("xray", "ecg")}


@dataclass(frozen=True)
class Embedded:
    """``rows``: modality -> (n, d) unit rows, 0 where missing; ``present``: (n, 3) bool."""

    rows: dict[str, np.ndarray] = field(repr=False)
    present: np.ndarray = field(repr=False)

    def of(self, names: Sequence[str]) -> np.ndarray:
        """Places of the items that have all of the named modalities."""
        return np.flatnonzero(np.all([self.present[:, MODALITIES.index(name)] for name in names], axis=0))

    def stack(self) -> np.ndarray:
        """(n, 3, d)."""
        return np.stack([self.rows[name] for name in MODALITIES], axis=1)


def embed(space: Space, prepared: Prepared, rows: np.ndarray) -> Embedded:
    """Embed what each item has; every film, ECG and text once."""
    table, present = prepared.table.iloc[rows], prepared.present[rows]
    found = {}
    for place, name in enumerate(MODALITIES):
        there = np.flatnonzero(present[:, place])
        out = np.zeros((len(rows), space.dim), np.float32)
        column = table["film" if name == "xray" else "signal" if name == "ecg" else "text"].to_numpy()[there]
        distinct, where = np.unique(column, return_inverse=True)
        if len(distinct):
            if name == "text":
                vectors = space.embed_texts([str(text) for text in distinct])
            elif name == "xray":
                vectors = space.embed_films(prepared.films[distinct])
            else:
                vectors = space.embed_signals(prepared.signals[distinct])
            out[there] = vectors[where]
        found[name] = out
    return Embedded(found, present)


@dataclass(frozen=True)
class Direction:
    """Retrieval in one direction: recall at 1, 5 and 10 and mean reciprocal rank, with the interval of recall at 5.

    ``source`` may be two modalities, joined by "+".
    """

    source: str
    target: str
    n: int
    candidates: int
    mrr: float
    recall: dict[int, float]
    median_rank: float
    low: float
    high: float
    ranks: np.ndarray = field(repr=False)
    subjects: np.ndarray = field(repr=False)

    @property
    def name(self) -> str:
        """``source_to_target``."""
        return f"{self.source}_to_{self.target}"


def retrieval(
    space: Space,
    prepared: Prepared,
    rows: np.ndarray,
    embedded: Embedded,
    *,
    directions: Sequence[tuple[str, str]] = DIRECTIONS,
    samples: int = 1000,
    seed: int = 0,
) -> list[Direction]:
    """Each item's one modality asks for its other, among all items that have it; six directions, or those given.

    Fit is measured as the space was trained (`medical.alignment.scores.score`). Candidates that hold the same film,
    ECG or text as the right one are the same candidate; those of other items of the asking patient are left out. A
    rank counts ties one half. Intervals resample patients. Directions with fewer than two candidates are left out.
    """
    columns = {"xray": "film", "ecg": "signal", "text": "text"}
    table = prepared.table.iloc[rows]
    subjects = table["subject"].to_numpy()
    found = []
    for source, target in directions:
        members = source.split("+")
        asking = embedded.of((*members, target))
        offered = embedded.of((target,))
        if len(asking) == 0:
            continue
        keys = table[columns[target]].to_numpy()
        distinct, first = np.unique(keys[offered], return_index=True)
        if len(distinct) < 2:
            continue
        own = offered[first]
        query = {name: embedded.rows[name][asking] for name in members}
        scores = space.score(query, target, embedded.rows[target][own])
        relevant = np.searchsorted(distinct, keys[asking])
        same_patient = subjects[asking][:, None] == subjects[own][None, :]
        same_patient[np.arange(len(asking)), relevant] = False
        scores = np.where(same_patient, -np.inf, scores)
        rank = ranks(scores, relevant)
        metrics = retrieval_metrics(rank)
        low = high = float("nan")
        if samples:
            low, high = bootstrap_interval(rank <= 5, subjects[asking], samples, seed)
        recall = {k: metrics[f"r@{k}"] for k in (1, 5, 10)}
        found.append(
            Direction(
                source,
                target,
                len(asking),
                len(own),
                metrics["mrr"],
                recall,
                float(np.median(rank)),
                low,
                high,
                rank,
                subjects[asking],
            )
        )
    return found


@dataclass(frozen=True)
class Auroc:
    """Area under the ROC curve of a finding from a subset of modalities, with its interval over patients."""

    finding: str
    subset: str
    value: float
    low: float
    high: float
    n: int


def zero_shot_scores(space: Space, query: Rows, prompts: Prompts, names: Sequence[str]) -> np.ndarray:
    """(n, C): how much better "it is there" fits than "it is not", for each finding, without any label.

    The mean fit of the statements of either kind: vectors themselves cannot be averaged where their sign says nothing.
    """
    statements = [prompts.statements(name) for name in names]
    texts = list(dict.fromkeys(text for both in statements for part in both for text in part))
    scores = space.score(query, "text", space.embed_texts(texts))
    fit = [
        [scores[:, [texts.index(text) for text in part]].mean(axis=1) for part in both] for both in statements
    ]
    return np.stack([yes - no for yes, no in fit], axis=1)


def zero_shot(
    space: Space,
    prepared: Prepared,
    rows: np.ndarray,
    embedded: Embedded,
    prompts: Prompts,
    *,
    samples: int = 1000,
    seed: int = 0,
) -> list[Auroc]:
    """AUROC of each finding that prompts and labels share, from the film, the ECG, and both."""
    names = [name for name in prepared.labels if name in prompts.findings]
    if not names:
        raise DataError(
            "zero-shot findings", seen=prepared.labels, expected=f"some of {list(prompts.findings)}"
        )
    found = []
    subjects = prepared.table["subject"].to_numpy()[rows]
    for subset, members in SUBSETS.items():
        there = embedded.of(members)
        if not len(there):
            continue
        scores = zero_shot_scores(space, {m: embedded.rows[m][there] for m in members}, prompts, names)
        for column, name in enumerate(names):
            truth = prepared.targets[rows[there], prepared.labels.index(name)]
            known = np.isfinite(truth)
            one = auroc(truth[known], scores[known, column], subjects[there][known], samples, seed)
            if one is not None:
                found.append(Auroc(name, subset, *one, int(known.sum())))
    return found


def auroc(
    truth: np.ndarray,
    scores: np.ndarray,
    groups: Sequence[str] | np.ndarray,
    samples: int = 1000,
    seed: int = 0,
) -> tuple[float, float, float] | None:
    """(value, low, high); None where only one class is there.

    >>> auroc(np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.3, 0.4]), list("abcd"), 50)[0]
    1.0
    """
    if len(set(truth.tolist())) < 2:
        return None
    value = _area(np.stack([truth, scores], axis=1))
    if not samples:
        return value, float("nan"), float("nan")
    pairs = np.stack([truth, scores], axis=1)
    low, high = bootstrap_interval(pairs, list(groups), samples, seed, statistic=_area)
    return value, low, high


def _area(pairs: np.ndarray) -> float:
    """Share of (positive, negative) pairs in the right order, ties one half."""
    from scipy.stats import rankdata

    positive = pairs[:, 0] == 1
    n, m = int(positive.sum()), int((~positive).sum())
    if not n or not m:
        return float("nan")
    return float((rankdata(pairs[:, 1])[positive].sum() - n * (n + 1) / 2) / (n * m))


def macro(found: Sequence[Auroc], subset: str, leave_out: Sequence[str] = ()) -> float:
    """Mean AUROC over findings of a subset; NaN where there is none."""
    values = [one.value for one in found if one.subset == subset and one.finding not in leave_out]
    return float(np.mean(values)) if values else float("nan")


def findings_by_pattern(
    space: Space, prepared: Prepared, rows: np.ndarray, embedded: Embedded
) -> list[tuple[str, int, float]]:
    """(pattern, items, macro AUROC) of the fitted head for what each of the seven patterns leaves it."""
    if space.head is None:
        return []
    found = []
    for code in range(7, 0, -1):
        pattern = np.array([bool(code & 4), bool(code & 2), bool(code & 1)])
        label = "+".join(name for name, on in zip(MODALITIES, pattern, strict=True) if on)
        able = np.flatnonzero((embedded.present | ~pattern).all(axis=1))
        if len(able) < 2:
            continue
        shown = np.broadcast_to(pattern, (len(able), 3)).copy()
        guesses = space.head.probabilities(embedded.stack()[able], shown)
        values = []
        for column, name in enumerate(space.head.labels):
            truth = prepared.targets[rows[able], prepared.labels.index(name)]
            known = np.isfinite(truth)
            one = auroc(truth[known], guesses[known, column], [""], 0)
            if one is not None:
                values.append(one[0])
        if values:
            found.append((label, len(able), float(np.mean(values))))
    return found
