"""Why: which training recordings drove each label of a recording, how much, where, and whether that is so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.errors import DataError
from medical.ecg.model.branch import PrototypeBranch
from medical.ecg.model.network import PrototypeNetwork
from medical.ecg.model.similarity import window_shares
from medical.ecg.push import raw_window


@torch.inference_mode()
def explain(
    network: PrototypeNetwork,
    signals: np.ndarray,
    *,
    ids: Sequence[str] | None = None,
    threshold: float = 0.5,
    top: int = 5,
    labels: Sequence[str] | None = None,
    raw: bool = True,
) -> list[dict[str, Any]]:
    """An account of every recording, as plain values.

    Args:
        signals: (N, 12, T) in mV, conformed; with ``raw`` False already preprocessed.
        threshold: labels with at least this probability are explained; the likeliest one always.
        top: contributions listed for a label, by size; ``rest`` is the sum of all others.
        labels: explain these instead.

    Returns:
        one dictionary a recording: ``id``; ``probabilities`` label -> p; ``labels``: a list of ``{label,
        probability, logit, bias, rest, by_branch, contributions}``, where bias + rest + the sum of the listed
        contributions is the logit, and by_branch + bias as well. A contribution: ``prototype`` (number), its
        ``branch``, ``classes``, ``ecg_id``, ``patient_id``, ``similarity``, ``weight``, ``contribution``, the
        window in seconds on the recording (``start_s``, ``end_s``; all of it where the branch looks at the
        whole) with its share of the contribution, and on the prototype's recording
        (``prototype_start_s``, ``prototype_end_s``).
    """
    unknown = sorted(set(labels or ()) - set(network.labels))
    if unknown:
        raise DataError("labels to explain", seen=unknown, expected=f"among {network.labels}")
    x = torch.from_numpy(network.preprocessing(signals) if raw else np.asarray(signals, dtype=np.float32))
    similar, windows = network.similarities(x)
    logits, parts = network.logits(similar), network.contributions(similar)
    found = []
    for row in range(len(x)):
        p = logits[row].sigmoid()
        chosen = [network.labels.index(name) for name in labels] if labels else _predicted(p, threshold)
        found.append(
            {
                "id": str(ids[row]) if ids is not None else str(row),
                "probabilities": dict(zip(network.labels, p.tolist(), strict=True)),
                "labels": [
                    _label(network, c, logits[row], parts[row], similar[row], windows, row, top)
                    for c in chosen
                ],
            }
        )
    return found


def window_of(
    network: PrototypeNetwork, prototype: int, windows: Mapping[str, Tensor | None], row: int
) -> dict[str, Any]:
    """Where on a recording a prototype was found: start and end in samples, and the share of its similarity."""
    samples = network.preprocessing.samples
    for name, place in network.places().items():
        if not place.start <= prototype < place.stop:
            continue
        branch: Any = network.branches[name]
        found = windows[name]
        if found is None or found.shape[-1] == 1:
            return {"start": 0, "end": samples, "share": 1.0}
        one = found[row, prototype - place.start]
        best = int(one.argmax())
        start, size = raw_window(best, branch.length, steps=branch.steps, samples=samples)
        share = window_shares(one[None, None], branch.config.pool)[0, 0]
        return {"start": start, "end": start + size, "share": float(share[best] / share.sum())}
    raise DataError("prototype", seen=prototype, expected="a number below the count of prototypes")


def occlude(signals: Tensor, start: int, end: int) -> Tensor:
    """Replace samples [start, end) of every lead by the straight line between what lies on both sides.

    >>> occlude(torch.arange(6.0)[None, None] ** 2, 2, 4)[0, 0].tolist()
    [0.0, 1.0, 6.0, 11.0, 16.0, 25.0]
    """
    out = signals.clone()
    size = end - start
    left = signals[..., start - 1] if start > 0 else signals[..., min(end, signals.shape[-1] - 1)]
    right = signals[..., end] if end < signals.shape[-1] else left
    ramp = torch.arange(1, size + 1, dtype=signals.dtype, device=signals.device) / (size + 1)
    out[..., start:end] = left[..., None] + (right - left)[..., None] * ramp
    return out


@torch.inference_mode()
def occlusion_check(
    network: PrototypeNetwork,
    x: Tensor,
    label: int,
    start: int,
    end: int,
    *,
    controls: int = 4,
    seed: int = 0,
) -> dict[str, float]:
    """What covering a window does to the logit of a label, beside covering as long a window elsewhere.

    Args:
        x: (12, T) preprocessed. start, end: samples.
        controls: windows of the same length drawn where they do not overlap.

    Returns:
        ``drop``: logit before less after; ``control_drop``: mean over the controls (NaN where none fits).
    """
    length = x.shape[-1]
    rng = np.random.default_rng(seed)
    size = end - start
    free = [s for s in range(0, length - size + 1, 10) if s + size <= start or s >= end]
    others = rng.choice(free, size=min(controls, len(free)), replace=False).tolist() if free else []
    batch = torch.stack([x, occlude(x, start, end), *(occlude(x, s, s + size) for s in others)])
    logits = network.logits(network.similarities(batch)[0])[:, label]
    control = float((logits[0] - logits[2:]).mean()) if others else float("nan")
    return {"drop": float(logits[0] - logits[1]), "control_drop": control}


def best_prototype(network: PrototypeNetwork, parts: Tensor, label: int, branch: str) -> int:
    """The prototype of a label's own class in a branch that gives most to its logit; (C, P) contributions."""
    name = network.labels[label]
    place = network.places()[branch]
    own = [i for i in range(place.start, place.stop) if name in network.prototypes[i]["classes"]]
    return own[int(parts[label, own].argmax())]


def _predicted(p: Tensor, threshold: float) -> list[int]:
    order = p.argsort(descending=True, stable=True).tolist()
    return [c for c in order if p[c] >= threshold] or order[:1]


def _label(
    network: PrototypeNetwork,
    c: int,
    logits: Tensor,
    parts: Tensor,
    similar: Tensor,
    windows: Mapping[str, Tensor | None],
    row: int,
    top: int,
) -> dict[str, Any]:
    order = parts[c].abs().argsort(descending=True, stable=True)[:top].tolist()
    fs = network.preprocessing.fs
    listed = []
    for prototype in order:
        facts = network.prototypes[prototype] if network.prototypes else {}
        window = window_of(network, prototype, windows, row)
        listed.append(
            {
                "prototype": prototype,
                "branch": facts.get("branch", ""),
                "classes": list(facts.get("classes", ())),
                "ecg_id": facts.get("ecg_id", ""),
                "patient_id": facts.get("patient_id", ""),
                "similarity": float(similar[prototype]),
                "weight": float(network.weight[c, prototype]),
                "contribution": float(parts[c, prototype]),
                "start_s": window["start"] / fs,
                "end_s": window["end"] / fs,
                "window_share": window["share"],
                "prototype_start_s": facts.get("start", 0) / fs,
                "prototype_end_s": (facts.get("start", 0) + facts.get("length", 0)) / fs,
            }
        )
    total, bias = float(parts[c].sum()), float(network.bias[c])
    return {
        "label": network.labels[c],
        "probability": float(logits[c].sigmoid()),
        "logit": float(logits[c]),
        "bias": bias,
        "by_branch": {name: float(parts[c, place].sum()) for name, place in network.places().items()},
        "rest": total - sum(one["contribution"] for one in listed),
        "contributions": listed,
    }


def receptive_seconds(branch: PrototypeBranch, fs: float) -> float:
    """Seconds of signal that one feature step sees, of which those in the middle weigh most."""
    return branch.config.backbone.receptive_field / fs
