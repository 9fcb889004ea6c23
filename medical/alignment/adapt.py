"""After the training of a space: the findings head, and the scale of zero-shot scores."""

from __future__ import annotations

import numpy as np
import torch

from medical.alignment.evaluate import SUBSETS, embed, zero_shot_scores
from medical.alignment.findings import fit_findings
from medical.alignment.prepared import Prepared
from medical.alignment.prompts import Prompts
from medical.alignment.space import Space


def adapt(
    space: Space,
    prepared: Prepared,
    prompts: Prompts,
    *,
    steps: int,
    learning_rate: float,
    weight_decay: float,
    dropout: float,
    seed: int,
) -> None:
    """Fit the head on training items and the calibration on validation items, and put both into the space.

    The patches of the average training film go into the towers, for phrase maps.

    Calibration: mean and standard deviation of each finding's zero-shot score over the validation items, so that the
    score of one case does not depend on the cases it is scored with.

    Args:
        steps, learning_rate, weight_decay, dropout: of `fit_findings`.
    """
    rows = prepared.rows("train")
    known = rows[np.isfinite(prepared.targets[rows]).any(axis=1)]
    labels = [
        name
        for column, name in enumerate(prepared.labels)
        if len(_values(prepared.targets[known, column])) == 2
    ]
    if labels:
        columns = [prepared.labels.index(name) for name in labels]
        found = embed(space, prepared, known)
        space.head = fit_findings(
            found.stack(), found.present, prepared.targets[known][:, columns], labels, steps=steps,
            learning_rate=learning_rate, weight_decay=weight_decay, dropout=dropout, seed=seed,
        )  # fmt: skip
    space.towers.background.copy_(torch.from_numpy(average_patches(space, prepared)))
    space.prompts = prompts.model_dump()
    space.calibration = calibrate(space, prepared, prompts)


def average_patches(space: Space, prepared: Prepared, most: int = 1000) -> np.ndarray:
    """(h, w, dim) mean patches of the training films, of ``most`` of them at equal distances; 0 without films."""
    rows = prepared.rows("train")
    films = np.unique(prepared.table["film"].to_numpy()[rows[prepared.present[rows, 0]]])
    if not len(films):
        return np.zeros_like(space.towers.background.numpy())
    chosen = films[:: -(-len(films) // most)]
    return space.patches(prepared.films[chosen]).mean(axis=0, dtype=np.float64).astype(np.float32)


def calibrate(space: Space, prepared: Prepared, prompts: Prompts) -> dict[str, dict[str, list[float]]]:
    """subset -> finding -> [mean, standard deviation] of the zero-shot score over the validation items."""
    rows = prepared.rows("valid")
    found = embed(space, prepared, rows)
    names = list(prompts.findings)
    calibration = {}
    for subset, members in SUBSETS.items():
        there = found.of(members)
        if len(there) >= 2:
            scores = zero_shot_scores(space, {m: found.rows[m][there] for m in members}, prompts, names)
            calibration[subset] = {
                name: [float(column.mean()), float(max(column.std(), 1e-6))]
                for name, column in zip(names, scores.T, strict=True)
            }
    return calibration


def _values(column: np.ndarray) -> set[float]:
    return set(column[np.isfinite(column)].tolist())
