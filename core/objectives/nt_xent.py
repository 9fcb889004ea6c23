"""NT-Xent and InfoNCE: two views of a sample find each other among all other samples."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from core.distributed import first_row, gather, sizes, world_size
from core.objectives.contrast import Reduction, contrast
from core.objectives.rows import as_pair


def nt_xent(
    x: Tensor,
    y: Tensor,
    *,
    temperature: float | Tensor = 0.1,
    groups: Tensor | None = None,
    queue: Tensor | None = None,
    queue_groups: Tensor | None = None,
    queue_valid: Tensor | None = None,
    negatives: Literal["batch", "queue"] = "batch",
    normalize: bool = True,
    reduction: Reduction = "mean",
) -> Tensor:
    """Pulls the two views of each sample together and pushes all other samples' views away.

    Formula:
        L = 1/(2N) sum_i [ lse_{k != i}(s_ik) - s_{i,p(i)} ] over the 2N rows z = [x; y], s = <z_i, z_k>/t,
        where p(i) is the other view. With `negatives="queue"` (MoCo): rows x only, and k runs over the
        partner and the queue.

    Use when:
        Two augmentations of the same sample exist and nothing else is known. Small t (0.05-0.1) looks at the
        nearest negatives, large t (0.5) spreads all rows evenly. Batches under some hundred: take `dcl`, or a
        queue.

    Cost:
        Time 16 N^2 d, as the Gram matrix of the 2N rows is computed on one side of its diagonal only; memory
        O(N d + tile). With a queue of K: 12 N K d more.

    Source:
        Chen et al. 2020, "A simple framework for contrastive learning of visual representations"; He et al.
        2020, "Momentum contrast". Verified against numbers of lightly 1.6.0 (with and without memory bank)
        and MONAI 1.6.1.

    Distributed:
        gather.

    Used by:
        mri_segmentation, ct_reduction, code_search.

    Args:
        x: (N, d), first views, any float dtype.
        y: (N, d), second views.
        temperature: t > 0; a tensor may carry gradient.
        groups: (N,) integers; samples of one group (patient, scene, repository) are no negatives of each
            other.
        queue: (K, d) further negatives, no gradient.
        queue_groups: (K,) integers, compared with `groups`.
        queue_valid: (K,) bool; False leaves the entry out.
        negatives: "batch": all other rows, and the queue where given; "queue": the queue alone, for rows x.
        normalize: put rows on the unit sphere.
        reduction: "mean", "sum" or "none": (2N,), x first; (N,) for negatives "queue".

    Returns:
        Scalar >= 0; 0 for a single sample without queue.

    Raises:
        KindredError: shapes differ, or negatives "queue" without a queue.

    Example:
        >>> nt_xent(torch.eye(2), torch.eye(2), temperature=1.0)
        tensor(0.5514)
    """
    x, y = as_pair("x", x, "y", y)
    shared: dict[str, Any] = {
        "scale": 1 / temperature, "queue": queue, "queue_groups": queue_groups, "queue_valid": queue_valid,
        "normalize": normalize, "reduction": reduction,
    }  # fmt: skip
    if negatives == "queue":
        return contrast(x, y, row_groups=groups, denominator="queue", **shared)
    partner = torch.arange(2 * len(x), device=x.device).roll(len(x))
    groups = None if groups is None else groups.repeat(2)
    return contrast(torch.cat([x, y]), positives=partner, row_groups=groups, exclude_self=True, **shared)


class NTXent(nn.Module):
    """`nt_xent` over the batches of all ranks: each rank compares its own rows with everybody's.

    Args:
        temperature: t > 0.
        learnable: train log t with the encoder; it is kept within [0.01, 1].

    Example:
        >>> NTXent(temperature=1.0)(torch.eye(2), torch.eye(2))
        tensor(0.5514)
    """

    def __init__(self, temperature: float = 0.1, *, learnable: bool = False) -> None:
        super().__init__()
        value = torch.tensor(float(temperature)).log()
        self.log_temperature: Tensor
        if learnable:
            self.log_temperature = nn.Parameter(value)
        else:
            self.register_buffer("log_temperature", value)

    def forward(self, x: Tensor, y: Tensor, groups: Tensor | None = None) -> Tensor:
        """Loss of views x and y, (N, d) each; `groups` (N,) as in `nt_xent`."""
        if isinstance(self.log_temperature, nn.Parameter):
            with torch.no_grad():
                self.log_temperature.clamp_(-4.6052, 0.0)
        temperature = self.log_temperature.exp()
        if world_size() == 1:
            return nt_xent(x, y, temperature=temperature, groups=groups)
        x, y = as_pair("x", x, "y", y)
        counts = sizes(len(x), x.device)
        everyone = torch.cat([gather(x, counts), gather(y, counts)])
        total, start = sum(counts), first_row(len(x), counts)
        mine = torch.arange(start, start + len(x), device=x.device)
        partner = torch.cat([mine + total, mine])
        if groups is None:  # a group of its own leaves each row itself out
            own, all_groups = torch.cat([mine, mine + total]), torch.arange(2 * total, device=x.device)
        else:
            own, all_groups = groups.repeat(2), gather(groups, counts).repeat(2)
        loss = contrast(
            torch.cat([x, y]), everyone, positives=partner, row_groups=own, column_groups=all_groups,
            scale=1 / temperature, reduction="sum",
        )  # fmt: skip
        return loss * world_size() / max(2 * total, 1)
