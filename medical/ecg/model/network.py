"""The fused model: all branches' similarities, one linear layer to all labels, every logit an exact sum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from core.errors import CheckpointError, DataError
from medical.ecg.model.branch import PrototypeBranch
from medical.ecg.preprocess import Preprocessing


class PrototypeNetwork(nn.Module):
    """Branches and a linear layer over the similarities to all prototypes: logit_c = b_c + sum_p W[c, p] s_p.

    The layer works in float64, so that a logit equals the sum of its contributions to rounding.

    Args:
        branches: name -> projected branch, in order. labels: of the output.
        preprocessing: of the signals.
        prototypes: one dictionary a prototype, over all branches in order (`medical.ecg.push.Match`, with
            ``branch``).
    """

    weight: Tensor
    bias: Tensor

    def __init__(
        self,
        branches: dict[str, PrototypeBranch],
        labels: Sequence[str],
        preprocessing: Preprocessing,
        prototypes: Sequence[dict[str, Any]] = (),
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleDict(branches)
        self.labels = list(labels)
        self.preprocessing = preprocessing
        self.prototypes = list(prototypes)
        for branch in branches.values():
            if branch.config.samples != preprocessing.samples:
                raise CheckpointError(
                    f"input of branch {branch.config.name}",
                    seen=f"{branch.config.samples} samples",
                    expected=f"{preprocessing.samples}, as the preprocessing makes",
                )
        total = sum(branch.count for branch in branches.values())
        if prototypes and len(prototypes) != total:
            raise CheckpointError("list of prototypes", seen=len(prototypes), expected=str(total))
        self.register_buffer("weight", torch.zeros(len(self.labels), total, dtype=torch.float64))
        self.register_buffer("bias", torch.zeros(len(self.labels), dtype=torch.float64))

    def train(self, mode: bool = True) -> PrototypeNetwork:
        """Stays in eval mode: the branches are frozen, and running statistics must not drift."""
        return super().train(False)  # type: ignore[return-value]

    def places(self) -> dict[str, slice]:
        """Where each branch's prototypes are among all."""
        found, start = {}, 0
        for name, branch in self.branches.items():
            stop = start + branch.count  # type: ignore[operator]
            found[name] = slice(start, stop)
            start = stop
        return found

    def similarities(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor | None]]:
        """(B, P) over all branches, and each branch's windows (B, P_b, windows) or None."""
        found = {name: branch.similar(x) for name, branch in self.branches.items()}  # type: ignore[operator]
        pooled = torch.cat([one.pooled for one in found.values()], dim=1)
        return pooled, {name: one.windows for name, one in found.items()}

    def logits(self, similarities: Tensor) -> Tensor:
        """(B, P) -> (B, C) float64."""
        return similarities.double() @ self.weight.T + self.bias

    def contributions(self, similarities: Tensor) -> Tensor:
        """(B, C, P) float64: W[c, p] s[b, p]; their sum over p and the bias is the logit."""
        return self.weight[None] * similarities.double()[:, None, :]

    def forward(self, x: Tensor) -> Tensor:
        """(B, 12, T) preprocessed signals -> logits (B, C)."""
        for branch in self.branches.values():
            branch.require_projected()  # type: ignore[operator]
        return self.logits(self.similarities(x)[0])

    @torch.inference_mode()
    def predict(
        self, signals: np.ndarray, *, batch_size: int = 128, raw: bool = True
    ) -> dict[str, np.ndarray]:
        """Probabilities, logits and similarities of many recordings.

        Args:
            signals: (N, 12, T) in mV, conformed; with ``raw`` False already preprocessed.

        Returns:
            ``probabilities`` (N, C), ``logits`` (N, C), ``similarities`` (N, P).
        """
        if signals.ndim != 3:
            raise DataError("signals", seen=signals.shape, expected="(N, 12, T)")
        logits, similarities = [], []
        device = self.weight.device
        for start in range(0, len(signals), batch_size):
            part = np.asarray(signals[start : start + batch_size])
            x = torch.from_numpy(self.preprocessing(part) if raw else part).to(device)
            found, _ = self.similarities(x)
            similarities.append(found.cpu())
            logits.append(self.logits(found).cpu())
        joined = torch.cat(logits)
        return {
            "probabilities": joined.sigmoid().numpy(),
            "logits": joined.numpy(),
            "similarities": torch.cat(similarities).numpy(),
        }


class BlackBox(nn.Module):
    """The comparison: as many backbones of the same sizes, their pooled features, one linear layer to all labels."""

    def __init__(self, backbones: Sequence[nn.Module], labels: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.backbones = nn.ModuleList(backbones)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(sum(int(net.dim) for net in self.backbones), labels)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """(B, 12, T) -> logits (B, C)."""
        return self.head(self.dropout(torch.cat([net(x) for net in self.backbones], dim=1)))  # type: ignore[no-any-return]
