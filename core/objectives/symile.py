"""Symile: one contrastive loss over three or more modalities together, not pair by pair."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from core.errors import KindredError
from core.objectives.partition import log_partition
from core.objectives.rows import (
    EMPTY,
    as_rows,
    as_stack,
    ids_or_rows,
    in_full_precision,
    mean_over,
    unit_rows,
)

MAX_COMBINATIONS = 1 << 18

NO_GROUP = torch.iinfo(torch.int64).min
"""Id of a candidate whose parts come from several groups: no row has it."""


@in_full_precision
def symile_similarity(candidates: Tensor, others: Sequence[Tensor]) -> Tensor:
    """Multilinear inner product of candidates of one modality with the product of the others, (B, C).

    Args:
        candidates: (C, d) of the modality to retrieve.
        others: the remaining modalities, each (B, d).

    Returns:
        (B, C): sum over width of candidate times all others; multiply by the learned scale for logits.

    Raises:
        KindredError: `others` is empty or shapes differ.

    >>> symile_similarity(torch.ones(2, 3), [torch.ones(1, 3), torch.full((1, 3), 2.0)])
    tensor([[6., 6.]])
    """
    return as_stack("others", others, least=1).prod(0) @ as_rows("candidates", candidates).T


def _shuffled(
    count: int, others: int, anchors: int, generator: torch.Generator | None, device: torch.device
) -> Tensor:
    where = generator.device if generator is not None else device
    drawn = [torch.randperm(count, generator=generator, device=where) for _ in range(anchors * others)]
    return torch.stack(drawn).view(anchors, others, count).to(device)


def _combinations(rest: Tensor) -> Tensor:
    """(K, N, d) -> (N^K, d): products over all choices of one row a modality, first modality slowest."""
    product = rest[0]
    for modality in rest[1:]:
        product = (product[:, None, :] * modality[None, :, :]).flatten(0, 1)
    return product


@in_full_precision
def symile(
    modalities: Tensor | Sequence[Tensor],
    *,
    scale: float | Tensor = 1 / 0.07,
    negatives: Literal["n", "n_squared"] = "n",
    permutations: Tensor | None = None,
    generator: torch.Generator | None = None,
    present: Tensor | None = None,
    missing: Tensor | None = None,
    groups: Tensor | None = None,
    normalize: bool = True,
) -> Tensor:
    """Contrasts each modality with the elementwise product of all the others.

    Formula:
        score(r_1..r_M) = scale * sum_d prod_m r_m[d]; for each modality as anchor, cross entropy of the true
        tuple against tuples whose other parts come from other rows; L = mean over anchors.
        "n": one joint shuffle a modality gives N candidates. "n_squared": all N^(M-1) combinations.

    Use when:
        Three or more modalities whose information is joint (X-ray, ECG and report): pairwise losses cannot
        see what only the triple tells. Missing modalities are allowed.

    Cost:
        "n": 6 M N^2 d time, memory O(M N d + tile). "n_squared": 6 M N^M d time and N^(M-1) d memory, refused
        above 262,144 combinations.

    Source:
        Saporta et al. 2024, "Contrasting with Symile"; repository
        rajesh-lab/symile. Verified against numbers of the official code; the treatment of missing modalities
        follows the paper's experiments and is ours in detail.

    Distributed:
        gather (pass a list of modalities; all ranks need the same permutations: a generator seeded alike).

    Used by:
        xray_ecg_report.

    Args:
        modalities: (M, N, d) or a list of M tensors (N, d), M >= 2.
        scale: multiplier of the score (already exponentiated), a number or a scalar tensor with gradient.
        negatives: "n" or "n_squared".
        permutations: (M, M - 1, N) for "n": entry [a, k] shuffles the k-th of the others when a is the
            anchor; drawn from `generator` where left out.
        generator: source of the shuffles.
        present: (N, M) bool; False marks an absent modality. Its anchors are left out; in products it is
            replaced by `missing`.
        missing: (M, d) embedding of absence, usually learned; left out, an absent factor counts as 1.
        groups: (N,) integer ids; a candidate made of rows of the anchor's group alone is left out.
        normalize: put rows on the unit sphere first (the `missing` rows too).

    Returns:
        Scalar >= 0; 0 where no anchor has a negative.

    Raises:
        KindredError: fewer than two modalities, shapes that differ, or too many combinations.

    Example:
        >>> triple = [torch.eye(3)] * 3
        >>> round(float(symile(triple, scale=5.0, negatives="n_squared")), 4)
        0.0525
    """
    stack = as_stack("modalities", modalities)
    stack = unit_rows(stack) if normalize else stack
    count, rows = stack.shape[:2]
    if present is not None:
        fill = torch.ones_like(stack[:, :1]) if missing is None else as_rows("missing", missing)[:, None, :]
        fill = unit_rows(fill) if normalize and missing is not None else fill
        stack = torch.where(present.T[..., None], stack, fill)
    if negatives == "n" and permutations is None:
        permutations = _shuffled(rows, count - 1, count, generator, stack.device)
    if negatives == "n_squared" and rows ** (count - 1) > MAX_COMBINATIONS:
        raise KindredError(
            "symile negatives='n_squared'",
            seen=f"{rows}^{count - 1} combinations",
            expected=f"at most {MAX_COMBINATIONS}",
            remedy="use negatives='n' or a smaller batch",
        )
    own = torch.arange(rows, device=stack.device)
    ids = ids_or_rows(groups, stack[0])
    loss, anchors = stack.new_zeros(()), stack.new_zeros(())
    for anchor in range(count):
        rest = torch.cat([stack[:anchor], stack[anchor + 1 :]])
        if negatives == "n":
            sources = permutations[anchor]  # type: ignore[index]
            columns = torch.stack([part[source] for part, source in zip(rest, sources)]).prod(0)
            replaced = None  # column i of row i: the published loss writes the true tuple there
        else:
            sources = torch.cartesian_prod(*[own] * (count - 1)).view(-1, count - 1).T
            columns = _combinations(rest)
            replaced = torch.where((sources == sources[0]).all(0), sources[0], -1)
        same_group = torch.where((ids[sources] == ids[sources[0]]).all(0), ids[sources[0]], NO_GROUP)
        pairs = [] if replaced is None else [(own, replaced)]
        pairs += [] if groups is None else [(ids, same_group)]
        scaled = stack[anchor] * scale
        apart = log_partition(scaled, columns, *pairs, period=rows if replaced is None else None)
        each = softplus(apart - (scaled * rest.prod(0)).sum(1))
        kept = apart > EMPTY / 2
        kept = kept if present is None else kept & present[:, anchor]
        loss = loss + mean_over(each, kept)
        anchors = anchors + kept.any()
    return loss / anchors.clamp_min(1)


class Symile(nn.Module):
    """Symile with a learned scale and, where asked for, a learned embedding of an absent modality.

    Args:
        modalities: how many, M >= 2.
        width: d of the embeddings; needed to learn what absence looks like. None: absence counts as factor 1.
        scale: start of the multiplier; kept within [1, 100] by the forward pass.
        negatives: "n" or "n_squared", see `symile`.

    Example:
        >>> loss = Symile(3, width=8)
        >>> x = [torch.randn(4, 8) for _ in range(3)]
        >>> present = torch.tensor([[True, True, True], [True, True, False]] * 2)  # two rows lack the third
        >>> bool(loss(x, present=present) > 0)
        True
    """

    def __init__(
        self,
        modalities: int,
        *,
        width: int | None = None,
        scale: float = 1 / 0.07,
        negatives: Literal["n", "n_squared"] = "n",
    ) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self.missing = (
            None if width is None else nn.Parameter(torch.ones(modalities, width) / math.sqrt(width))
        )
        self.negatives: Literal["n", "n_squared"] = negatives

    def forward(
        self,
        modalities: Tensor | Sequence[Tensor],
        *,
        present: Tensor | None = None,
        permutations: Tensor | None = None,
        generator: torch.Generator | None = None,
        groups: Tensor | None = None,
    ) -> Tensor:
        """The loss of `symile` with the learned scale and embeddings of absence."""
        return symile(
            modalities,
            scale=self.log_scale.clamp(0, math.log(100)).exp(),
            negatives=self.negatives,
            permutations=permutations,
            generator=generator,
            present=present,
            missing=self.missing,
            groups=groups,
        )
