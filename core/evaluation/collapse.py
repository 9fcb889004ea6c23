"""Collapse diagnostics: numbers that tell a falling loss from a space that is falling together."""

from __future__ import annotations

import torch
from torch import Tensor

from core.errors import DataError

LIMIT = 1024  # rows looked at: uniformity and rank cost N^2 d


def embedding_std(x: Tensor) -> float:
    """Mean standard deviation of the coordinates of unit rows, times sqrt(d): 1 spread evenly, 0 collapsed.

    Chen and He, "Exploring simple Siamese representation learning", CVPR 2021, section 4.1.

    >>> embedding_std(torch.ones(4, 2))
    0.0
    """
    z = _unit(x)
    return float(z.std(dim=0, unbiased=False).mean() * z.shape[1] ** 0.5)


def effective_rank(x: Tensor) -> float:
    """exp of the entropy of the normalised singular values of the centred rows: 1 to min(N - 1, d).

    Roy and Vetterli, "The effective rank", EUSIPCO 2007. Rows that are all equal give 0.

    >>> round(effective_rank(torch.eye(4)), 3)
    3.0
    """
    z = _unit(x)
    gram = _gram(z - z.mean(dim=0))
    values = torch.linalg.eigvalsh(gram).clamp_min(0).sqrt()
    total = values.sum()
    if float(total) < 1e-6 * max(1.0, len(z) ** 0.5):
        return 0.0
    share = values / total
    return float(torch.special.entr(share).sum().exp())


def collapsed_fraction(x: Tensor, threshold: float = 0.1) -> float:
    """Share (0 to 1) of the coordinates of unit rows with a standard deviation below ``threshold`` / sqrt(d).

    1 / sqrt(d) is the value for rows spread evenly on the sphere.

    >>> collapsed_fraction(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    0.5
    """
    z = _unit(x)
    return float((z.std(dim=0, unbiased=False) < threshold / z.shape[1] ** 0.5).double().mean())


def modality_gap(x: Tensor, y: Tensor) -> float:
    """Distance between the mean unit rows of two modalities: 0 (same place) to 2.

    Liang et al., "Mind the gap", NeurIPS 2022, section 2.

    >>> modality_gap(torch.tensor([[1.0, 0.0]]), torch.tensor([[-2.0, 0.0]]))
    2.0
    """
    return float((_unit(x).mean(dim=0) - _unit(y).mean(dim=0)).norm())


@torch.no_grad()
def diagnose(x: Tensor, y: Tensor | None = None, *, limit: int = LIMIT) -> dict[str, float]:
    """All diagnostics of embeddings ``x`` (N, d), and of pairs (x_i, y_i) where ``y`` is given.

    Returns:
        embedding_std, effective_rank, collapsed_fraction, uniformity (over both sides' mean), and with ``y``
        alignment and modality_gap. Of more than ``limit`` rows the first are used. Half inputs are read as
        float32.

    Raises:
        DataError: x is not (N, d) with N >= 2, or y has another shape.

    >>> sorted(diagnose(torch.eye(3), torch.eye(3)))[:3]
    ['alignment', 'collapsed_fraction', 'effective_rank']
    """
    from core.objectives.alignment import alignment
    from core.objectives.uniformity import uniformity

    if x.ndim != 2 or len(x) < 2:
        raise DataError("diagnostics: embeddings", seen=tuple(x.shape), expected="(N, d) with N >= 2")
    if y is not None and y.shape != x.shape:
        raise DataError("diagnostics: second view", seen=tuple(y.shape), expected=str(tuple(x.shape)))
    x = x[:limit].detach().float()
    result = {
        "embedding_std": embedding_std(x),
        "effective_rank": effective_rank(x),
        "collapsed_fraction": collapsed_fraction(x),
        "uniformity": float(uniformity(x)),
    }
    if y is not None:
        y = y[:limit].detach().float()
        result["uniformity"] = (result["uniformity"] + float(uniformity(y))) / 2
        result |= {"alignment": float(alignment(x, y)), "modality_gap": modality_gap(x, y)}
    return result


def is_collapsed(found: dict[str, float]) -> bool:
    """Whether diagnostics describe a space with next to no spread left: std below 0.1, or rank below 2.

    >>> is_collapsed({"embedding_std": 0.01, "effective_rank": 30.0})
    True
    """
    return found["embedding_std"] < 0.1 or found["effective_rank"] < 2


def _unit(x: Tensor) -> Tensor:
    return torch.nn.functional.normalize(x.detach().float(), dim=1)


def _gram(z: Tensor) -> Tensor:
    z = z.double()
    return z @ z.T if len(z) < z.shape[1] else z.T @ z
