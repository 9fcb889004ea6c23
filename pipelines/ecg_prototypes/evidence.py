"""Evidence: prototypes against the black box, and each part against its absence, over several seeds.

`make evidence PIPELINE=ecg_prototypes [SOURCE=ptbxl|cinc|manifest ROOT=folder]` writes
`reports/ecg_prototypes/evidence.json` and a figure; for another source, files beside them. On demo data every
seed has recordings of its own.
"""

from __future__ import annotations

import sys

from core.evaluation.evidence_script import Request, evidence_script
from medical.ecg.settings import Params


def compare(request: Request[Params]) -> None:
    """Hand the pieces to the library, values only."""
    from functools import lru_cache

    from core.data.digest import digest_of
    from core.evaluation.evidence import run_evidence
    from core.learning.determinism import set_threads
    from medical.ecg.ablation import ARMS, BLACK_BOX, CLAIM, FULL, ablation_arms
    from medical.ecg.evidence_data import evidence_data

    params = request.params
    set_threads(params.threads)
    data = request.data
    # Kept for one seed, so that what is digested here is not prepared again for the first arm.
    prepared = lru_cache(maxsize=1)(lambda seed: evidence_data(data, params.signal, seed))
    first, events = prepared(params.evidence.seeds[0])
    content = digest_of(
        [first.signals[start : start + 1024] for start in range(0, len(first.signals), 1024)],
        first.targets,
        first.table[["id", "patient", "split"]],
        first.labels,
        first.branches,
        events,
    )
    arms = ablation_arms(
        prepared,
        model=params.model.model_dump(),
        backbone=params.model.backbone,
        learning=params.training.learning,
        pretraining=params.pretrain.model_dump(),
        joint=params.joint.options,
        projection=params.project.model_dump(include={"distinct", "l1", "l2", "iterations"}),
        baseline={
            "steps": params.baseline.steps or params.pretrain.steps + params.joint.steps,
            "learning_rate": params.baseline.learning_rate,
        },
        contrastive_steps=params.evidence.contrastive_steps,
        threads=params.threads,
        progress=False,
        **params.training.fitting,
    )
    run_evidence(
        "ecg_prototypes",
        CLAIM,
        arms,
        seeds=params.evidence.seeds,
        comparisons=[(FULL, BLACK_BOX), *((FULL, arm) for arm in ARMS if arm != FULL)],
        settings=params.model_dump(exclude={"seed", "evaluate"})
        | {"data": data.model_dump(), "content": content},
        source=data.source,
        primary="auroc",
        shown=("auroc", "covered", "chance", "lowered", "before", "after", "weights_used"),
    )


if __name__ == "__main__":
    sys.exit(evidence_script(compare, Params, "ecg_prototypes", about=__doc__))
