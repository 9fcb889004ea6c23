"""GRAM: modalities of one sample should span a small volume."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from core.objectives.rows import (
    EMPTY,
    as_rows,
    as_stack,
    ids_or_rows,
    in_full_precision,
    mean_over,
    safe_sqrt,
    unit_rows,
)


def _noise(vectors: Tensor) -> Tensor:
    """(N, 1) squared height below which a vector's height over a plane is rounding error, hence called 0."""
    return 4 * torch.finfo(vectors.dtype).eps * vectors.detach().square().sum(1, keepdim=True)


def _orthonormal(rest: Tensor) -> tuple[Tensor, Tensor]:
    """Gram-Schmidt over (M, K, d): orthonormal vectors (dependent ones are 0) and the (K,) volume spanned."""
    basis: list[Tensor] = []
    volume = torch.ones_like(rest[0, :, 0])
    for vector in rest:
        noise = _noise(vector)
        for _ in range(2):  # the second pass removes what rounding left of the first
            for earlier in basis:
                vector = vector - (vector * earlier).sum(1, keepdim=True) * earlier
        vector = torch.where(vector.square().sum(1, keepdim=True) > noise, vector, 0.0)
        volume = volume * safe_sqrt(vector.square().sum(1))
        basis.append(unit_rows(vector))
    return torch.stack(basis), volume


@in_full_precision
def gram_volume(anchor: Tensor, others: Tensor | Sequence[Tensor]) -> Tensor:
    """Volume of the parallelepiped spanned by each anchor and each tuple of the other modalities.

    Formula:
        vol_ij = sqrt(det G), G the Gram matrix of (a_i, x_j^1, ..., x_j^(M-1)). By the Schur complement
        det G = det(G_rest,j) (|a_i|^2 - projection of a_i on span(x_j)): the second factor needs M - 1 matrix
        products and no inverse, the first is computed once a tuple.

    Use when:
        You rank tuples for an anchor (small volume = match), or as the similarity inside `gram`.

    Cost:
        2 N K (M - 1) d time; memory O(N K M) with gradient.

    Source:
        Cicchetti et al. 2024, "Gramian multimodal representation learning and alignment"; repository
        ispamm/GRAM. Verified against numbers of the official code (whose determinant is float32).

    Distributed:
        none.

    Used by:
        xray_ecg_report.

    Args:
        anchor: (N, d), any float dtype; not normalised here.
        others: (M - 1, K, d) or a list of (K, d).

    Returns:
        (N, K) volumes >= 0. Where vectors are linearly dependent the volume is 0 and so is its gradient
        (the official one is NaN there).

    Raises:
        KindredError: no other modality, or widths differ.

    Example:
        >>> gram_volume(torch.tensor([[1.0, 0.0, 0.0]]), [torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])])
        tensor([[1., 0.]])
    """
    anchor, rest = as_rows("anchor", anchor), as_stack("others", others, least=1)
    basis, volume = _orthonormal(rest)
    height = anchor.square().sum(1)[:, None]
    for direction in basis:
        height = height - (anchor @ direction.T).square()
    return safe_sqrt(torch.where(height > _noise(anchor), height, 0.0)) * volume


def _cross_entropy(logits: Tensor, keep: Tensor, smoothing: float) -> Tensor:
    own = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    keep = keep | own
    log_probability = logits.masked_fill(~keep, EMPTY).log_softmax(1)
    spread = torch.where(keep, log_probability, 0.0).sum(1) / keep.sum(1)
    each = -(1 - smoothing) * log_probability.diagonal() - smoothing * spread
    return mean_over(each, keep.sum(1) > 1)


@in_full_precision
def gram(
    anchor: Tensor,
    others: Tensor | Sequence[Tensor],
    *,
    temperature: float | Tensor = 0.07,
    smoothing: float = 0.1,
    groups: Tensor | None = None,
    normalize: bool = True,
) -> Tensor:
    """Contrastive loss whose similarity is minus the volume spanned by all modalities together.

    Formula:
        L = (CE(-V/t) + CE(-V^T/t)) / 2, V = gram_volume(anchor, others), targets on the diagonal, label
        smoothing over the columns that take part.

    Use when:
        Three or more modalities must meet in one place; the anchor (usually text) is contrasted with tied
        tuples of the rest.

    Cost:
        6 N^2 (M - 1) d time, memory O(N^2 M).

    Source:
        Cicchetti et al. 2024, "Gramian multimodal representation learning and alignment";
        repository ispamm/GRAM. Verified against numbers of the official code. The paper's matching head is
        not part of it.

    Distributed:
        gather.

    Used by:
        xray_ecg_report.

    Args:
        anchor: (N, d) the anchor modality, any float dtype.
        others: (M - 1, N, d) or a list of (N, d): row i belongs to anchor i.
        temperature: t > 0, a number or a scalar tensor with gradient.
        smoothing: label smoothing in [0, 1).
        groups: (N,) integer ids; other tuples of the anchor's group are left out.
        normalize: put rows on the unit sphere first.

    Returns:
        Scalar >= 0; 0 where no row has a negative.

    Raises:
        KindredError: shapes differ.

    Example:
        >>> eye = torch.eye(3)
        >>> round(float(gram(eye, [eye, eye], smoothing=0.0)), 4)  # equal modalities: every volume is 0
        1.0986
    """
    anchor = as_rows("anchor", anchor)
    rest = as_stack("others", others, least=1)
    as_rows("anchor", anchor, like=rest[0])
    if normalize:
        anchor, rest = unit_rows(anchor), unit_rows(rest)
    logits = -gram_volume(anchor, rest) / temperature
    ids = ids_or_rows(groups, anchor)
    keep = ids[:, None] != ids[None, :]
    return (_cross_entropy(logits, keep, smoothing) + _cross_entropy(logits.T, keep.T, smoothing)) / 2
