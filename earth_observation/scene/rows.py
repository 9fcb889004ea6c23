"""The rows of a scene: tiles answered, blended, decided."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from earth_observation.labels import NODATA
from earth_observation.scene.work import LEAST_VALID, PART, Tiling, Work, open_mask, open_model, read_strip
from earth_observation.tiles import StripBlend, tile_starts


def map_rows(work: Work, first: int, last: int) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """(row, classes, confidence) of rows of the scene, strip by strip, for tile rows ``first`` to ``last`` - 1.

    The tiles above that reach into the first rows are computed too, so that parts of a scene fit together
    without a seam, to the bit.
    """
    import torch

    model, grid, tiling = open_model(work.model), work.stack.grid, work.tiling
    starts = tile_starts(grid.height, tiling.tile, tiling.stride)
    columns = tile_starts(grid.width, tiling.tile, tiling.stride)
    begin = next(k for k, row in enumerate(starts) if row + tiling.tile > starts[first])
    blend = StripBlend(len(model.table), grid.width, tiling.tile, np.float32)
    blend.top = starts[begin]
    mask = open_mask(work, grid)
    for number in range(begin, last):
        row = starts[number]
        height = min(tiling.tile, grid.height - row)
        pixels, valid = read_strip(work, model, row, height, mask)
        with torch.no_grad():
            for part in _batches(valid, columns, tiling, height, grid.width):
                x = (
                    torch.from_numpy(np.stack([pixels[:, :, c : c + tiling.tile] for c in part])).float()
                    / 255
                )
                for column, answer in zip(part, model.map(x).softmax(1).numpy()):
                    blend.add(answer, row, column)
        following = starts[number + 1] if number + 1 < len(starts) else grid.height
        rows = min(following, grid.height) - row
        good = valid[:rows, : grid.width]
        if number >= first:
            yield row, *_decide(blend, good, rows)
        blend.move(rows)


def _decide(blend: StripBlend, good: np.ndarray, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """(classes, confidence) of the finished rows, a part of the columns at a time."""
    classes = np.full(good.shape, NODATA, dtype=np.uint8)
    confidence = classes.copy()
    for left in range(0, good.shape[1], PART):
        part = np.s_[:, left : left + PART]
        shares = blend.peek(rows, left, min(left + PART, good.shape[1]))
        known_here = good[part] & np.isfinite(shares[0])
        filled = np.nan_to_num(shares)
        classes[part] = np.where(known_here, filled.argmax(0), NODATA)
        confidence[part] = np.where(known_here, np.round(200 * filled.max(0)), NODATA)
    return classes, confidence


def _batches(
    valid: np.ndarray, columns: list[int], tiling: Tiling, height: int, width: int
) -> Iterator[list[int]]:
    """Columns of the tiles to answer, by batches: those of which enough of what lies in the scene is known."""
    wanted = [c for c in columns if valid[:height, c : c + tiling.tile][:, : width - c].mean() >= LEAST_VALID]
    for start in range(0, len(wanted), tiling.batch_size):
        yield wanted[start : start + tiling.batch_size]
