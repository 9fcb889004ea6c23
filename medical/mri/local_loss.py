"""Local losses: regions of a decoder's feature map are told apart from other regions of the same image.

Chaitanya et al. (NeurIPS 2020), section 3.2. Augmentations change intensities only, so that a region lies at the same
place in both views.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from core.errors import DataError
from core.objectives.rows import as_rows, in_full_precision, unit_rows
from medical.mri.regions import Regions


def region_rows(
    maps: Tensor, regions: Regions, *, kernel: int = 3, projection: Tensor | None = None
) -> Tensor:
    """Unit rows of the regions of each map: (N, C, H, W) -> (N, R, d).

    Args:
        maps: feature maps of one size, that of `region_table`.
        regions: of `region_table`.
        kernel: side of a region; its values are flattened as (kernel, kernel, C).
        projection: (kernel, kernel, C, out) or (kernel * kernel * C, out) weights, without bias; None
            compares the values themselves.

    >>> from medical.mri.regions import region_table
    >>> region_rows(torch.rand(2, 4, 16, 16), region_table(16, 16)).shape
    torch.Size([2, 17, 36])
    """
    maps = as_rows("maps", maps, ndim=4)
    corners = torch.as_tensor(regions.corners, device=maps.device)
    reach = torch.arange(kernel, device=maps.device)
    high, wide = (int(side) + kernel for side in corners.amax(0))
    if high > maps.shape[2] or wide > maps.shape[3]:
        raise DataError(
            "maps", seen=tuple(maps.shape[2:]), expected=f"at least {high} x {wide}, as the regions"
        )
    rows = (corners[:, 0, None] + reach)[:, :, None]
    columns = (corners[:, 1, None] + reach)[:, None, :]
    patches = maps.permute(0, 2, 3, 1)[:, rows, columns].flatten(2)
    return unit_rows(patches if projection is None else patches @ projection.reshape(patches.shape[2], -1))


@in_full_precision
def local_terms(anchor: Tensor, target: Tensor, negatives: Tensor, *, temperature: float = 0.1) -> Tensor:
    """l(anchor's map -> target's map) of each anchor region: (N, R, d) twice -> (N, A).

    The positive of region r is region r of the target; its negatives are the regions ``negatives[r]`` of
    both maps.

    Args:
        anchor, target: unit rows of all regions, the anchors first.
        negatives: (A, n) int64 region numbers.
        temperature: t > 0.

    >>> rows = torch.eye(3)[None]
    >>> local_terms(rows, rows, torch.tensor([[1, 2]]), temperature=1.0)
    tensor([[0.9048]])
    """
    # All R x R similarities: with R <= 17 regions one product is cheaper, and its result smaller, than
    # gathering the rows of every negative.
    own, across = (anchor @ other.transpose(1, 2) / temperature for other in (anchor, target))
    count = len(negatives)
    at = torch.arange(count, device=anchor.device)
    pushed = torch.cat([matrix[:, at[:, None], negatives] for matrix in (own, across)], dim=2)
    return softplus(pushed.logsumexp(2) - across[:, at, at])


def lr(
    first: Tensor,
    second: Tensor,
    regions: Regions,
    *,
    kernel: int = 3,
    projection: Tensor | None = None,
    temperature: float = 0.1,
) -> Tensor:
    """LR: a region and itself in the other view belong together, other regions of both views do not.

    Formula:
        L = 1/(2 A N) sum over images and regions of l(first -> second) + l(second -> first).

    Distributed:
        none: a mean over images that know nothing of each other.

    Args:
        first, second: (N, C, H, W) maps of two intensity views, any float dtype.
        regions, kernel, projection: as in `region_rows`.
        temperature: t > 0.

    >>> from medical.mri.regions import region_table
    >>> maps = torch.ones(1, 2, 16, 16)
    >>> round(float(lr(maps, maps, region_table(16, 16), temperature=1.0)), 4)  # log(1 + 2 * 5)
    2.3979
    """
    x = region_rows(first, regions, kernel=kernel, projection=projection)
    y = region_rows(second, regions, kernel=kernel, projection=projection)
    negatives = torch.as_tensor(regions.negatives, device=x.device)
    forth = local_terms(x, y, negatives, temperature=temperature)
    back = local_terms(y, x, negatives, temperature=temperature)
    return (forth + back).mean() / 2


def ld(
    first: Tensor,
    second: Tensor,
    regions: Regions,
    *,
    parts: int,
    kernel: int = 3,
    projection: Tensor | None = None,
    temperature: float = 0.1,
    keep: int | None = 4,
) -> Tensor:
    """LD: as LR in one direction, and regions of the same place in the same partition of other volumes match.

    Formula:
        L = 1/(2 A N) sum over images i, regions and targets t of l(i -> t): t is the second view of i, and the
        first views of the images of i's partition in the other volumes. With m volumes this is m/2 times the
        mean over terms, as published.

    Distributed:
        none: the volumes of a rank are compared with each other.

    Args:
        first, second: (N, C, H, W) maps of two intensity views, volume by volume with ``parts`` slices each.
        parts: partitions, S; N is a multiple of it.
        keep: the first so many negatives of each region (the published code keeps 4 of 5); None keeps all.
        regions, kernel, projection, temperature: as in `lr`.

    >>> from medical.mri.regions import region_table
    >>> maps = torch.ones(4, 2, 16, 16)
    >>> round(float(ld(maps, maps, region_table(16, 16), parts=2, temperature=1.0)), 4)  # log(1 + 2 * 4)
    2.1972
    """
    return local_targets(
        first, second, regions,
        parts=parts, kernel=kernel, projection=projection, temperature=temperature, keep=keep,
    ).sum() / (2 * regions.anchors * len(first))  # fmt: skip


def local_targets(
    first: Tensor,
    second: Tensor,
    regions: Regions,
    *,
    parts: int,
    kernel: int = 3,
    projection: Tensor | None = None,
    temperature: float = 0.1,
    keep: int | None = 4,
) -> Tensor:
    """The terms of `ld`: (N, A, m), the second view of each image and then its m - 1 fellows."""
    count = len(first)
    if count == 0 or count % parts:
        raise DataError(
            "images of the local loss", seen=count, expected=f"a multiple of the {parts} partitions"
        )
    x = region_rows(first, regions, kernel=kernel, projection=projection)
    y = region_rows(second, regions, kernel=kernel, projection=projection)
    negatives = torch.as_tensor(regions.negatives[:, :keep], device=x.device)
    targets = [y, *(x.roll(-shift * parts, dims=0) for shift in range(1, count // parts))]
    return torch.stack([local_terms(x, target, negatives, temperature=temperature) for target in targets], 2)
