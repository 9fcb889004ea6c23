"""Evidence: few labels from pretrained and from random weights, over several seeds; and all labels.

`make evidence PIPELINE=mri_segmentation [SOURCE=acdc|msd|mmwhs|manifest ROOT=folder]` writes
`reports/mri_segmentation/evidence.json` and a figure; for another source, files beside them.
"""

from __future__ import annotations

import sys
from typing import Any

from core.evaluation.evidence_script import Request, evidence_script
from core.stage import STATE
from medical.mri.settings import Params


def compare(request: Request[Params]) -> None:
    """Hand the pieces to the library, values only."""
    from core.data.checks import Quarantine
    from core.evaluation.evidence import run_evidence
    from core.learning.determinism import set_threads
    from medical.mri.ablation import CLAIM, COMPARISONS, GD_LR, MIXUP, ablation_arms
    from medical.mri.corpora import list_volumes
    from medical.mri.data.case import draw_splits
    from medical.mri.data.checks import Reading, Rules, inspect, require_enough
    from medical.mri.model import Architecture
    from medical.mri.prepared import prepare

    params = request.params
    data, evidence = request.data, params.evidence
    set_threads(params.threads)
    listing = list_volumes(
        data.source,
        demo_folder=STATE / "evidence" / "mri_segmentation" / "demo",
        seed=data.split_seed,
        demo=data.demo.model_dump() | {"seed": params.seed},
        **data.model_dump(
            include={"root", "manifest", "structures", "channel", "official_split", "fractions"}
        ),
    )
    reading = Reading(**data.model_dump(include={"non_finite", "strays", "bias_correction"}))
    size = (params.prepare.size[0], params.prepare.size[1])
    found = Quarantine("quarantine", data.largest_share)
    rules = Rules(
        params.pretrain.parts,
        params.prepare.spacing,
        size,
        reading=reading,
        **data.model_dump(include={"largest_angle", "oblique"}),
    )
    usable = draw_splits(inspect(listing, rules, found)[0], data.fractions, data.split_seed)
    require_enough(usable, volumes=params.pretrain.volumes, labelled=evidence.labelled)
    prepared = prepare(usable, spacing=params.prepare.spacing, size=size, reading=reading)
    architecture = Architecture.of(prepared.size, prepared.classes, params.model.model_dump())
    settings: dict[str, Any] = {
        "global_loss": params.pretrain_global.model_dump(exclude_none=True) | params.pretrain.model_dump(),
        "local_loss": params.pretrain_local.model_dump() | params.pretrain.model_dump(),
        "finetuning": params.finetune.fitting,
        "labelled": evidence.labelled,
        "draws": evidence.draws,
    }
    longer = {
        "global_loss": evidence.global_steps,
        "local_loss": evidence.local_steps,
        "finetuning": evidence.steps,
    }
    for section, steps in longer.items():
        settings[section] = settings[section] | ({"steps": steps} if steps else {})
    with_mixup = "mixup" in params.finetune.extras
    if with_mixup:
        settings["mixup_alpha"] = params.finetune.mixup_alpha
    if "self_training" in params.finetune.extras:
        settings["rounds"] = params.finetune.rounds
    run_evidence(
        "mri_segmentation",
        CLAIM,
        ablation_arms(
            prepared,
            architecture,
            threads=params.threads,
            checkpoints=STATE / "evidence" / "mri_segmentation" / "checkpoints",
            **settings,
        ),
        seeds=evidence.seeds,
        comparisons=[*COMPARISONS, *([(MIXUP, GD_LR)] if with_mixup else [])],
        settings={**settings, "model": params.model, "data": prepared.digest},
        source=data.source,
        primary=f"dice_{min(evidence.labelled)}",
    )


if __name__ == "__main__":
    sys.exit(evidence_script(compare, Params, "mri_segmentation", about=__doc__))
