"""Pixel-level objectives: PixPro's consistency of overlapping cells, and DenseCL's local contrast."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from core.errors import KindredError
from core.objectives.partition import left_out, log_partition
from core.objectives.rows import EMPTY, as_rows, in_full_precision, mean_over, unit_rows

OVERLAP_EPSILON = 1e-6
"""The published code divides by the number of positive pairs plus this."""


def _cells(name: str, x: Tensor, like: Tensor | None = None) -> tuple[Tensor, tuple[int, ...]]:
    """(N, C, *space) -> unit vectors (N, cells, C) and the extent of space."""
    if x.ndim < 3:
        raise KindredError(
            name,
            seen=tuple(x.shape),
            expected="(N, C, H, W) or (N, C, D, H, W)",
            remedy="pass feature maps before pooling",
        )
    x = as_rows(name, x, ndim=x.ndim, like=like)
    return unit_rows(x.flatten(2).transpose(1, 2)), tuple(x.shape[2:])


def cell_centres(boxes: Tensor, extent: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Centres of the cells of a grid laid over each box, and the length of a cell's diagonal.

    Args:
        boxes: (N, 2 k): lower corner then upper corner, x first, in one frame for all boxes of a sample.
        extent: cells along each axis of the feature map, k numbers, x last.

    Returns:
        (N, cells, k) centres, cells in the order of `flatten`; (N,) diagonals.

    >>> cell_centres(torch.tensor([[0.0, 0.0, 2.0, 4.0]]), (1, 2))[0]
    tensor([[[0.5000, 2.0000],
             [1.5000, 2.0000]]])
    """
    axes = len(extent)
    if boxes.ndim != 2 or boxes.shape[1] != 2 * axes:
        raise KindredError(
            "boxes",
            seen=tuple(boxes.shape),
            expected=f"(N, {2 * axes}): lower corner then upper corner, x first",
            remedy="give the crop of each view in the frame of the original image",
        )
    steps = boxes.new_tensor([float(size) for size in reversed(extent)])
    size = (boxes[:, axes:] - boxes[:, :axes]) / steps
    grid = torch.meshgrid(*(torch.arange(n, device=boxes.device) for n in extent), indexing="ij")
    place = torch.stack([axis.flatten() for axis in reversed(grid)], dim=-1).to(boxes.dtype) + 0.5
    return place[None] * size[:, None, :] + boxes[:, None, :axes], size.square().sum(1).sqrt()


@in_full_precision
def pixpro(
    query: Tensor,
    key: Tensor,
    query_boxes: Tensor,
    key_boxes: Tensor,
    *,
    ratio: float = 0.7,
) -> Tensor:
    """Cells of two views that lie on the same spot of the original image should look alike.

    Formula:
        A(i, j) = 1 if the centres of cell i of view 1 and cell j of view 2 are nearer than `ratio` times the
        longer cell diagonal; L = -2 mean over samples of sum A cos(q_i, k_j) / (sum A + 1e-6). Use it both
        ways and add: pixpro(p1, k2, b1, b2) + pixpro(p2, k1, b2, b1), p from `PixelPropagation`, k from the
        momentum encoder.

    Use when:
        Dense tasks (segmentation, change maps) follow and images are large against their objects. No
        negatives.

    Cost:
        2 N cells^2 C time, memory O(N cells^2): 7 x 7 maps are cheap, 16^3 volumes are not.

    Source:
        Xie et al. 2021, "Propagate yourself: exploring pixel-level consistency for unsupervised visual
        representation learning"; repository zdaxie/PixPro. Verified against numbers of the official
        code; volumes (k = 3) are ours.

    Distributed:
        none: a mean over samples that know nothing of each other.

    Used by:
        planned for mri_segmentation and eo_pretraining.

    Args:
        query: (N, C, H, W) or (N, C, D, H, W) of the online branch, any float dtype; normalised over C here.
        key: the same shape, of the momentum branch; no gradient flows to it.
        query_boxes: (N, 2 k) crops of the first view, lower then upper corner, x first, in the image's frame.
        key_boxes: (N, 2 k) crops of the second view.
        ratio: distance threshold in cell diagonals, > 0.

    Returns:
        Scalar in [-2, 2]; a sample whose views do not overlap adds 0.

    Raises:
        KindredError: shapes differ or boxes do not fit the maps.

    Example:
        >>> maps = torch.ones(1, 3, 2, 2)
        >>> box = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
        >>> round(float(pixpro(maps, maps, box, box)), 4)
        -2.0
    """
    (q, extent), (k, _) = _cells("query", query), _cells("key", key.detach(), like=query)
    first, first_diagonal = cell_centres(query_boxes.to(q.dtype), extent)
    second, second_diagonal = cell_centres(key_boxes.to(q.dtype), extent)
    reach = ratio * torch.maximum(first_diagonal, second_diagonal)
    gap = sum(
        (first[:, :, None, axis] - second[:, None, :, axis]).square() for axis in range(first.shape[-1])
    )
    near = (torch.as_tensor(gap).sqrt() < reach[:, None, None]).to(q.dtype)
    agreement = ((near @ k) * q).sum((1, 2)) / (near.sum((1, 2)) + OVERLAP_EPSILON)
    return -2 * agreement.sum() / max(len(q), 1)


