"""Clone detection: the triplet loss with in-batch negatives of UniXcoder's POJ-104 script."""

from __future__ import annotations

import torch
from torch import Tensor

_FLOOR = 1e-10  # the published script adds it inside the logarithm; it bounds the loss at 23


def clone_loss(
    anchors: Tensor, positives: Tensor, negatives: Tensor, labels: Tensor, *, scale: float = 20.0
) -> Tensor:
    """-log(1e-10 + softmax(scale * [a.p, a.n, a.(all anchors and positives of other labels)])[0]), averaged.

    Args:
        anchors, positives, negatives: (B, d) unit vectors; row i of positives has the label of row i of
            anchors.
        labels: (B,) of the anchors: programs that solve the same problem share one.
        scale: of the cosines.

    Retrieval is scored by `core.evaluation.retrieval.map_at_r`.

    >>> a = torch.eye(2)
    >>> float(clone_loss(a, a, -a, torch.tensor([0, 1]))) < 1e-6
    True
    """
    pool = torch.cat([anchors, positives])
    same = labels[:, None] == labels.repeat(2)[None, :]
    others = (anchors @ pool.T).masked_fill(same, -torch.inf)
    own = (anchors * positives).sum(1, keepdim=True)
    hard = (anchors * negatives).sum(1, keepdim=True)
    share = (scale * torch.cat([own, hard, others], dim=1)).softmax(dim=1)[:, 0]
    return -(share + _FLOOR).log().mean()
