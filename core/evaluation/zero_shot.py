"""Zero-shot classification: items and class prompts in one space, no training on the classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from core.errors import ConfigError, DataError


def class_prototypes(prompts: Sequence[Any]) -> np.ndarray:
    """One unit row a class: the mean of the unit embeddings of its prompts, made unit again.

    Radford et al., "Learning transferable visual models from natural language supervision" (CLIP), 2021,
    section 3.1.4 (prompt ensembling).

    Args:
        prompts: for each class the embeddings (P_c, d) of its prompts, P_c >= 1.

    Returns:
        (C, d) float64.

    >>> class_prototypes([[[2.0, 0.0]], [[0.0, 1.0], [0.0, 3.0]]]).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    rows = [np.asarray(_plain(group), dtype=np.float64) for group in prompts]
    if not rows or any(group.ndim != 2 or len(group) == 0 for group in rows):
        raise DataError(
            "zero-shot: prompts",
            seen=[group.shape for group in rows],
            expected="(P, d) for each class, P >= 1",
        )
    if len({group.shape[1] for group in rows}) > 1:
        raise DataError("zero-shot: prompts", seen=[group.shape for group in rows], expected="one width d")
    return _unit(np.stack([_unit(group).mean(axis=0) for group in rows]))


def zero_shot_probabilities(x: Any, prototypes: Any, *, temperature: float = 0.01) -> np.ndarray:
    """Softmax over classes of cosine / temperature: (N, d) items, (C, d) prototypes -> (N, C), rows sum to 1.

    >>> zero_shot_probabilities([[1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]], temperature=0.1).round(3).tolist()
    [[1.0, 0.0]]
    """
    if temperature <= 0:
        raise ConfigError("zero-shot temperature", seen=temperature, expected="a number > 0")
    logits = cosine(x, prototypes) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def paired_probabilities(x: Any, present: Any, absent: Any, *, temperature: float = 0.5) -> np.ndarray:
    """For multi-label: probability of each label, the softmax of its "present" against its "absent" prompt.

    CheXzero (Tiu et al., Nature BME 2022) and Xplainer (Pellegrini et al., MICCAI 2023).

    Args:
        x: (N, d) items. present, absent: (C, d) prototypes of either statement.

    Returns:
        (N, C) in (0, 1); 0.5 where both statements are equally close.

    >>> paired_probabilities([[1.0, 0.0]], [[1.0, 0.0]], [[1.0, 0.0]]).tolist()
    [[0.5]]
    """
    if temperature <= 0:
        raise ConfigError("zero-shot temperature", seen=temperature, expected="a number > 0")
    difference = (cosine(x, present) - cosine(x, absent)) / temperature
    return np.exp(-np.logaddexp(0.0, -difference))


def cosine(x: Any, y: Any) -> np.ndarray:
    """Cosine of each row of x (N, d) with each of y (C, d) as (N, C) float64; a zero row gives 0."""
    left, right = (np.asarray(_plain(value), dtype=np.float64) for value in (x, y))
    if left.ndim != 2 or right.ndim != 2 or left.shape[1] != right.shape[1]:
        raise DataError(
            "zero-shot: (items, prototypes)", seen=(left.shape, right.shape), expected="(N, d), (C, d)"
        )
    return _unit(left) @ _unit(right).T


def _unit(rows: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(rows, axis=-1, keepdims=True)
    return rows / np.where(length > 0, length, 1.0)


def _plain(value: Any) -> Any:
    return value.detach().cpu().float().numpy() if hasattr(value, "detach") else value