class PixelPropagation(nn.Module):
    """Smooths a feature map by what its cells look like: the online branch of PixPro.

    y_i = sum_j max(cos(x_i, x_j), 0)^power g(x_j), g a pointwise linear map of unit-normalised values.

    Args:
        channels: C of the map.
        power: sharpness of the attention, >= 1.
        transform: whether g is a learned 1 x 1 map (else the identity).

    Raises:
        KindredError: `power` below 1.

    Example:
        >>> PixelPropagation(8)(torch.randn(2, 8, 4, 4)).shape
        torch.Size([2, 8, 4, 4])
    """

    def __init__(self, channels: int, *, power: float = 2.0, transform: bool = True) -> None:
        super().__init__()
        if power < 1:
            raise KindredError("PixelPropagation power", seen=power, expected="at least 1", remedy="use 2")
        self.power = power
        self.value = nn.Linear(channels, channels) if transform else nn.Identity()

    @in_full_precision
    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, *space) -> the same shape."""
        cells, _ = _cells("maps", maps)
        attention = (cells @ cells.transpose(1, 2)).clamp_min(0).pow(self.power)
        values = unit_rows(self.value(maps.flatten(2).transpose(1, 2)).to(cells.dtype))
        return (attention @ values).transpose(1, 2).reshape(maps.shape)


@in_full_precision
def dense_local(
    query: Tensor,
    key: Tensor,
    query_features: Tensor,
    key_features: Tensor,
    *,
    queue: Tensor | None = None,
    temperature: float = 0.2,
    groups: Tensor | None = None,
    queue_groups: Tensor | None = None,
    queue_valid: Tensor | None = None,
) -> Tensor:
    """Contrasts each cell of one view with its best match in the other view of the same image.

    Formula:
        match(i) = argmax_j cos(f_i, f'_j) over backbone features; L = mean over cells of
        -log softmax of <q_i, k_match(i)>/t among itself and the pooled dense keys of other images (in the
        batch, or in the queue where one is given). DenseCL adds it to the global loss with weight .5 each.

    Use when:
        Dense tasks follow and positions of crops are not known (else `pixpro`).

    Cost:
        2 N cells^2 (C + 1) + 6 N cells K d time, memory O(N cells^2 + tile).

    Source:
        Wang et al. 2021, "Dense contrastive learning for self-supervised visual pre-training". The
        formula was read from public code; no reference numbers exist.

    Distributed:
        gather without a queue (pooled keys and groups), none with one.

    Used by:
        planned for mri_segmentation.

    Args:
        query: (N, d, *space) dense projections of the online branch, any float dtype.
        key: (N, d, *space) of the momentum branch; no gradient flows to it.
        query_features: (N, C, *space) backbone features of the first view, for matching only.
        key_features: (N, C, *space) of the second.
        queue: (K, d) pooled dense keys of earlier images; no gradient.
        temperature: t > 0.
        groups: (N,) integer ids; keys of the image's group are no negatives.
        queue_groups: (K,) integer ids of the queue.
        queue_valid: (K,) bool; False entries are left out.

    Returns:
        Scalar >= 0; 0 where there is no negative.

    Raises:
        KindredError: shapes differ.

    Example:
        >>> x = torch.eye(4).view(4, 4, 1, 1)
        >>> round(float(dense_local(x, x, x, x, temperature=1.0)), 4)
        0.7437
    """
    (q, _), (k, _) = _cells("query", query), _cells("key", key.detach(), like=query)
    (f, _), (g, _) = _cells("query_features", query_features), _cells("key_features", key_features)
    with torch.no_grad():
        match = (f @ g.transpose(1, 2)).argmax(2)
    positive = (q * k.gather(1, match[..., None].expand_as(q))).sum(-1)
    cells = q.shape[1]
    if queue is None:
        columns = unit_rows(k.mean(1))
        pairs, period = left_out(groups, q, row_copies=cells)
    else:
        columns, period = unit_rows(as_rows("queue", queue).detach().to(q.dtype)), None
        pairs = [] if queue_groups is None or groups is None else [(groups.repeat(cells), queue_groups)]
    rows = q.transpose(0, 1).flatten(0, 1) / temperature
    negative = log_partition(rows, columns, *pairs, period=period, valid=queue_valid)
    return mean_over(softplus(negative - positive.T.flatten() / temperature), negative > EMPTY / 2)
