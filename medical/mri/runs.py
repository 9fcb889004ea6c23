"""The fine-tuning runs of the pipeline: which there are, and their list on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from core.files import read_json, write_json

PRETRAINED, RANDOM = "pretrained", "random"
MIXUP, SELF_TRAINING = "mixup", "self_training"
RUNS = "runs.json"


@dataclass(frozen=True)
class Run:
    """One fine-tuning.

    Attributes:
        init: pretrained, random, mixup (from pretrained weights) or self_training (from those of ``pretrained``
            fine-tuned with as many labels).
        labelled: number of labelled volumes.
        volumes: their ids.
        history: records of `core.learning.fit.fit`.
        best_step: step of the weights that were kept.
        valid_dice: validation Dice of these weights; None without validation volumes.
    """

    init: str
    labelled: int
    volumes: tuple[str, ...] = ()
    history: tuple[Mapping[str, float], ...] = field(default=(), compare=False, hash=False)
    best_step: int | None = None
    valid_dice: float | None = None

    @property
    def name(self) -> str:
        """Name of the run's folder."""
        return f"{self.init}-{self.labelled}"

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "name": self.name}


def planned_runs(labelled: Sequence[int], extras: Sequence[str] = ()) -> list[tuple[str, int]]:
    """(init, labelled volumes) of every run: Mixup with the fewest labels, self-training with every number of them.

    >>> planned_runs([1, 2], ["mixup"])
    [('pretrained', 1), ('random', 1), ('pretrained', 2), ('random', 2), ('mixup', 1)]
    >>> planned_runs([1, 2], ["self_training"])[-2:]
    [('self_training', 1), ('self_training', 2)]
    """
    counts = sorted(set(labelled))
    return [(init, count) for count in counts for init in (PRETRAINED, RANDOM)] + [
        (extra, count)
        for extra in dict.fromkeys(extras)
        for count in (counts if extra == SELF_TRAINING else counts[:1])
    ]


def write_runs(path: Path, runs: Sequence[Run]) -> None:
    """Write the list of runs."""
    write_json(path, [run.to_json() for run in runs])


def read_runs(path: Path) -> list[Run]:
    """Read what `write_runs` wrote."""
    return [
        Run(
            raw["init"],
            raw["labelled"],
            tuple(raw["volumes"]),
            tuple(raw["history"]),
            raw["best_step"],
            raw["valid_dice"],
        )
        for raw in read_json(path)
    ]


def served_run(runs: Sequence[Run]) -> Run:
    """The run that is served: with the most labels, from pretrained weights; of several the best on validation.

    The first of equals, and of runs without validation volumes: the plain one.
    """
    return max(
        (run for run in runs if run.init != RANDOM), key=lambda run: (run.labelled, run.valid_dice or 0)
    )
