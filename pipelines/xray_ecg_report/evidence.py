"""Evidence: MoRE, pairwise, Symile and GRAM with 0, 30 and 60 % of the modalities missing, over several seeds.

`make evidence PIPELINE=xray_ecg_report [SOURCE=mimic ROOT=folder]` writes
`reports/xray_ecg_report/evidence.json` and a figure; for another source, files beside them.
"""

from __future__ import annotations

import sys

from core.evaluation.evidence_script import Request, evidence_script
from medical.alignment.settings import Params


def compare(request: Request[Params]) -> None:
    """Hand the pieces to the library, values only."""
    from core.data.checks import Quarantine
    from core.evaluation.evidence import run_evidence
    from core.learning.determinism import set_threads
    from medical.alignment.ablation import CLAIM, JOINT, ablation_arms, comparisons
    from medical.alignment.augment import Augmentation
    from medical.alignment.corpus import list_items
    from medical.alignment.data.sources import Checks, check_items
    from medical.alignment.prepared import load_prepared, prepare
    from medical.alignment.preprocess import Preprocessing
    from medical.alignment.prompts import load_prompts

    params, scratch = request.params, request.scratch
    set_threads(params.threads)
    data, evidence, pretrain = request.data, params.evidence, params.pretrain
    source = data.source
    before = Preprocessing(**params.prepare.model_dump())
    items = list_items(
        source,
        demo_folder=scratch / "demo",
        demo={"studies": evidence.studies, "missing": 0.0, "seed": params.seed},
        rule=data.link.model_dump(),
        seed=params.seed,
        **data.model_dump(
            include={
                "root",
                "manifest",
                "findings",
                "keep_unlinked",
                "empty_reports",
                "official_split",
                "fractions",
            }
        ),
    )
    usable, facts = check_items(items, Quarantine(), Checks(data.bits, data.smallest, before.form))
    prepare(
        usable,
        scratch / "prepared",
        preprocessing=before,
        uncertain=data.uncertain,
        mask_same_text=data.mask_same_text,
        bits=data.bits,
    )
    space = {"architecture": params.model.towers, **params.model.language}
    training = {
        "steps": evidence.steps,
        "optimization": pretrain.optimization,
        "augmentation": None if pretrain.augment is None else Augmentation(**pretrain.augment.model_dump()),
        **pretrain.model_dump(include={"batch_size", "gradient_clip"}),
    }
    prompts = load_prompts(params.evaluate.prompts)
    run_evidence(
        "xray_ecg_report",
        CLAIM,
        ablation_arms(
            load_prepared(scratch / "prepared"),
            prompts,
            missing=evidence.missing,
            fractions=data.fractions,
            space=space,
            objective=params.objective.model_dump(),
            temperature=evidence.temperature,
            training=training,
            modality_dropout=evidence.modality_dropout,
            joint=JOINT if source == "demo" else None,
            threads=params.threads,
            progress=False,
            diagnostics=False,
        ),
        seeds=evidence.seeds,
        comparisons=comparisons(evidence.missing),
        settings={
            "space": space,
            "pretrain": pretrain,
            "evidence": evidence.model_dump(exclude={"seeds"}),
            "objective": params.objective,
            "prompts": prompts,
            "data": facts["data_digest"],
            "prepare": params.prepare,
            "reading": data.model_dump(include={"uncertain", "mask_same_text", "bits", "fractions"}),
        },
        source=source,
        primary="auroc_joint" if source == "demo" else "r@5",
        shown=(
            "auroc_joint",
            "r@1",
            "r@5",
            "from_two_r@5",
            "auroc_xray",
            "auroc_ecg",
            "auroc_xray+ecg",
            "auroc_xray_by_volume",
        ),
    )


if __name__ == "__main__":
    sys.exit(evidence_script(compare, Params, "xray_ecg_report", about=__doc__))
