"""Evidence: SoftCon against contrast alone, supervision and no pretraining, on optical and radar chips, over seeds.

`make evidence PIPELINE=eo_pretraining [SOURCE=ssl4eo ROOT=folder]` writes
`reports/eo_pretraining/evidence.json` and a figure; for another source, files beside them.
"""

from __future__ import annotations

import sys

from core.evaluation.evidence_script import Request, evidence_script
from earth_observation.settings import Params


def compare(request: Request[Params]) -> None:
    """Hand the pieces to the library, values only."""
    from core.evaluation.evidence import run_evidence
    from core.learning.determinism import set_threads
    from earth_observation.ablation import CLAIM, Comparison, comparisons
    from earth_observation.prepared import EvidenceChips

    params, scratch, data = request.params, request.scratch, request.data
    evidence, source = params.evidence, data.source
    set_threads(params.threads)
    pretrain = params.pretrain.model_dump(exclude={"every_n_steps", "objective"})
    settings = {**pretrain, "objective": "softcon", "steps": evidence.steps or pretrain["steps"]}
    chips = EvidenceChips(
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
            "backbone": comparison.backbone,
            "product": comparison.product,
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
    sys.exit(evidence_script(compare, Params, "eo_pretraining", about=__doc__))
