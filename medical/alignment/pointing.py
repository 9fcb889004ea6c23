"""How well phrases point: the largest value of a phrase's map against boxes that say where it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from medical.alignment.data.tables import read_table
from medical.alignment.grounding import contrast_to_noise, mean_iou, phrase_map, points_inside, unit_range
from medical.alignment.prepared import Prepared
from medical.alignment.scores import unit
from medical.alignment.space import Space

COLUMNS = ("study_id", "finding", "top", "left", "bottom", "right", "phrase")
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Pointed:
    """One film and phrase, and how its map (`medical.alignment.space.Space.shares`) scores.

    Attributes:
        values: the map. hit: whether it points into a box; published: whether the map of plain cosines does.
        cnr, iou: contrast to noise and mean IoU. area: share of the film that the boxes take.
    """

    row: int
    finding: str
    phrase: str
    boxes: list[Box]
    values: np.ndarray = field(repr=False)
    hit: bool
    published: bool
    cnr: float
    iou: float
    area: float


def read_boxes(path: Path) -> dict[str, dict[str, tuple[str, list[Box]]]]:
    """study -> finding -> (phrase, boxes), from a table with the columns `COLUMNS`; boxes are shares of the side."""
    found: dict[str, dict[str, tuple[str, list[Box]]]] = {}
    for one in read_table(path, COLUMNS).itertuples():
        boxes = found.setdefault(str(one.study_id), {}).setdefault(str(one.finding), (str(one.phrase), []))[1]
        boxes.append((float(one.top), float(one.left), float(one.bottom), float(one.right)))
    return found


def point(
    space: Space, prepared: Prepared, rows: np.ndarray, truth: Path, *, prefix: str = "", sigma: float = 0.5
) -> list[Pointed]:
    """The maps of the phrases of every film among ``rows`` that the table has boxes for.

    A map shows what each patch adds to the fit of film and phrase beyond the average film. BioViL's map, the cosine
    of each patch, is scored beside it: where positions have vectors of their own, as in a small transformer, it shows
    these more than the film.

    Args:
        prefix: before each phrase. sigma: of the map's Gaussian, in patches.
    """
    boxes = read_boxes(truth)
    phrases: dict[str, np.ndarray] = {}
    found = []
    for row in rows:
        study = str(prepared.table["id"].iloc[row]).split("-")[0].removeprefix("s")
        if not prepared.present[row, 0] or study not in boxes:
            continue
        film = prepared.film(int(row))
        own, shares, cosines = (
            space.embed_films([film])[0],
            space.shares(film),
            unit(space.patches([film])[0]),
        )
        for finding, (phrase, where) in boxes[study].items():
            if phrase not in phrases:
                phrases[phrase] = space.embed_texts([prefix + phrase])[0]
            text = space.towards("xray", "text", phrases[phrase], own)[None]
            inside = box_mask(film.shape, where)
            hit, published = (
                points_inside(phrase_map(patches, text, sigma=sigma), inside) for patches in (shares, cosines)
            )
            values = phrase_map(shares, text, size=film.shape, sigma=sigma, interpolation="bilinear")
            found.append(
                Pointed(
                    int(row), finding, phrase, where, values, hit, published,
                    contrast_to_noise(values, inside, signed=True), mean_iou(unit_range(values), inside),
                    float(inside.mean()),
                )
            )  # fmt: skip
    return found


def box_mask(shape: tuple[int, ...], boxes: Sequence[Box]) -> np.ndarray:
    """(H, W) bool, True inside any box.

    >>> box_mask((4, 4), [(0.0, 0.5, 0.5, 1.0)]).sum()
    np.int64(4)
    """
    mask = np.zeros(shape[:2], dtype=bool)
    for top, left, bottom, right in boxes:
        rows = slice(round(top * shape[0]), round(bottom * shape[0]))
        mask[rows, round(left * shape[1]) : round(right * shape[1])] = True
    return mask
