"""Stage `validate`: read every volume once, list what cannot be used and why, give each patient a split."""

from __future__ import annotations

from core.stage import Stage, run_stage
from medical.mri.settings import Params


def main(params: Params, stage: Stage) -> None:
    """Check the volumes and write the list of the usable ones."""
    from core.data.checks import Quarantine
    from medical.mri.corpora import list_volumes
    from medical.mri.data.case import draw_splits
    from medical.mri.data.checks import Reading, Rules, inspect, require_enough
    from medical.mri.listing import save_listing, validation_facts

    data = params.data
    if data.source != "demo":
        stage.without_demo()
    listing = list_volumes(
        data.source,
        root=data.root,
        demo_folder=stage.outputs / "demo",
        seed=data.split_seed,
        demo=data.demo.model_dump() | {"seed": params.seed},
        **data.model_dump(include={"manifest", "structures", "channel", "official_split", "fractions"}),
    )
    reading = Reading(**data.model_dump(include={"non_finite", "strays", "bias_correction"}))
    rules = Rules(
        params.pretrain.parts,
        params.prepare.spacing,
        (params.prepare.size[0], params.prepare.size[1]),
        largest_angle=data.largest_angle,
        oblique=data.oblique,
        reading=reading,
    )
    quarantine = Quarantine(data.on_problem, data.largest_share)
    usable, facts = inspect(listing, rules, quarantine, scheduler=data.scheduler)
    drawn = draw_splits(usable, data.fractions, data.split_seed) if usable.cases else usable
    quarantine.finish(
        stage.outputs,
        checked=len(listing.cases),
        facts={"source": data.source, **validation_facts(drawn, facts, reading)},
    )
    require_enough(drawn, volumes=params.pretrain.volumes, labelled=params.finetune.labelled)
    save_listing(stage.outputs / "volumes.json", drawn, facts, reading)


if __name__ == "__main__":
    run_stage(main, Params)
