"""Stage `validate`: read every recording once, list what cannot be used and why, keep the rest as a table."""

from __future__ import annotations

from core.stage import Stage, run_stage
from medical.ecg.settings import Params


def main(params: Params, stage: Stage) -> None:
    """Read the source (the demo is generated first) and write items.csv with the list of problems."""
    from pathlib import Path

    from core.data.checks import Quarantine
    from core.data.digest import digest_of
    from core.files import atomic_directory
    from medical.ecg.data.sources import check_items, read_items
    from medical.ecg.data.table import save_items
    from medical.ecg.preprocess import Preprocessing

    data = params.data
    demo = stage.outputs / "demo"
    if data.source == "demo":
        from medical.ecg.demo import write_demo

        write_demo(demo, seed=params.seed, **data.demo.model_dump())
    else:
        stage.without_demo()
    root = str(demo) if data.source == "demo" else str(data.root)
    reading = data.model_dump(
        include={"manifest", "rate", "labels", "min_likelihood", "unknown_codes", "folds", "branches"}
    )
    items = read_items(data.source, root, seed=params.seed, **reading)
    form = Preprocessing(**params.signal.model_dump(exclude={"standardise"})).form
    quarantine = Quarantine(data.on_problem)
    quality = check_items(
        items, form, quarantine, verify_checksum=data.verify_checksum, scheduler=data.scheduler
    )
    kept = items.only([row["id"] for row in quality])
    counts = kept.label_counts()
    for label, found in counts.items():
        if not found["train"] or not found["valid"]:
            where = " and ".join(split for split in ("train", "valid") if not found[split])
            quarantine.warn(label, "no_positives", f"label without a positive recording in {where}")
    quarantine.finish(
        stage.outputs,
        checked=len(items),
        facts={
            "source": data.source,
            "data_digest": digest_of(kept.table.drop(columns="path"), kept.labels, items.facts),
            "recordings": kept.table["split"].value_counts().to_dict(),
            "patients": kept.table.groupby("split")["patient"].nunique().to_dict(),
            "labels": counts,
            **items.facts,
        },
    )
    with atomic_directory(stage.outputs / "items") as folder:
        save_items(kept, quality, folder, root=Path(root))


if __name__ == "__main__":
    run_stage(main, Params)
