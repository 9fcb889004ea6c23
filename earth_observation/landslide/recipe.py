"""The recipe from files to files: train on labelled ground, score on blocks that were kept apart, map all of it."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from core.errors import ConfigError, DataError
from core.files import atomic_directory, write_json
from core.learning.determinism import seed_everything
from core.tracking.model_folder import CONFIG, WEIGHTS, read_model, write_model
from earth_observation.data.checks import Limits
from earth_observation.landslide.ground import Ground, brightest, cut_ground
from earth_observation.landslide.maps import FILES, write_landslide_maps
from earth_observation.landslide.net import TwoSourceNet
from earth_observation.landslide.score import landslide_metrics

FORMAT = "kindred-landslide/1"
WIDTHS = (16, 32, 32, 32)
METRICS = "metrics.json"
WRITTEN = (f"model/{CONFIG}", f"model/{WEIGHTS}", METRICS, *FILES)
"""All files that an output folder may hold."""


def check_out(
    out: str | os.PathLike[str],
    inputs: Sequence[str | os.PathLike[str] | None] = (),
    *,
    written: Collection[str] = WRITTEN,
) -> None:
    """Refuse an output folder whose replacement would delete what is read, or what was not written here.

    Args:
        inputs: files and folders of the run; none may lie in ``out``. written: the files that may be replaced;
            what GIS programs put beside them (``.aux.xml``) goes too.

    Raises:
        ConfigError: naming what would be lost.
    """
    folder, other = Path(out), "give another folder with --out"
    whole = folder.resolve()
    lost = [str(one) for one in inputs if one is not None and Path(one).resolve().is_relative_to(whole)]
    if lost:
        raise ConfigError(
            f"output folder {out} would be replaced", seen=lost, expected="no input in it", remedy=other
        )
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ConfigError(f"output folder {out}", seen="a file", expected="a folder", remedy=other)
    found = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()]
    strange = sorted(name for name in found if name.removesuffix(".aux.xml") not in written)
    if strange:
        raise ConfigError(
            f"output folder {out} would be replaced",
            seen=strange[:5],
            expected="an empty folder, or one that `kindred landslides` wrote",
            remedy=other,
        )


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

    Raises:
        ConfigError: ``out`` holds files that were not written here, see `check_out`.
    """
    from earth_observation.learn.landslide import train_landslides

    check_out(out)
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
        write_json(folder / METRICS, report)
        write_landslide_maps(net, ground, folder, tile=tile, white=white)
    return metrics


def map_with(model: str | os.PathLike[str], ground: Ground, out: str | os.PathLike[str]) -> list[str]:
    """Map another ground with a model of `learn_and_map`; returns the names of the files in ``out``.

    Raises:
        ConfigError: ``out`` holds the model, or files that were not written here, see `check_out`.
        CheckpointError: no such model, or a damaged one.
    """
    check_out(out, [model])
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
