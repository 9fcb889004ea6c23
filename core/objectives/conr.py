"""ConR: contrastive regularisation for imbalanced regression."""

from __future__ import annotations

import torch
from torch import Tensor

from core.errors import KindredError
from core.objectives.partition import in_row_tiles
from core.objectives.rows import EMPTY, as_rows, ids_or_rows, in_full_precision, unit_rows


def _flat(name: str, values: Tensor, x: Tensor) -> Tensor:
    if values.numel() != len(x):
        raise KindredError(
            name,
            seen=tuple(values.shape),
            expected=f"one number a row, ({len(x)},) or ({len(x)}, 1)",
            remedy="pass the regression target of each row",
        )
    return values.detach().reshape(-1).to(x.dtype)


def _tile(
    rows: Tensor,
    ids: Tensor,
    target: Tensor,
    prediction: Tensor,
    columns: Tensor,
    all_ids: Tensor,
    all_targets: Tensor,
    all_predictions: Tensor,
    window: Tensor,
    push: Tensor,
    spurious: Tensor,
) -> Tensor:
    label_distance = (target[:, None] - all_targets[None, :]).abs()
    apart = ids[:, None] != all_ids[None, :]
    near = label_distance <= window
    positive = near & apart
    negative = ~near & apart & ((prediction[:, None] - all_predictions[None, :]).abs() <= window)
    logits = rows @ columns.T
    wanted = positive.sum(1)
    terms = torch.where(positive, logits, torch.where(negative, logits + push * label_distance, EMPTY))
    total = terms.logsumexp(1)
    # the published code sums exp(0) = 1 for every column that is not a positive
    extra = ((len(columns) - wanted) * spurious).to(total.dtype)
    total = torch.where(extra > 0, torch.logaddexp(total, extra.clamp_min(1).log()), total)
    mean_positive = torch.where(positive, logits, 0.0).sum(1) / wanted.clamp_min(1)
    return torch.where((wanted > 0) & negative.any(1), total - mean_positive, 0.0)


@in_full_precision
def conr(
    embeddings: Tensor,
    targets: Tensor,
    predictions: Tensor,
    *,
    window: float = 1.0,
    push: float = 0.01,
    temperature: float = 0.2,
    groups: Tensor | None = None,
    compat: bool = False,
    normalize: bool = True,
) -> Tensor:
    """Pulls rows of near labels together; pushes away rows that the model mistakes for near.

    Formula:
        P(i) = {j: |y_i - y_j| <= window}, N(i) = {j: |y_i - y_j| > window, |p_i - p_j| <= window};
        L_i = -1/|P| sum_{p in P} log [ e^{s_ip/t} / (sum_P e^{s/t} + sum_N e^{push |y_i - y_j|} e^{s/t}) ]
        for rows with both kinds, else 0; L = mean over all rows. Add it to the task loss with its own weight.

    Use when:
        Regression (age, biomass, intervals) with a long-tailed label distribution.

    Cost:
        6 N^2 d time, memory O(N d + tile).

    Source:
        Keramati et al. 2024, "ConR: contrastive regularizer for deep imbalanced regression";
        repository BorealisAI/ConR. With `compat=True` verified against numbers of the official code, which
        also counts exp(0) for each column that is not a positive, and gives NaN for a row without positives
        (here 0).

    Distributed:
        gather (embeddings, targets and predictions).

    Used by:
        no pipeline yet.

    Args:
        embeddings: (N, d), any float dtype.
        targets: (N,) or (N, 1) labels y in their own units.
        predictions: (N,) or (N, 1) the model's current estimates p; no gradient flows to them.
        window: in the units of the labels, >= 0.
        push: weight of label distance, >= 0, per unit of the label.
        temperature: t > 0 (the documented .2; the published AgeDB file runs with .07).
        groups: (N,) integer ids; rows of one group are neither positives nor negatives of each other.
        compat: reproduce the published code's denominator.
        normalize: put rows on the unit sphere first.

    Returns:
        Scalar >= 0.

    Raises:
        KindredError: not one target and one prediction a row.

    Example:
        >>> x = torch.eye(3)
        >>> y = torch.tensor([0.0, 0.5, 9.0])
        >>> round(float(conr(x, y, torch.zeros(3), temperature=1.0)), 4)
        0.4919
    """
    x = as_rows("embeddings", embeddings)
    x = unit_rows(x) if normalize else x
    y, p = _flat("targets", targets, x), _flat("predictions", predictions, x)
    ids = ids_or_rows(groups, x)
    numbers = [x.new_tensor(value) for value in (window, push, float(compat))]
    each = in_row_tiles(_tile, [x / temperature, ids, y, p], [x, ids, y, p, *numbers], width=len(x))
    return each.sum() / max(len(x), 1)
