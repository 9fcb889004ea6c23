"""Which objective for which gaps: the four methods on the same items, with modalities hidden at random."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from core.data.splits import group_split
from core.learning.determinism import generator
from medical.alignment.evaluate import FROM_TWO, SUBSETS, embed, macro, retrieval, zero_shot
from medical.alignment.learn.train import new_space, train_space
from medical.alignment.objective import METHODS
from medical.alignment.prepared import Prepared
from medical.alignment.prompts import Prompts

TITLES = {"more": "MoRE", "pairwise": "pairwise", "symile": "Symile", "gram": "GRAM"}
CLAIM = "Losses that see more than pairs with the report beat text-anchored MoRE where only film and ECG together tell"
JOINT = "Mismatch"
"""The finding of the generated data that neither film nor ECG shows by itself."""


def arm_name(method: str, missing: float) -> str:
    """``MoRE, 30 % missing``.

    >>> arm_name("more", 0.3)
    'MoRE, 30 % missing'
    """
    return f"{TITLES[method]}, {missing:.0%} missing".replace("%", " %")


def hide(present: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Presence with each modality hidden with probability ``share``; an item keeps at least one of its own.

    >>> hide(np.ones((4, 3), dtype=bool), 0.0, np.random.default_rng(0)).all()
    np.True_
    """
    kept = present & (rng.random(present.shape) >= share)
    spare = np.argmax(present * rng.random(present.shape), axis=1)
    empty = ~kept.any(axis=1)
    kept[empty, spare[empty]] = present[empty, spare[empty]]
    return np.asarray(kept)


def ablation_arms(
    prepared: Prepared,
    prompts: Prompts,
    *,
    missing: Sequence[float],
    fractions: Mapping[str, float],
    space: Mapping[str, Any],
    objective: Mapping[str, Any],
    temperature: Mapping[str, float],
    training: Mapping[str, Any],
    modality_dropout: float,
    joint: str | None = JOINT,
    **fitting: Any,
) -> dict[str, Callable[[int], dict[str, float]]]:
    """A function seed -> metrics for each arm, as `core.evaluation.evidence.run_evidence` calls them.

    The seed decides the split by patient, which modalities of the training items are hidden, the first weights and
    the batches; it is the same in every arm. Test items keep all they have.

    Args:
        space, objective: of `new_space`. temperature: method -> first temperature, for those that need another.
        training: of `train_space`. modality_dropout: of Symile, which learns from it what absence looks like, and of
            GRAM, whose loss otherwise asks for nothing of two modalities of a complete item.
        joint: a finding that is measured for itself and left out of the macro AUROC.
    """

    def measure(method: str, share: float, seed: int) -> dict[str, float]:
        splits = group_split(prepared.table["subject"].tolist(), fractions, seed)
        items = prepared.with_splits(splits)
        shown = items.present.copy()
        train = items.rows("train")
        shown[train] = hide(shown[train], share, generator(seed, "hidden", share))
        own = {
            **objective,
            "method": method,
            "temperature": temperature.get(method, objective["temperature"]),
        }
        found = new_space(items, objective=own, seed=seed, **space)
        train_space(
            found, items.with_present(shown), seed=seed,
            modality_dropout=modality_dropout if method in ("symile", "gram") else 0.0, **training, **fitting,
        )  # fmt: skip
        test = items.rows("test")
        vectors = embed(found, items, test)
        metrics: dict[str, float] = {}
        directions = retrieval(found, items, test, vectors, samples=0)
        for k in (1, 5, 10):
            metrics[f"r@{k}"] = float(np.mean([one.recall[k] for one in directions]))
        for one in directions:
            metrics |= {f"{one.name}_r@{k}": one.recall[k] for k in (1, 5, 10)}
        from_two = retrieval(found, items, test, vectors, directions=FROM_TWO, samples=0)
        metrics["from_two_r@5"] = float(np.mean([one.recall[5] for one in from_two]))
        for one in from_two:
            metrics |= {f"{one.name}_r@{k}": one.recall[k] for k in (1, 5, 10)}
        labels = zero_shot(found, items, test, vectors, prompts, samples=0)
        left_out = [joint] if joint else []
        for subset in SUBSETS:
            metrics[f"auroc_{subset}"] = macro(labels, subset, left_out)
        for label in labels:
            if label.finding == joint and label.subset == "xray+ecg":
                metrics["auroc_joint"] = label.value
        if found.alignment.signs is not None:
            found.alignment.signs.zero_()  # what the volume by itself says
            labels = zero_shot(found, items, test, vectors, prompts, samples=0)
            metrics |= {f"auroc_{subset}_by_volume": macro(labels, subset, left_out) for subset in SUBSETS}
        return metrics

    return {
        arm_name(method, share): partial(measure, method, share) for share in missing for method in METHODS
    }


def comparisons(missing: Sequence[float]) -> list[tuple[str, str]]:
    """Every other method against MoRE, for each share of missing modalities."""
    return [
        (arm_name(method, share), arm_name("more", share))
        for share in missing
        for method in METHODS
        if method != "more"
    ]
