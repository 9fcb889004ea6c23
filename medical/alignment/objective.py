"""Four ways to train X-ray, ECG and report into one space, on the same batch, with any of them missing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from core.errors import ConfigError
from core.objectives.clip import clip
from core.objectives.gram import gram
from core.objectives.pairwise import pairwise
from core.objectives.symile import symile

MODALITIES = ("xray", "ecg", "text")
"""Order of the modalities in presence masks and lists of embeddings."""
XRAY, ECG, TEXT = range(3)
Method = Literal["more", "pairwise", "symile", "gram"]
METHODS: tuple[Method, ...] = get_args(Method)


def more(
    xray: Tensor,
    ecg: Tensor,
    text: Tensor,
    *,
    scale: float | Tensor = 50.0,
    edge: float = 0.0,
    present: Tensor | None = None,
    groups: Tensor | None = None,
) -> Tensor:
    """MoRE's loss: the report is contrasted with the X-ray and with the ECG, and the terms are added.

    L = CLIP(t, x) + CLIP(t, e) + edge * CLIP(x, e), where CLIP is the mean of the cross entropies of both
    directions over scale * cosine. A pair counts in the rows that have both of its modalities, and only these
    rows are its negatives; a pair that fewer than two rows have is 0.

    Thapa et al. 2024, "MoRE: Multi-modal contrastive pre-training with transformers on X-rays, ECGs, and
    diagnostic report" (edge = 0); the X-ray-ECG term follows MEDBind (Gao et al. 2024).

    Args:
        xray, ecg, text: (N, d), not normalised; absent rows may hold anything.
        scale: 1 / temperature; 50 is the published temperature of 0.02.
        edge: weight of the term between X-ray and ECG, >= 0.
        present: (N, 3) bool in the order of `MODALITIES`; all present where left out.
        groups: (N,) ids; rows of one group are no negatives of each other (patients, equal reports).

    Returns:
        Scalar >= 0.

    >>> x = torch.eye(3)
    >>> more(x, x, x, scale=1.0)
    tensor(1.1029)
    """
    rows = (xray, ecg, text)
    weights = {(TEXT, XRAY): 1.0, (TEXT, ECG): 1.0, (XRAY, ECG): edge}
    total = torch.zeros((), dtype=xray.dtype, device=xray.device)
    for (a, b), weight in weights.items():
        if weight:
            both = None if present is None else present[:, a] & present[:, b]
            total = total + weight * clip(
                rows[a], rows[b], scale=scale, groups=groups, x_valid=both, y_valid=both
            )
    return total


def gram_by_pattern(
    rows: Sequence[Tensor],
    present: Tensor,
    *,
    scale: float | Tensor = 1 / 0.07,
    smoothing: float = 0.1,
    groups: Tensor | None = None,
) -> Tensor:
    """GRAM where modalities are missing: one loss for each presence pattern, weighted by its rows.

    Volumes of different numbers of vectors are not comparable, and a zero vector in the place of a missing
    one would make every volume 0, that is a perfect match. So rows are compared within their pattern only.
    The anchor is the report, or the X-ray where there is none; rows with fewer than two modalities, and
    patterns with a single row, take no part.

    Args:
        rows: three (N, d). present: (N, 3) bool. scale, smoothing, groups: see `core.objectives.gram.gram`.

    >>> x = torch.eye(4)
    >>> bool(gram_by_pattern([x, x, x], torch.ones(4, 3, dtype=torch.bool)) > 0)
    True
    """
    total = rows[0].new_zeros(()) * scale
    mass = 0
    for pattern in ((1, 1, 1), (1, 0, 1), (0, 1, 1), (1, 1, 0)):
        wanted = torch.tensor(pattern, dtype=torch.bool, device=present.device)
        members = torch.nonzero((present == wanted).all(1)).flatten()
        if len(members) < 2:
            continue
        kept = [rows[m][members] for m in (TEXT, XRAY, ECG) if pattern[m]]
        own = None if groups is None else groups[members]
        loss = gram(kept[0], kept[1:], temperature=1 / scale, smoothing=smoothing, groups=own)
        total, mass = total + len(members) * loss, mass + len(members)
    return total / max(mass, 1)


class Alignment(nn.Module):
    """One of the four objectives with what it learns: its scale, and for Symile what absence looks like.

    Args:
        method: ``more`` (report as anchor), ``pairwise`` (CLIP over all pairs), ``symile`` or ``gram``.
        width: d of the embeddings.
        temperature: first temperature; 0.02 in MoRE, 0.07 in the others.
        learnable: whether it is trained. The scale 1 / temperature stays at 100 or below; for Symile, whose
            products of three unit vectors are smaller by sqrt(d), at 100 sqrt(d).
        edge: of `more`.
        smoothing: label smoothing of GRAM.
        negatives: of Symile, ``n`` or ``n_squared``.

    Attributes:
        missing: (3, d) embeddings of absence, of Symile. signs: (3, 3) of GRAM, 0 until the end of the training, see
            `medical.alignment.scores.pair_signs`.

    >>> loss = Alignment("symile", width=8)
    >>> rows = [torch.randn(4, 8) for _ in range(3)]
    >>> bool(loss(rows, torch.ones(4, 3, dtype=torch.bool)) > 0)
    True
    """

    def __init__(
        self,
        method: Method,
        *,
        width: int,
        temperature: float = 0.07,
        learnable: bool = True,
        edge: float = 0.0,
        smoothing: float = 0.1,
        negatives: Literal["n", "n_squared"] = "n",
    ) -> None:
        super().__init__()
        if method not in METHODS:
            raise ConfigError("objective", seen=method, expected=f"one of {', '.join(METHODS)}")
        if temperature <= 0 or edge < 0 or not 0 <= smoothing < 1:
            raise ConfigError(
                "(temperature, edge, smoothing)",
                seen=(temperature, edge, smoothing),
                expected="> 0, >= 0, and in [0, 1)",
            )
        self.method, self.edge, self.smoothing, self.negatives = method, edge, smoothing, negatives
        boost = math.sqrt(width) if method == "symile" else 1.0
        self.largest = math.log(100 * boost)
        start = min(math.log(boost / temperature), self.largest)
        self.log_scale = nn.Parameter(torch.tensor(start), requires_grad=learnable)
        self.missing = (
            nn.Parameter(torch.ones(len(MODALITIES), width) / math.sqrt(width))
            if method == "symile"
            else None
        )
        self.signs: Tensor | None
        self.register_buffer("signs", torch.zeros(3, 3, dtype=torch.int64) if method == "gram" else None)

    def scale(self) -> Tensor:
        """The multiplier of the similarities."""
        with torch.no_grad():  # the value, not the gradient: a clamped gradient could never lead back
            self.log_scale.clamp_(max=self.largest)
        return self.log_scale.exp()

    def forward(
        self,
        rows: Sequence[Tensor],
        present: Tensor,
        groups: Tensor | None = None,
        *,
        permutations: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """The loss of three (N, d) with their presence (N, 3); ``permutations`` and ``generator`` of Symile.

        Symile draws its own permutations where items with fewer than two modalities have to be left out.
        """
        scale = self.scale()
        if self.method == "more":
            return more(*rows, scale=scale, edge=self.edge, present=present, groups=groups)
        if self.method == "pairwise":
            return pairwise(rows, present=present, scale=scale, groups=groups)
        if self.method == "gram":
            return gram_by_pattern(rows, present, scale=scale, smoothing=self.smoothing, groups=groups)
        kept = (
            present.sum(1) >= 2
        )  # an item with less has nothing to tell together, and is no negative either
        if not bool(kept.all()):
            rows, present = [part[kept] for part in rows], present[kept]
            groups, permutations = (None if groups is None else groups[kept]), None
        return symile(
            rows, scale=scale, negatives=self.negatives, permutations=permutations, generator=generator,
            present=present, missing=self.missing, groups=groups,
        )  # fmt: skip
