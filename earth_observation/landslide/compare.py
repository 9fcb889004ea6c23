"""What contrast and terrain are worth for landslides, over seeds, on generated ground.

    python -m earth_observation.landslide.compare [--seeds 5] [--steps 100] [--out FILE]

Each seed has a ground of its own. All arms of a seed share ground, blocks and order; scores are of the test blocks.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from earth_observation.landslide.ground import Ground

CLAIM = "Terrain beside colour, and the contrast of hyper-pixels, make landslides easier to find"
CONTRAST, PLAIN, COLOUR = "colour and terrain, contrast", "colour and terrain", "colour alone"
ARMS = {CONTRAST: (0.1, True), PLAIN: (0.0, True), COLOUR: (0.0, False)}
"""Weight of the contrast, and whether heights are given."""
PAIRS = [(CONTRAST, PLAIN), (PLAIN, COLOUR)]
OUT = Path("reports/eo_pretraining/landslides.json")


def score(
    ground: Ground, *, alpha: float, heights: bool, seed: int, steps: int, tile: int
) -> dict[str, float]:
    """Train on four of five blocks of a ground, score the fifth."""
    from core.learning.determinism import seed_everything
    from earth_observation.landslide.ground import brightest, cut_ground
    from earth_observation.landslide.net import TwoSourceNet
    from earth_observation.landslide.recipe import WIDTHS
    from earth_observation.landslide.score import landslide_metrics
    from earth_observation.learn.landslide import train_landslides

    used = ground if heights else replace(ground, dem=np.full_like(ground.dem, np.nan))
    tiles = cut_ground(used, tile, white=brightest(used))
    seed_everything(seed)
    net = TwoSourceNet(widths=WIDTHS, width=32)
    train_landslides(
        net,
        tiles["train"],
        metres=used.metres,
        steps=steps,
        alpha=alpha,
        seed=seed,
        threads=1,
        progress=False,
    )
    found = landslide_metrics(net, tiles["test"], used.known.shape, metres=used.metres)  # type: ignore[arg-type]
    return {
        name: found[name]
        for name in ("landslide_iou", "landslide_f1", "miou", "objects_hits", "objects_misses")
    }


def main(argv: list[str] | None = None) -> int:
    """Run, print, write."""
    from core.evaluation.evidence import evidence_table, summarise
    from core.files import write_json
    from core.stage import quiet_environment
    from earth_observation.landslide.demo import write_landslides
    from earth_observation.landslide.ground import default_files, read_ground

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds, at least 2")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--side", type=int, default=640, help="pixels of a ground, a multiple of 16")
    parser.add_argument("--tile", type=int, default=64)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args(argv)
    quiet_environment()
    seeds, start = list(range(options.seeds)), time.perf_counter()
    results: dict[str, list[dict[str, float]]] = {arm: [] for arm in ARMS}
    for seed in seeds:
        with tempfile.TemporaryDirectory(prefix="kindred-landslides-") as folder:
            scars = round(60 * (options.side / 640) ** 2)
            home = write_landslides(Path(folder) / "ground", side=options.side, scars=scars, seed=seed)
            ground = read_ground(*default_files(home))
        for arm, (alpha, heights) in ARMS.items():
            how = {
                "alpha": alpha,
                "heights": heights,
                "seed": seed,
                "steps": options.steps,
                "tile": options.tile,
            }
            results[arm].append(score(ground, **how))  # type: ignore[arg-type]
            print(f"seed {seed}  {arm}: landslide IoU {results[arm][-1]['landslide_iou']:.3f}", flush=True)
    minutes = round((time.perf_counter() - start) / 60, 2)
    found = summarise(CLAIM, "demo", seeds, results, PAIRS, minutes, "landslide_iou")
    write_json(
        options.out,
        {**found, "settings": {"steps": options.steps, "side": options.side, "tile": options.tile}},
    )
    print(evidence_table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
