"""Probabilities of findings from any subset of the modalities: one linear layer over the space."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from core.errors import DataError
from core.learning.determinism import torch_generator


class FindingHead(nn.Module):
    """Concatenated embeddings, a learned token in the place of each missing one, then one linear layer.

    Args:
        dim: of the space. labels: names of the findings.

    >>> head = FindingHead(4, ["Edema"])
    >>> head(torch.zeros(2, 3, 4), torch.tensor([[True, False, True]] * 2)).shape
    torch.Size([2, 1])
    """

    def __init__(self, dim: int, labels: list[str], *, modalities: int = 3) -> None:
        super().__init__()
        self.labels = list(labels)
        self.missing = nn.Parameter(torch.zeros(modalities, dim))
        self.linear = nn.Linear(modalities * dim, len(labels))
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, rows: Tensor, present: Tensor) -> Tensor:
        """Logits (B, C) of embeddings (B, 3, dim) and presence (B, 3)."""
        filled = torch.where(present[..., None], rows, self.missing)
        out: Tensor = self.linear(filled.flatten(1))
        return out

    def probabilities(self, rows: np.ndarray, present: np.ndarray) -> np.ndarray:
        """(B, C) in 0..1."""
        with torch.inference_mode():
            return torch.sigmoid(self(torch.from_numpy(rows).float(), torch.from_numpy(present))).numpy()


def fit_findings(
    rows: np.ndarray,
    present: np.ndarray,
    targets: np.ndarray,
    labels: list[str],
    *,
    steps: int = 300,
    learning_rate: float = 0.05,
    weight_decay: float = 0.001,
    dropout: float = 0.3,
    seed: int = 0,
) -> FindingHead:
    """Fit a head on frozen embeddings, dropping modalities of each sample for itself so that any subset will do.

    Args:
        rows: (N, 3, dim) unit embeddings, anything where missing. present: (N, 3) bool. targets: (N, C) of 1, 0 and
            NaN (not known: counts nowhere).
        dropout: probability that a modality of a sample is hidden in a step; one always stays.

    Raises:
        DataError: no known label, or shapes that do not fit.
    """
    if rows.shape[:2] != present.shape or len(targets) != len(rows) or targets.shape[1] != len(labels):
        raise DataError(
            "findings", seen=(rows.shape, present.shape, targets.shape), expected="(N, 3, d), (N, 3), (N, C)"
        )
    known = np.isfinite(targets)
    if not known.any():
        raise DataError("findings", seen="no known label in the training items", expected="1 or 0 for some")
    head = FindingHead(rows.shape[2], labels)
    x, there = torch.from_numpy(rows).float(), torch.from_numpy(present)
    y, mask = torch.from_numpy(np.nan_to_num(targets)).float(), torch.from_numpy(known).float()
    weight = mask / mask.sum(0).clamp_min(1)
    optimizer = torch.optim.AdamW(head.parameters(), lr=learning_rate, weight_decay=weight_decay)
    generator = torch_generator(seed, "finding-head")
    for _ in range(steps):
        hidden = torch.rand(there.shape, generator=generator) < dropout
        kept = there & ~hidden
        kept = torch.where(kept.any(1, keepdim=True), kept, there)
        loss = nn.functional.binary_cross_entropy_with_logits(
            head(x, kept), y, weight=weight, reduction="sum"
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return head.eval()
