"""TCL: contrast across modalities, within each modality, and between a sample and its own parts."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus

from core.errors import KindredError
from core.objectives.partition import left_out, log_partition
from core.objectives.rows import EMPTY, as_pair, as_rows, ids_or_rows, in_full_precision, unit_rows
from core.objectives.soft_targets import soft_cross_entropy


@in_full_precision
def global_local(
    whole: Tensor,
    parts: Tensor,
    *,
    temperature: float | Tensor = 0.07,
    mask: Tensor | None = None,
    groups: Tensor | None = None,
    normalize: bool = True,
) -> Tensor:
    """Each part (patch, token) of a sample should match the whole; parts of other samples are negatives.

    Formula:
        L = mean over samples n and their parts l of -log [ e^{<g_n, p_nl>/t} / (e^{<g_n, p_nl>/t}
        + sum_{m != n, l'} e^{<g_n, p_ml'>/t}) ]. The sum does not depend on l, so it is taken once a sample.

    Use when:
        Structure inside a sample matters (findings in a region, words of a caption).

    Cost:
        6 N^2 L d time, memory O(N L d + tile) (the published code needs N^2 L^2).

    Source:
        Yang et al. 2022, "Vision-language pre-training with triple contrastive learning"; repository
        uta-smile/TCL. Verified against numbers of the official code, with and without mask.

    Distributed:
        gather (wholes, parts and mask).

    Used by:
        planned for xray_ecg_report.

    Args:
        whole: (N, d), any float dtype.
        parts: (N, L, d) of the same sample.
        temperature: t > 0, a number or a scalar tensor with gradient.
        mask: (N, L) bool or 0/1; False parts (padding) are neither positives nor negatives.
        groups: (N,) integer ids; parts of other members of the group are left out.
        normalize: put wholes and parts on the unit sphere first.

    Returns:
        Scalar >= 0; 0 where no sample has a negative. A sample without parts adds 0.

    Raises:
        KindredError: shapes differ.

    Example:
        >>> eye = torch.eye(3)
        >>> round(float(global_local(eye, eye[:, None], temperature=1.0)), 4)
        0.5514
    """
    whole, parts = as_rows("whole", whole), as_rows("parts", parts, ndim=3)
    if parts.shape[0] != whole.shape[0] or parts.shape[2] != whole.shape[1]:
        raise KindredError(
            "parts",
            seen=tuple(parts.shape),
            expected=f"({whole.shape[0]}, L, {whole.shape[1]})",
            remedy="give the parts of sample i in row i, projected to the width of the whole",
        )
    parts = parts.to(whole.dtype)
    if normalize:
        whole, parts = unit_rows(whole), unit_rows(parts)
    shown = torch.ones_like(parts[:, :, 0]) > 0 if mask is None else mask.bool()
    hot = whole / temperature
    pairs, period = left_out(groups, whole, column_copies=parts.shape[1])
    columns = parts.transpose(0, 1).flatten(0, 1)
    negative = log_partition(hot, columns, *pairs, period=period, valid=shown.T.flatten())
    each = softplus(negative[:, None] - (parts @ hot[:, :, None])[:, :, 0])
    mean_part = torch.where(shown, each, 0.0).sum(1) / shown.sum(1).clamp_min(1)
    return torch.where(negative > EMPTY / 2, mean_part, 0.0).sum() / max(len(whole), 1)


class Tcl(NamedTuple):
    """The mean of the six terms of `tcl` and the terms themselves, each a scalar."""

    total: Tensor
    image_text: Tensor
    text_image: Tensor
    image_image: Tensor
    text_text: Tensor
    image_local: Tensor
    text_local: Tensor


@in_full_precision
def tcl(
    image: Tensor,
    text: Tensor,
    image_key: Tensor,
    text_key: Tensor,
    image_parts: Tensor,
    text_parts: Tensor,
    *,
    text_mask: Tensor | None = None,
    image_queue: Tensor | None = None,
    text_queue: Tensor | None = None,
    temperature: float | Tensor = 0.07,
    soft: float = 0.4,
    groups: Tensor | None = None,
    queue_groups: Tensor | None = None,
    queue_valid: Tensor | None = None,
    normalize: bool = True,
) -> Tcl:
    """Triple contrast of image and text with momentum keys, queues and softened targets.

    Formula:
        total = (i2t + t2i + i2i + t2t + local_image + local_text) / 6; i2t: image rows against text keys and
        queue, target soft * softmax(image key against the same columns) + (1 - soft) * own; t2i likewise; i2i
        and t2t: rows against keys and queue of their own modality, target own; local terms: `global_local` of
        the rows with the momentum encoder's parts.

    Use when:
        Pairs are noisy (soft targets) and each modality has structure of its own to keep.

    Cost:
        four times 8 N (N + K) d, plus 12 N^2 L d for the parts; memory O((N + K) d + tile).

    Source:
        Yang et al. 2022, "Vision-language pre-training with triple contrastive learning";
        repository uta-smile/TCL. The local term is verified against numbers of the official code; the global
        terms follow the code as read, not run. Its matching and masked-word losses are not part of it.

    Distributed:
        gather (all six tensors and the mask); the queues are the same on every rank.

    Used by:
        planned for xray_ecg_report.

    Args:
        image: (N, d) of the online encoder, any float dtype.
        text: (N, d).
        image_key: (N, d) of the momentum encoder; no gradient.
        text_key: (N, d).
        image_parts: (N, L, d) of the momentum encoder; no gradient.
        text_parts: (N, L', d).
        text_mask: (N, L') bool; False is padding.
        image_queue: (K, d) earlier image keys.
        text_queue: (K, d) earlier text keys.
        temperature: t > 0, a number or a scalar tensor with gradient (published range .001 to .5).
        soft: share of the momentum model's opinion in the targets, in [0, 1]; ramp it up from 0.
        groups: (N,) integer ids; other members of the group are left out everywhere.
        queue_groups: (K,) integer ids of both queues.
        queue_valid: (K,) bool; False entries are left out.
        normalize: put rows on the unit sphere first.

    Returns:
        `Tcl`.

    Raises:
        KindredError: shapes differ.

    Example:
        >>> x = torch.eye(3)
        >>> terms = tcl(x, x, x, x, x[:, None], x[:, None], temperature=1.0, soft=0.0)
        >>> round(float(terms.total), 4)
        0.5514
    """
    image, text = as_pair("image", image, "text", text)
    image_key = as_rows("image_key", image_key.detach(), like=image).to(image.dtype)
    text_key = as_rows("text_key", text_key.detach(), like=text).to(text.dtype)
    if normalize:
        image, text, image_key, text_key = (unit_rows(x) for x in (image, text, image_key, text_key))
    ids = ids_or_rows(groups, image)
    stored_groups = None if groups is None else queue_groups
    image_side = _columns(image_key, image_queue, ids, stored_groups, queue_valid, normalize)
    text_side = _columns(text_key, text_queue, ids, stored_groups, queue_valid, normalize)

    def against(rows: Tensor, key: Tensor, side: tuple[Tensor, Tensor, Tensor], share: float) -> Tensor:
        columns, column_ids, valid = side
        teacher = key / torch.as_tensor(temperature).detach()
        each = soft_cross_entropy(
            rows / temperature,
            columns,
            teacher,
            columns,
            row_ids=ids,
            column_ids=column_ids,
            valid=valid,
            hard=1 - share,
        )
        return each.sum() / max(len(each), 1)

    def local(rows: Tensor, parts: Tensor, mask: Tensor | None) -> Tensor:
        return global_local(
            rows, parts.detach(), temperature=temperature, mask=mask, groups=groups, normalize=normalize
        )

    terms = [
        against(image, image_key, text_side, soft),
        against(text, text_key, image_side, soft),
        against(image, image_key, image_side, 0.0),
        against(text, text_key, text_side, 0.0),
        local(image, image_parts, None),
        local(text, text_parts, text_mask),
    ]
    return Tcl(torch.stack(terms).mean(), *terms)


def _columns(
    key: Tensor,
    queue: Tensor | None,
    ids: Tensor,
    queue_groups: Tensor | None,
    queue_valid: Tensor | None,
    normalize: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Keys and queue as columns, their ids (of the queue: one no row has, unless given), which to use."""
    usable = torch.ones(len(key), dtype=torch.bool, device=key.device)
    if queue is None:
        return key, ids, usable
    stored = as_rows("queue", queue.detach()).to(key.dtype)
    stored = unit_rows(stored) if normalize else stored
    foreign = torch.full((len(stored),), torch.iinfo(ids.dtype).min, dtype=ids.dtype, device=ids.device)
    filled = (
        torch.ones(len(stored), dtype=torch.bool, device=key.device) if queue_valid is None else queue_valid
    )
    known = foreign if queue_groups is None else queue_groups
    return torch.cat([key, stored]), torch.cat([ids, known]), torch.cat([usable, filled])
