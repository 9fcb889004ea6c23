"""What embeddings and heads are worth on test chips, with intervals that resample whole places."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.errors import DataError
from core.evaluation.bootstrap import bootstrap_interval
from earth_observation.data.store import ChipStore
from earth_observation.learn.heads import embed_chips, few_labels
from earth_observation.learn.views import changed_cover, date_pairs
from earth_observation.linear import fit_linear, linear_scores
from earth_observation.metrics import average_precision, confusion_matrix, f1_scores, segmentation_scores
from earth_observation.model import LandCover

BATCH = 32


@dataclass(frozen=True)
class Score:
    """A number with its 95 % interval over places, and what it is measured on."""

    value: float
    low: float
    high: float
    n: int
    scores: np.ndarray = field(repr=False, default_factory=lambda: np.zeros(0))


@dataclass(frozen=True)
class Embedded:
    """Embeddings of the training and the test chips of a product, with the chips' numbers in the store."""

    train: np.ndarray
    test: np.ndarray
    train_x: np.ndarray = field(repr=False)
    test_x: np.ndarray = field(repr=False)


def embed(encoder: Callable[[Tensor], Tensor], store: ChipStore, product: str) -> Embedded:
    """Embed the labelled training chips and the labelled test chips of a product."""
    train, test = (
        (chips := store.indices(split, product))[store.classes[chips].sum(1) > 0]
        for split in ("train", "test")
    )
    if not len(train) or not len(test):
        raise DataError("labelled chips", seen=(len(train), len(test)), expected="some in train and in test")
    found = [embed_chips(encoder, store, product, chips) for chips in (train, test)]
    return Embedded(train, test, *found)


def linear_probes(
    found: Embedded, store: ChipStore, shares: Sequence[float], *, seed: int, regularisation: float = 1.0,
    bootstrap: int = 0,
) -> dict[float, Score]:  # fmt: skip
    """mAP (micro, over the whole test set) of a linear head fitted on a share of the labels.

    The labelled chips are drawn without replacement by the seed, so that all encoders see the same ones.
    """
    truth = store.classes[found.test]
    groups = store.groups(found.test)
    out = {}
    for share in shares:
        few = few_labels(store, found.train, share, seed)
        rows = np.searchsorted(found.train, few)
        head = fit_linear(found.train_x[rows], store.classes[few], regularisation=regularisation)
        out[share] = micro_score(truth, linear_scores(found.test_x, *head), groups, bootstrap)
    return out


def neighbour_probe(
    found: Embedded, store: ChipStore, *, neighbours: int = 20, temperature: float = 0.07, bootstrap: int = 0
) -> Score:
    """mAP of the classes of the nearest training chips by cosine, weighted exp(similarity / temperature)."""
    train = found.train_x / np.maximum(np.linalg.norm(found.train_x, axis=1, keepdims=True), 1e-12)
    test = found.test_x / np.maximum(np.linalg.norm(found.test_x, axis=1, keepdims=True), 1e-12)
    likeness = test @ train.T
    count = min(neighbours, len(train))
    near = np.argpartition(-likeness, count - 1, axis=1)[:, :count]
    weight = np.exp((np.take_along_axis(likeness, near, 1) - 1) / temperature)
    votes = (weight[..., None] * store.classes[found.train][near]).sum(1) / weight.sum(1, keepdims=True)
    return micro_score(store.classes[found.test], votes, store.groups(found.test), bootstrap)


def micro_score(truth: np.ndarray, scores: np.ndarray, groups: Sequence[str], bootstrap: int) -> Score:
    """Micro mAP with its interval over groups (none for ``bootstrap`` 0)."""
    return _scored(truth, scores, groups, bootstrap, lambda y, s: average_precision(y, s)["micro"])


def class_scores(
    truth: np.ndarray, scores: np.ndarray, groups: Sequence[str], bootstrap: int, one_class: bool
) -> dict[str, tuple[str, Score]]:
    """What a class head is worth: name -> (label, score): mAP and F1, micro and macro, and accuracy.

    F1 is at a probability of one half. Accuracy is given for data of ``one_class`` a chip.
    """
    parts: dict[str, tuple[str, Callable[[np.ndarray, np.ndarray], float]]] = {
        "map": ("mAP", lambda y, s: average_precision(y, s)["micro"]),
        "map_macro": ("macro mAP", lambda y, s: average_precision(y, s)["macro"]),
        "f1_micro": ("micro F1 at 0.5", lambda y, s: f1_scores(y, s)["micro"]),
        "f1_macro": ("macro F1 at 0.5", lambda y, s: f1_scores(y, s)["macro"]),
    }
    found = {
        name: (label, _scored(truth, scores, groups, bootstrap, statistic))
        for name, (label, statistic) in parts.items()
    }
    if one_class:
        found["accuracy"] = ("accuracy", accuracy_score(truth, scores, groups, bootstrap))
    return found


