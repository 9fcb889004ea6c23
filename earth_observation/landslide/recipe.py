"""The recipe from files to files: train on labelled ground, score on blocks that were kept apart, map all of it."""

from __future__ import annotations

import os
from typing import Any

from core.errors import DataError
from core.files import atomic_directory, write_json
from core.learning.determinism import seed_everything
from core.tracking.model_folder import read_model, write_model
from earth_observation.data.checks import Limits
from earth_observation.landslide.ground import Ground, brightest, cut_ground
from earth_observation.landslide.maps import write_landslide_maps
from earth_observation.landslide.net import TwoSourceNet
from earth_observation.landslide.score import landslide_metrics

FORMAT = "kindred-landslide/1"
WIDTHS = (16, 32, 32, 32)


def learn_and_map(
    ground: Ground,
    out: str | os.PathLike[str],
    *,
    tile: int = 64,
    steps: int = 150,
    alpha: float = 0.1,
    seed: int = 0,
    width: int = 32,
    **fitting: Any,
) -> dict[str, float]:
    """Train HPCL-Net and write ``model/``, ``metrics.json`` and the maps into ``out``, replaced whole.

    Args:
        ground: with labels; one of five of its spatial blocks is kept for the test, see `cut_ground`.
        tile: pixels a side, a multiple of 8. alpha: weight of the hyper-pixel contrast; 0 leaves it out.

    Returns:
        Metrics of the test blocks, see `landslide_metrics`.
    """
    from earth_observation.learn.landslide import train_landslides

    white = brightest(ground)
    tiles = cut_ground(ground, tile, white=white)
    seed_everything(seed)
    net = TwoSourceNet(widths=WIDTHS, width=width)
    train_landslides(
        net, tiles["train"], metres=ground.metres, steps=steps, alpha=alpha, seed=seed, **fitting
    )
    metrics = landslide_metrics(net, tiles["test"], ground.known.shape, metres=ground.metres)  # type: ignore[arg-type]
    with atomic_directory(out) as folder:
        (folder / "model").mkdir()
        facts = {"width": width, "tile": tile, "white": white, "metres": ground.metres}
        write_model(folder / "model", FORMAT, net.state_dict(), **facts)
        report = {
            "metrics": metrics,
            "tiles": {split: len(one["mask"]) for split, one in tiles.items()},
            "settings": {"tile": tile, "steps": steps, "alpha": alpha, "seed": seed},
            "notes": list(ground.notes),
        }
        write_json(folder / "metrics.json", report)
        write_landslide_maps(net, ground, folder, tile=tile, white=white)
    return metrics


def map_with(model: str | os.PathLike[str], ground: Ground, out: str | os.PathLike[str]) -> list[str]:
    """Map another ground with a model of `learn_and_map`; returns the names of the files in ``out``.

    Raises:
        CheckpointError: no such model, or a damaged one.
    """
    with read_model(model, FORMAT) as (config, state):
        net = TwoSourceNet(widths=WIDTHS, width=config["width"])
        net.load_state_dict(state)
    ratio = max(ground.metres / config["metres"], config["metres"] / ground.metres)
    if ratio > Limits().gsd_ratio:
        raise DataError(
            "picture", seen=f"{ground.metres:g} m a pixel", expected=f"{config['metres']:g}, as in training",
            remedy="warp the picture (gdalwarp -tr)",
        )  # fmt: skip
    with atomic_directory(out) as folder:
        return write_landslide_maps(net, ground, folder, tile=config["tile"], white=config["white"])
