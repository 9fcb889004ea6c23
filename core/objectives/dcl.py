"""Decoupled contrastive learning: the positive no longer weakens its own gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from core.objectives.contrast import Reduction, contrast
from core.objectives.rows import as_pair, in_full_precision, unit_rows


@in_full_precision
def dcl(
    x: Tensor,
    y: Tensor,
    *,
    temperature: float | Tensor = 0.1,
    sigma: float | None = None,
    groups: Tensor | None = None,
    normalize: bool = True,
    reduction: Reduction = "mean",
) -> Tensor:
    """Pulls the two views of a sample together and pushes the others away, as two separate terms.

    Formula:
        L_i = -w_i s_{i,p(i)} + lse_{k not in {i, p(i)}} s_ik over the 2N rows z = [x; y], s = <z_i, z_k>/t;
        w = 1 (DCL), or with sigma w_i = 2 - exp(c_i/sigma) / mean_j exp(c_j/sigma) (DCLW), c_i = <x_i, y_i>,
        held constant.

    Use when:
        The batch is below 512 or the learning rate is not tuned: it keeps its gradient where that of
        `nt_xent` fades. sigma (0.5) favours pairs that are still far apart.

    Cost:
        That of `nt_xent`: time 16 N^2 d, memory O(N d + tile).

    Source:
        Yeh et al. 2022, "Decoupled contrastive learning". Verified against numbers of lightly 1.6.0 (DCL,
        DCLW).

    Distributed:
        gather. (The weights of DCLW are relative to the mean of the whole batch.)

    Used by:
        no pipeline yet.

    Args:
        x: (N, d), first views, any float dtype.
        y: (N, d), second views.
        temperature: t > 0; may carry gradient.
        sigma: > 0 for the weighted form; None for w = 1.
        groups: (N,) integers; samples of one group are no negatives of each other.
        normalize: put rows on the unit sphere.
        reduction: "mean", "sum" or "none": (2N,), x first.

    Returns:
        Scalar, may be negative; 0 for a row without negatives (a single sample).

    Raises:
        KindredError: shapes differ.

    Example:
        >>> dcl(torch.eye(2), torch.eye(2), temperature=1.0)
        tensor(-0.3069)
    """
    x, y = as_pair("x", x, "y", y)
    if normalize:
        x, y = unit_rows(x), unit_rows(y)
    weight = None
    if sigma is not None:
        closeness = (x * y).sum(1).detach() / sigma
        weight = (2 - len(x) * torch.softmax(closeness, dim=0)).repeat(2)
    partner = torch.arange(2 * len(x), device=x.device).roll(len(x))
    return contrast(
        torch.cat([x, y]), positives=partner, row_groups=None if groups is None else groups.repeat(2),
        exclude_self=True, denominator="negatives", positive_weight=weight, scale=1 / temperature,
        normalize=False, reduction=reduction,
    )  # fmt: skip
