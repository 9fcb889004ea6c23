"""Projection: every prototype becomes the feature of a real training recording, and says of which.

Sethi et al. 2025 (MLHC); Chen et al. 2019, "This looks like that" (the push of ProtoPNet). Recordings are
looked at in a fixed order and the first of equals wins, so the result is a function of the data alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from core.errors import ConfigError, DataError
from core.files import read_json


@dataclass(frozen=True)
class Match:
    """The recording behind one prototype.

    ``window`` is the first feature step, ``start`` and ``length`` the window in samples of the input signal,
    ``score`` the scaled cosine at projection (its largest value: a copy of itself).
    """

    prototype: int
    classes: tuple[str, ...]
    ecg_id: str
    patient_id: str
    labels: tuple[str, ...]
    score: float
    window: int
    start: int
    length: int

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Chosen:
    """For each prototype: the row of the recording (-1: no candidate), the window, the score (NaN: none)."""

    row: Tensor
    window: Tensor
    score: Tensor


def candidates(targets: Tensor, identity: Tensor) -> Tensor:
    """(N, P) bool: recordings that have any class of the prototype."""
    return (targets.float() @ identity.T.float()) > 0


def choose(scores: Tensor, windows: Tensor, allowed: Tensor, *, distinct: Tensor | None = None) -> Chosen:
    """The best allowed recording of each prototype; the first of equal scores.

    Args:
        scores: (N, P), best over windows. windows: (N, P) int, where. allowed: (N, P) bool.
        distinct: (P,) int, e.g. the class: prototypes of one value take different (recording, window)s where
            there are enough, the pair of the highest score first. None: each takes its best, as published.
    """
    masked = scores.masked_fill(~allowed, -torch.inf)
    row = masked.argmax(0) if len(masked) else torch.zeros(scores.shape[1], dtype=torch.long)
    if distinct is not None:
        for value in distinct.unique():
            members = torch.nonzero(distinct == value).flatten()
            row[members] = _distinct_rows(masked[:, members], windows[:, members])
    columns = torch.arange(scores.shape[1])
    score = masked[row, columns]
    empty = torch.isinf(score)
    return Chosen(
        torch.where(empty, -1, row),
        torch.where(empty, -1, windows[row, columns]),
        score.masked_fill(empty, torch.nan),
    )


def _distinct_rows(scores: Tensor, windows: Tensor) -> Tensor:
    """Greedy: the best (recording, prototype) pair first; repeats only where recordings run out."""
    left = scores.clone()
    best = scores.argmax(0)
    done = torch.zeros(scores.shape[1], dtype=torch.bool)
    for _ in range(scores.shape[1]):
        place = int(left.argmax())
        row, column = divmod(place, scores.shape[1])
        if torch.isinf(left[row, column]):
            break
        best[column], done[column] = row, True
        left[:, column] = -torch.inf
        left[row, windows[row] == windows[row, column]] = -torch.inf
        left[:, done] = -torch.inf
    return best


def project(
    features: Callable[[slice], Tensor],
    activations: Callable[[Tensor], Tensor],
    prototypes: Tensor,
    identity: Tensor,
    targets: Tensor,
    *,
    batch_size: int = 256,
    distinct: bool = False,
) -> tuple[Tensor, Chosen]:
    """Find the nearest training feature of every prototype and return the prototypes made of them.

    Features are computed twice, a batch at a time, and never kept for all recordings.

    Args:
        features: slice of recordings -> (b, D) or (b, D, steps).
        activations: features -> (b, P) or (b, P, windows), scaled cosines with the present prototypes.
        prototypes: (P, D) or (P, D, T). identity: (P, C). targets: (N, C), recordings in id order.
        distinct: see `choose`.

    Returns:
        new prototypes (those without a candidate unchanged), and what was chosen.
    """
    count = len(targets)
    scores, windows = [], []
    slices = [slice(start, min(start + batch_size, count)) for start in range(0, count, batch_size)]
    for part in slices:
        found = activations(features(part))
        best = found[..., None].max(-1) if found.ndim == 2 else found.max(-1)
        scores.append(best.values)
        windows.append(best.indices)
    group = identity.argmax(1) + identity.shape[1] * (identity.sum(1) > 1) if distinct else None
    chosen = choose(torch.cat(scores), torch.cat(windows), candidates(targets, identity), distinct=group)
    new = prototypes.detach().clone()
    for part in slices:
        wanted = torch.nonzero((chosen.row >= part.start) & (chosen.row < part.stop)).flatten()
        if not len(wanted):
            continue
        found = features(part)
        for prototype in wanted.tolist():
            one = found[int(chosen.row[prototype]) - part.start]
            if new.ndim > 2:
                begin = int(chosen.window[prototype])
                one = one[..., begin : begin + new.shape[-1]]
            new[prototype] = one
    return new, chosen


def raw_window(window: int, length: int, *, steps: int, samples: int) -> tuple[int, int]:
    """(start, length) in input samples of a window of ``length`` feature steps, moved so that it fits.

    >>> raw_window(5, 3, steps=32, samples=1000)
    (156, 93)
    """
    size = int(length * samples / steps)
    return min(int(window * samples / steps), samples - size), size


def matches(
    chosen: Chosen,
    identity: Tensor,
    labels: Sequence[str],
    *,
    ids: Sequence[str],
    patients: Sequence[str],
    names: Sequence[Sequence[str]],
    length: int | None,
    steps: int,
    samples: int,
) -> list[Match]:
    """A `Match` for each prototype.

    Args:
        labels: of the columns of ``identity``. ids, patients, names: of the recordings; names are their labels.
        length: window in feature steps; None: the whole recording.

    Raises:
        DataError: a prototype without any candidate: its class has no training recording.
    """
    empty = torch.nonzero(chosen.row < 0).flatten().tolist()
    if empty:
        lost = sorted({labels[c] for p in empty for c in torch.nonzero(identity[p]).flatten().tolist()})
        raise DataError(
            f"{len(empty)} prototype(s) have no training recording to be projected on",
            seen=lost[:10],
            expected="classes with at least one training recording",
            remedy="leave these labels out, or add recordings",
        )
    found = []
    for prototype, (row, window) in enumerate(zip(chosen.row.tolist(), chosen.window.tolist(), strict=True)):
        start, size = (
            (0, samples) if length is None else raw_window(window, length, steps=steps, samples=samples)
        )
        classes = tuple(labels[c] for c in torch.nonzero(identity[prototype]).flatten().tolist())
        found.append(
            Match(
                prototype, classes, str(ids[row]), str(patients[row]), tuple(names[row]),
                round(float(chosen.score[prototype]), 6), window, start, size,
            )
        )  # fmt: skip
    return found


def identity_of(one: dict[str, Any]) -> str:
    """A prototype's name, the same in every model that has it: what it is projected on, and its number in its branch.

    The number is that of the projection: pruning does not change it, and it tells equal windows apart.

    >>> identity_of({"branch": "rhythm", "prototype": 3, "classes": ["AFIB"], "ecg_id": "00017", "start": 0})
    'rhythm 3: AFIB, ECG 00017 from sample 0'
    """
    classes = "/".join(one["classes"])
    return f"{one['branch']} {one['prototype']}: {classes}, ECG {one['ecg_id']} from sample {one['start']}"


def read_pruned(path: str | os.PathLike[str], prototypes: Sequence[dict[str, Any]]) -> dict[str, int]:
    """The prototypes that a review's summary takes out of a projection: identity -> number over all branches.

    Raises:
        ConfigError: the summary names prototypes that are not among these, or none by identity.
    """
    found = read_json(path)
    wanted = found.get("prune_identities") if isinstance(found, dict) else None
    remedy = "review this model again (kindred ecg-review-export), or remove project.prune"
    if not isinstance(wanted, list) or not all(isinstance(one, str) for one in wanted):
        raise ConfigError(
            f"project.prune {path}", seen=wanted, expected="prune_identities, as kindred ecg-review-import writes",
            remedy=remedy,
        )  # fmt: skip
    at = {identity_of(one): number for number, one in enumerate(prototypes)}
    lost = [one for one in wanted if one not in at]
    if lost:
        raise ConfigError(
            f"project.prune {path}: {len(lost)} of {len(wanted)} prototypes are not in this projection",
            seen=lost[:3], expected="a review of this model", remedy=remedy,
        )  # fmt: skip
    return {one: at[one] for one in wanted}


def duplicate_rate(found: Sequence[Match]) -> float:
    """Share of prototypes that repeat the (recording, window) of an earlier one of the same classes."""
    keys = [(one.classes, one.ecg_id, one.start) for one in found]
    return 1 - len(set(keys)) / len(keys) if keys else 0.0
