"""DeGLA: CLIP with hard captions, two local contrasts, and distillation that keeps what the model knew."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus

from core.errors import KindredError
from core.objectives.contrast import contrast
from core.objectives.partition import left_out, log_partition
from core.objectives.rows import (
    EMPTY,
    as_pair,
    as_rows,
    in_full_precision,
    mean_over,
    unit_rows,
)


def local_contrast(
    anchor: Tensor, positive: Tensor, negatives: Tensor, *, scale: float | Tensor, normalize: bool = True
) -> Tensor:
    """Cross entropy of each anchor's positive among itself and the anchor's own hard negatives.

    Args:
        anchor: (N, d). positive: (N, d). negatives: (N, K, d): row i holds the K negatives of anchor i.
        scale: 1 / temperature. normalize: put rows on the unit sphere first.

    >>> eye = torch.eye(2)
    >>> local_contrast(eye, eye, eye.flip(0)[:, None], scale=1.0)
    tensor(0.3133)
    """
    anchor, positive = as_pair("anchor", anchor, "positive", positive)
    negatives = as_rows("negatives", negatives, ndim=3).to(anchor.dtype)
    if normalize:
        anchor, positive, negatives = unit_rows(anchor), unit_rows(positive), unit_rows(negatives)
    anchor = anchor * scale
    against = _log_sum(anchor, negatives)
    return mean_over(softplus(against - (anchor * positive).sum(1)), against > EMPTY / 2)


def _log_sum(anchor: Tensor, negatives: Tensor) -> Tensor:
    """(N,) log sum over each anchor's own negatives; `EMPTY` where there are none."""
    if negatives.shape[1] == 0:
        return torch.full_like(anchor[:, 0], EMPTY)
    return (negatives @ anchor[:, :, None])[:, :, 0].logsumexp(1)


class Degla(NamedTuple):
    """The terms of `degla`, each a scalar, and their weighted sum."""

    total: Tensor
    contrast: Tensor
    text_grounded: Tensor
    image_grounded: Tensor
    distillation: Tensor


@in_full_precision
def degla(
    image: Tensor,
    text: Tensor,
    negatives: Tensor,
    *,
    teacher_image: Tensor,
    teacher_text: Tensor,
    teacher_negatives: Tensor,
    scale: float | Tensor = 1 / 0.07,
    text_scale: float = 10.0,
    text_weight: float = 0.2,
    image_weight: float = 0.2,
    distillation_weight: float = 1e-3,
    groups: Tensor | None = None,
    normalize: bool = True,
) -> Degla:
    """Image-text contrast that learns word order and negation from hard captions without forgetting.

    Formula:
        contrast: CLIP in which image rows also see all hard captions as columns, text rows see images;
        image_grounded: image i against its caption and its own K hard captions;
        text_grounded: caption i against the frozen teacher's caption i and its own K hard captions, scale 10;
        distillation: sum of squared differences to the teacher over images, captions and hard captions;
        total = contrast + text_weight text_grounded + image_weight image_grounded + distillation_weight
        distillation.

    Use when:
        Captions with swapped, reversed or negated content are at hand (time-reversed sounds, negated
        findings).

    Cost:
        6 N^2 (1 + K) d for the contrast, 4 N K d for the local terms; memory O(N K d + tile).

    Source:
        Hu et al. 2025, "Decoupled global-local alignment for improving compositional understanding";
        repository xiaoxing2001/DeGLA. Each term is verified against numbers of the official code, which reads
        the hard captions in two different orders; here one layout (N, K, d) serves both.

    Distributed:
        gather (all six tensors).

    Used by:
        planned for audio_temporal.

    Args:
        image: (N, d), any float dtype.
        text: (N, d) captions.
        negatives: (N, K, d) hard captions of each image.
        teacher_image: (N, d) of the frozen or averaged teacher; no gradient.
        teacher_text: (N, d).
        teacher_negatives: (N, K, d).
        scale: multiplier of the contrast and of the image-grounded term.
        text_scale: multiplier of the text-grounded term.
        text_weight, image_weight, distillation_weight: weights of the terms (not published; choose yours).
        groups: (N,) integer ids; captions and hard captions of other members of the image's group are left
            out.
        normalize: put rows on the unit sphere first.

    Returns:
        `Degla`.

    Raises:
        KindredError: shapes differ.

    Example:
        >>> eye, hard = torch.eye(3), torch.eye(3).flip(0)[:, None]
        >>> terms = degla(eye, eye, hard, teacher_image=eye, teacher_text=eye, teacher_negatives=hard)
        >>> terms.distillation
        tensor(0.)
    """
    image, text = as_pair("image", image, "text", text)
    negatives = as_rows("negatives", negatives, ndim=3).to(image.dtype)
    if len(negatives) != len(image):
        raise KindredError(
            "degla negatives",
            seen=tuple(negatives.shape),
            expected=f"({len(image)}, K, {image.shape[1]})",
            remedy="stack the hard captions of image i in row i",
        )
    teacher = [
        as_rows(name, value.detach(), ndim=student.ndim, like=student).to(image.dtype)
        for name, value, student in (
            ("teacher_image", teacher_image, image),
            ("teacher_text", teacher_text, text),
            ("teacher_negatives", teacher_negatives, negatives),
        )
    ]
    student = [image, text, negatives]
    if normalize:
        student, teacher = [unit_rows(x) for x in student], [unit_rows(x) for x in teacher]
    image, text, negatives = student
    captions = torch.cat([text, negatives.transpose(0, 1).flatten(0, 1)])
    pairs, period = left_out(groups, image, column_copies=1 + negatives.shape[1])
    others = log_partition(image * scale, captions, *pairs, period=period)
    own = _log_sum(image * scale, negatives)  # its own hard captions count whatever the groups
    against = torch.logaddexp(others, own)
    forth = mean_over(softplus(against - (image * text).sum(1) * scale), against > EMPTY / 2)
    back = contrast(text, image, row_groups=groups, scale=scale, normalize=False)
    grounded_text = local_contrast(text, teacher[1], negatives, scale=text_scale, normalize=False)
    grounded_image = local_contrast(image, text, negatives, scale=scale, normalize=False)
    distance = sum((a - b).square().sum() for a, b in zip(student, teacher, strict=True))
    total = (
        (forth + back) / 2
        + text_weight * grounded_text
        + image_weight * grounded_image
        + distillation_weight * distance
    )
    return Degla(total, (forth + back) / 2, grounded_text, grounded_image, torch.as_tensor(distance))
