"""Evidence: SoftCon against contrast alone, supervision and no pretraining, on optical and radar chips, over seeds.

`make evidence PIPELINE=eo_pretraining [SOURCE=ssl4eo ROOT=folder]` writes
`reports/eo_pretraining/evidence.json` and a figure; for another source, files beside them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from core.config import load_settings
from core.errors import KindredError
from core.stage import quiet_environment
from earth_observation.settings import Params

PARAMS = Path("pipelines/eo_pretraining/params.yaml")


def main() -> int:
    """Read the images, train every arm with every seed, write what came out."""
    parser = argparse.ArgumentParser(prog="make evidence PIPELINE=eo_pretraining", description=__doc__)
    parser.add_argument("--source", help="data.source; that of the params file by default")
    parser.add_argument("--root", help="data.root for that source")
    parser.add_argument("--manifest", help="data.manifest; ROOT/manifest.csv by default")
    parser.add_argument("--params", type=Path, default=PARAMS)
    options = parser.parse_args()
    quiet_environment()
    try:
        with tempfile.TemporaryDirectory(prefix="kindred-scenes-") as scratch:
            compare(load_settings(options.params, Params), options, Path(scratch))
    except KindredError as error:
        print(f"error in evidence: {error}", file=sys.stderr)
        return 2
    return 0


def compare(params: Params, options: argparse.Namespace, scratch: Path) -> None:
    """Hand the pieces to the library, values only."""
    from core.evaluation.evidence import run_evidence
    from core.learning.determinism import set_threads
    from earth_observation.ablation import CLAIM, Comparison, comparisons
    from earth_observation.prepared import EvidenceChips

    evidence, data = params.evidence, params.data
    source = options.source or data.source
    set_threads(params.threads)
    pretrain = params.pretrain.model_dump(exclude={"every_n_steps", "objective"})
    settings = {**pretrain, "objective": "softcon", "steps": evidence.steps or pretrain["steps"]}
    chips = EvidenceChips(
        source,
        options.root or data.root,
        options.manifest or data.manifest,
        scratch,
        data=data,
        prepare=params.prepare.model_dump(),
        places=evidence.places,
    )
    architectures = {
        name: params.model.model_copy(update={"backbone": name}).architecture for name in ("resnet", "vit")
    }
    comparison = Comparison(
        chips,
        chips.other,
        architectures=architectures,
        backbone=params.model.backbone,
        product=params.model.product,
        settings=settings,
        shares=params.evaluate.shares,
        draws=evidence.draws,
        start_steps=evidence.start_steps,
        threads=params.threads,
        progress=False,
    )
    arms = comparison.arms(evidence.seeds[0])
    run_evidence(
        "eo_pretraining",
        CLAIM,
        arms,
        seeds=evidence.seeds,
        comparisons=comparisons(list(arms)),
        settings={
            "pretrain": settings,
            "architectures": architectures,
            "start_steps": evidence.start_steps,
            "shares": params.evaluate.shares,
            "draws": evidence.draws,
            "prepare": params.prepare,
            "demo": data.demo if source == "demo" else None,
            "data": chips.facts,
        },
        source=source,
        primary=f"map_{sorted(params.evaluate.shares)[len(params.evaluate.shares) // 2]:g}",
    )


if __name__ == "__main__":
    sys.exit(main())
