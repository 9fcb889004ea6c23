"""Global losses: what a slice is pulled to and pushed from, by the partition of the volume it lies in.

All three of Chaitanya et al. (NeurIPS 2020) are one sentence with other pairs P and negatives N: for unit rows z,
l(a -> b) = log(1 + sum_{n in N(a)} exp(<z_a, z_n>/t) / exp(<z_a, z_b>/t)), L = mean over P of l(a -> b) + l(b -> a).
The positive of the numerator is the only one in the denominator. GR, which knows no partitions, is half of NT-Xent's
doubled form: use `core.objectives.nt_xent`, whose value is the mean over anchors.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from core.errors import DataError
from core.objectives.partition import log_partition
from core.objectives.rows import as_rows, in_full_precision, unit_rows


@in_full_precision
def pair_contrast(
    rows: Tensor, pairs: Tensor, partition: Tensor, *, temperature: float = 0.1
) -> tuple[Tensor, Tensor]:
    """(l(a -> b), l(b -> a)) of each pair, the negatives being all rows of another partition.

    Args:
        rows: (N, d), any float dtype; put on the unit sphere here.
        pairs: (P, 2) int64 row numbers.
        partition: (N,) integers; rows of one partition are no negatives of each other, whatever their volume.
        temperature: t > 0.

    Returns:
        Two (P,) tensors >= 0; 0 for a pair whose partition is the only one.

    >>> l_ab, l_ba = pair_contrast(torch.eye(3), torch.tensor([[0, 1]]), torch.tensor([0, 0, 1]), temperature=1.0)
    >>> l_ab
    tensor([0.6931])
    """
    z = unit_rows(as_rows("rows", rows))
    if partition.shape != (len(z),):
        raise DataError("partition", seen=tuple(partition.shape), expected=f"({len(z)},), one a row")
    negative = log_partition(z / temperature, z, (partition, partition))
    a, b = pairs.unbind(1)
    positive = (z[a] * z[b]).sum(1) / temperature
    return softplus(negative[a] - positive), softplus(negative[b] - positive)


def gd_minus(
    originals: Tensor, first: Tensor, second: Tensor, partition: Tensor, *, temperature: float = 0.1
) -> Tensor:
    """GD-: pulls a slice and its two augmentations together, pushes them from the other partitions.

    Formula:
        P = {(x, x'), (x, x''), (x', x'')} of each slice, |P| = 3B.

    Distributed:
        gather.

    Args:
        originals, first, second: (B, d) rows of the slices and of their two augmentations.
        partition: (B,) integers.
        temperature: t > 0.

    >>> x = torch.eye(2)
    >>> round(float(gd_minus(x, x, x, torch.tensor([0, 1]), temperature=1.0)), 4)
    1.4873
    """
    rows = torch.cat([originals, first, second])
    return _mean_of(rows, view_pairs(len(originals), rows.device), partition.repeat(3), temperature)


def gd(
    originals: Tensor,
    first: Tensor,
    second: Tensor,
    partition: Tensor,
    volume: Tensor,
    *,
    temperature: float = 0.1,
) -> Tensor:
    """GD: as GD-, and slices of one partition in different volumes are pulled together too.

    Formula:
        P of GD- and (x_i, x_j) of equal partition in different volumes, both not augmented.

    Distributed:
        gather.

    Args:
        volume: (B,) integers; the others as in `gd_minus`.

    >>> x = torch.eye(2)
    >>> round(float(gd(x, x, x, torch.tensor([0, 1]), torch.tensor([0, 1]), temperature=1.0)), 4)
    1.4873
    """
    rows = torch.cat([originals, first, second])
    alike = (partition[:, None] == partition) & (volume[:, None] != volume)
    across = alike.triu(1).nonzero()
    pairs = torch.cat([view_pairs(len(originals), rows.device), across])
    return _mean_of(rows, pairs, partition.repeat(3), temperature)


def gd_blocks(rows: Tensor, *, parts: int, temperature: float = 0.1) -> Tensor:
    """GD as the published code computes it (its `global_loss_exp_no=2`), on its own order of rows.

    Rows come in blocks of ``parts``: the slices of volume 1, their augmentations, those of volume 2, theirs,
    and so on; the ring is closed, and the pairs of a slice with its augmentation count twice. The sum over
    pairs and directions is divided by the number of rows.

    Distributed:
        gather.

    Args:
        rows: (n, d), n a multiple of ``2 * parts``.
        parts: partitions, S.
        temperature: t > 0.

    >>> gd_blocks(torch.eye(4), parts=1)
    tensor(0.)
    """
    n = len(rows)
    if n == 0 or n % (2 * parts):
        raise DataError("rows of the blocked loss", seen=n, expected=f"a multiple of {2 * parts}")
    partition = torch.arange(n, device=rows.device) % parts
    forth, back = pair_contrast(rows, block_pairs(n, parts, rows.device), partition, temperature=temperature)
    return (forth + back).sum() / n


def gd_official(originals: Tensor, augmented: Tensor, *, parts: int, temperature: float = 0.1) -> Tensor:
    """`gd_blocks` on rows in the order of a batch: slices volume by volume, and one augmentation of each.

    Distributed:
        gather.

    Args:
        originals, augmented: (B, d), B = volumes x parts, the partitions of a volume in order; at least two volumes.

    >>> x = torch.eye(4)
    >>> rows = x.reshape(2, 2, 4).repeat(1, 2, 1).flatten(0, 1)
    >>> bool(gd_official(x, x, parts=2) == gd_blocks(rows, parts=2))
    True
    """
    if len(originals) < 2 * parts or len(originals) % parts or originals.shape != augmented.shape:
        raise DataError(
            "rows of gd-official",
            seen=(len(originals), len(augmented)),
            expected=f"as many of both, a multiple of {parts}, of at least two volumes",
            remedy="raise pretrain.volumes",
        )
    blocks = [rows.unflatten(0, (-1, parts)) for rows in (originals, augmented)]
    return gd_blocks(torch.cat(blocks, dim=1).flatten(0, 1), parts=parts, temperature=temperature)


def view_pairs(count: int, device: torch.device | None = None) -> Tensor:
    """The (3 count, 2) pairs of rows laid out as originals, first views, second views.

    >>> view_pairs(1).tolist()
    [[0, 1], [0, 2], [1, 2]]
    """
    at = torch.arange(count, device=device)
    parts = [(at, at + count), (at, at + 2 * count), (at + count, at + 2 * count)]
    return torch.cat([torch.stack(pair, dim=1) for pair in parts])


def block_pairs(rows: int, parts: int, device: torch.device | None = None) -> Tensor:
    """The pairs of `gd_blocks`, (2 rows, 2), in the order of the published loop."""
    start = torch.arange(rows, device=device)
    start = start[start % (2 * parts) < parts]
    one, two, three, four = ((start + k * parts) % rows for k in range(4))
    listed = torch.stack([one, two, one, three, three, four, two, four], dim=1)
    return listed.reshape(-1, 2)


def _mean_of(rows: Tensor, pairs: Tensor, partition: Tensor, temperature: float) -> Tensor:
    forth, back = pair_contrast(rows, pairs, partition, temperature=temperature)
    return (forth + back).sum() / max(len(pairs), 1)