def _scored(
    truth: np.ndarray,
    scores: np.ndarray,
    groups: Sequence[str],
    bootstrap: int,
    statistic: Callable[[np.ndarray, np.ndarray], float],
) -> Score:
    classes = truth.shape[1]
    rows = np.hstack([truth, scores])

    def of_rows(drawn: np.ndarray) -> float:
        return statistic(drawn[:, :classes], drawn[:, classes:])

    value = of_rows(rows)
    low, high = (
        bootstrap_interval(rows, groups, bootstrap, statistic=of_rows)
        if bootstrap and np.isfinite(value)
        else (value, value)
    )
    return Score(value, low, high, len(truth), scores)


def accuracy_score(truth: np.ndarray, scores: np.ndarray, groups: Sequence[str], bootstrap: int) -> Score:
    """Share of chips whose one class has the highest score; for data of one class a chip."""
    right = (scores.argmax(1) == truth.argmax(1)).astype(float)
    low, high = bootstrap_interval(right, groups, bootstrap) if bootstrap else (right.mean(), right.mean())
    return Score(float(right.mean()), low, high, len(right), scores)


def one_class_each(store: ChipStore) -> bool:
    """Whether every labelled chip shows exactly one class, as in EuroSAT."""
    counts = store.classes.sum(1)
    return bool((counts[counts > 0] == 1).all())


@torch.no_grad()
def map_confusions(model: LandCover, store: ChipStore, product: str, chips: np.ndarray) -> np.ndarray:
    """(n, K, K) confusion of the map head on each chip."""
    out = []
    for start in range(0, len(chips), BATCH):
        part = chips[start : start + BATCH]
        x = torch.from_numpy(store.read(product, part)).float() / 255
        answers = model.map(x).argmax(1).numpy()
        out += [
            confusion_matrix(cover, answer, len(store.table))
            for cover, answer in zip(np.asarray(store.landcover[part]), answers)
        ]
    return np.stack(out)


@torch.no_grad()
def change_confusions(
    model: LandCover, store: ChipStore, product: str, chips: np.ndarray
) -> tuple[np.ndarray, list[str]]:
    """((P, 2, 2) confusion of each pair of dates, its place)."""
    pairs = date_pairs(store, chips)
    truth = changed_cover(store, pairs)
    out = []
    for start in range(0, len(pairs), BATCH):
        part = pairs[start : start + BATCH]
        x, y = (torch.from_numpy(store.read(product, part[:, k])).float() / 255 for k in (0, 1))
        answers = model.change(x, y).argmax(1).numpy()
        out += [confusion_matrix(t, a, 2) for t, a in zip(truth[start : start + BATCH], answers)]
    return np.stack(out), store.groups(pairs[:, 0])


def confusion_score(
    confusions: np.ndarray,
    groups: Sequence[str],
    statistic: Callable[[Mapping[str, Any]], float],
    bootstrap: int,
) -> Score:
    """A statistic of `segmentation_scores` of the summed confusion, with its interval over places."""

    def of_rows(drawn: np.ndarray) -> float:
        return float(statistic(segmentation_scores(drawn.sum(0))))

    value = of_rows(confusions)
    low, high = (
        bootstrap_interval(confusions, groups, bootstrap, statistic=of_rows)
        if bootstrap and np.isfinite(value)
        else (value, value)
    )
    return Score(value, low, high, int(confusions.sum()))


def class_table(truth: np.ndarray, scores: np.ndarray, names: Sequence[str]) -> list[list[Any]]:
    """A row a class: name, test chips that show it, average precision (None where undefined)."""
    rows: list[list[Any]] = []
    for k, name in enumerate(names):
        hits = int(truth[:, k].sum())
        usable = 0 < hits < len(truth)
        value = average_precision(truth[:, k : k + 1], scores[:, k : k + 1])["macro"] if usable else None
        rows.append([name, hits, None if value is None else round(value, 4)])
    return rows
