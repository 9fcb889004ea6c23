"""The projection of a trained branch, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from medical.ecg.evaluate import macro_auroc
from medical.ecg.learn.batches import SignalSet
from medical.ecg.learn.supervised import scores
from medical.ecg.model.branch import PrototypeBranch
from medical.ecg.push import Match, duplicate_rate, matches, project


@torch.no_grad()
def project_branch(
    branch: PrototypeBranch,
    data: SignalSet,
    *,
    ids: Sequence[str],
    patients: Sequence[str],
    names: Sequence[Sequence[str]],
    distinct: bool = True,
    batch_size: int = 256,
) -> list[Match]:
    """Replace every prototype by its nearest training feature, in place, and set the ``projected`` flag.

    A second projection changes nothing.

    Args:
        branch: after joint training. data: training recordings in the order of their ids.
        ids, patients, names: of the recordings; names are all their labels.
        distinct: prototypes of a class take different windows (`medical.ecg.push.choose`).

    Raises:
        DataError: a class without training recording.
    """
    branch.eval()
    new, chosen = project(
        lambda part: branch.features(data.x(part)),
        branch.activations,
        branch.prototypes,
        branch.identity,
        data.targets,
        batch_size=batch_size,
        distinct=distinct,
    )
    found = matches(
        chosen,
        branch.identity,
        branch.config.labels,
        ids=ids,
        patients=patients,
        names=names,
        length=branch.length if 0 < branch.length < branch.steps else None,
        steps=branch.steps,
        samples=branch.config.samples,
    )
    branch.prototypes.copy_(new)
    branch.projected.fill_(True)
    return found


def fixed_auroc(branch: PrototypeBranch, data: SignalSet) -> float:
    """Macro AUROC of a branch with its linear layer as it is; before and after projection the drop is its cost."""
    found = scores(lambda x: branch.logits(branch.similar(x).pooled), data)
    return macro_auroc(data.targets.numpy(), found)[0]


def projection_report(
    branch: PrototypeBranch, found: Sequence[Match], before: float, after: float
) -> dict[str, Any]:
    """Numbers of one projection."""
    own = [one.score for one in found]
    return {
        "prototypes": len(found),
        "duplicate_rate": round(duplicate_rate(found), 4),
        "auroc_before": before,
        "auroc_after": after,
        "score_mean": sum(own) / len(own),
        "score_min": min(own),
        "score_largest_possible": branch.scale,
    }
