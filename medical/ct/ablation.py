"""The paper's comparison: pretraining on all slices against hash-reduced, random and evenly spaced ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from medical.ct.evaluate import class_metrics, probe_probabilities
from medical.ct.learn.train import pretrain, steps_of
from medical.ct.model import SliceEncoder
from medical.ct.select import Slices, select, select_to_ratio

FULL, HASH, RANDOM, SPACED = "all slices", "hash", "random", "every n mm"
EPOCHS, STEPS = "equal epochs", "equal steps"
UNTRAINED = "untrained"
CLAIM = "Pretraining on the slices that hashing keeps is as good for a downstream AUC as on all, in less time"


class Comparison(NamedTuple):
    """The slices of the comparison: (n, size, size) uint8 images with volume, label and split."""

    images: np.ndarray
    slices: Slices
    labels: np.ndarray
    train: np.ndarray


def arm(kept: str, budget: str) -> str:
    """Name of an arm.

    >>> arm("hash", "equal steps")
    'hash, equal steps'
    """
    return FULL if kept == FULL else f"{kept}, {budget}"


COMPARISONS = [
    *((arm(HASH, budget), FULL) for budget in (EPOCHS, STEPS)),
    *((arm(HASH, budget), arm(other, budget)) for budget in (EPOCHS, STEPS) for other in (RANDOM, SPACED)),
    (FULL, UNTRAINED),
]


def ablation_arms(
    problem: Comparison,
    new_encoder: Callable[[int], SliceEncoder],
    *,
    threshold: int,
    epochs: float,
    settings: Mapping[str, Any],
    regularisation: float = 0.1,
    **fitting: Any,
) -> dict[str, Callable[[int], dict[str, float]]]:
    """A function seed -> metrics for each arm, as `core.evaluation.evidence.run_evidence` calls them.

    The seed decides the initial weights, the order and all random numbers of the training, and which slices
    the random arm keeps. The probe is fitted on all labelled slices of the training patients in every arm,
    and scored on the test patients. Metrics: auc, f1, accuracy, slices, steps, seconds of pretraining.

    Args:
        threshold: of the hash. Random and evenly spaced choices are of the same size.
        epochs: of the full arm; "equal steps" trains the reduced ones for as many steps as that takes.
        settings: of `medical.ct.learn.train.pretrain`.
        regularisation: of the probe.
    """
    inside = np.flatnonzero(problem.train)
    whole = problem.slices
    assert whole.codes is not None
    slices = Slices(whole.volumes[inside], whole.positions[inside], whole.codes[inside])
    batch_size = int(settings["batch_size"])
    hashed = select(slices, method="dhash", threshold=threshold)
    spaced = select_to_ratio(slices, method="every_n", ratio=hashed.ratio, tolerance=0.05)

    def rows_of(kept: str, seed: int) -> np.ndarray:
        if kept == FULL:
            return inside
        if kept == RANDOM:
            return inside[select(slices, method="random", threshold=hashed.ratio, seed=seed).keep]
        return inside[(hashed if kept == HASH else spaced).keep]

    def measure(kept: str, budget: str, seed: int) -> dict[str, float]:
        encoder = new_encoder(seed)
        rows = rows_of(kept, seed)
        steps = steps_of(len(rows if budget == EPOCHS else inside), batch_size, epochs)
        volumes = np.unique(whole.volumes[rows], return_inverse=True)[1]
        start = time.perf_counter()
        pretrain(encoder, problem.images[rows], volumes, steps=steps, seed=seed, **settings, **fitting)
        seconds = time.perf_counter() - start
        return {**probe(encoder), "slices": len(rows), "steps": steps, "seconds": seconds}

    def probe(encoder: SliceEncoder) -> dict[str, float]:
        known = problem.labels >= 0
        rows = np.flatnonzero(known & problem.train), np.flatnonzero(known & ~problem.train)
        x, y = (encoder.embed(problem.images[part]) for part in rows)
        scores = probe_probabilities(x, problem.labels[rows[0]], y, regularisation)
        return class_metrics(problem.labels[rows[1]], scores)

    def untrained(seed: int) -> dict[str, float]:
        return {**probe(new_encoder(seed)), "slices": 0, "steps": 0, "seconds": 0}

    arms: dict[str, Callable[[int], dict[str, float]]] = {FULL: partial(measure, FULL, EPOCHS)}
    for budget in (EPOCHS, STEPS):
        arms |= {arm(kept, budget): partial(measure, kept, budget) for kept in (HASH, RANDOM, SPACED)}
    return {**arms, UNTRAINED: untrained}
