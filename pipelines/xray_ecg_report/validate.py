"""Stage `validate`: link the tables, read every film and ECG once, list what cannot be used and why."""

from __future__ import annotations

from core.stage import Stage, run_stage
from medical.alignment.settings import Params


def main(params: Params, stage: Stage) -> None:
    """Check the items and write the list of the usable ones."""
    from core.data.checks import Quarantine
    from medical.alignment.corpus import list_items, save_items
    from medical.alignment.data.sources import Checks, check_items
    from medical.alignment.preprocess import Preprocessing

    data = params.data
    if data.source != "demo":
        stage.without_demo()
    items = list_items(
        data.source,
        root=data.root,
        demo_folder=stage.outputs / "demo",
        demo=data.demo.model_dump() | {"seed": params.seed},
        rule=data.link.model_dump(),
        seed=params.seed,
        **data.model_dump(
            include={"manifest", "findings", "keep_unlinked", "empty_reports", "official_split", "fractions"}
        ),
    )
    quarantine = Quarantine(data.on_problem, data.largest_share)
    checks = Checks(data.bits, data.smallest, Preprocessing(**params.prepare.model_dump()).form)
    usable, facts = check_items(items, quarantine, checks, scheduler=data.scheduler)
    quarantine.finish(
        stage.outputs, checked=len(items) + facts["files_read"], facts={"source": data.source, **facts}
    )
    save_items(usable, stage.outputs / "items")


if __name__ == "__main__":
    run_stage(main, Params)
