"""After the training of a space: the findings head, and the scale of zero-shot scores."""

from __future__ import annotations

import numpy as np

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
    space.prompts = prompts.model_dump()
    space.calibration = calibrate(space, prepared, prompts)


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
