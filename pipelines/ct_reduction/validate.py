"""Stage `validate`: read every header, group slices into series, list what cannot be used and why."""

from __future__ import annotations

from core.stage import Stage, run_stage
from medical.ct.settings import Params


def main(params: Params, stage: Stage) -> None:
    """Find the series of the source and write them as tables with the list of problems."""
    from core.data.checks import Quarantine
    from core.files import atomic_write
    from medical.ct.data.series import series_table, slice_table
    from medical.ct.sources import scan_source

    scan = scan_source(params.data, params.seed)
    quarantine = Quarantine(params.data.on_problem)
    for problem in scan.rejected:
        quarantine.add(problem.place, problem.kind, problem.reason)
    for problem in scan.warnings:
        quarantine.warn(problem.place, problem.kind, problem.reason)
    table = slice_table(scan.series)
    patients = table.groupby("split")["patient"].nunique()
    quarantine.finish(
        stage.outputs,
        checked=scan.checked,
        facts={
            "source": params.data.source,
            "series": len(scan.series),
            "slices": {split: int(count) for split, count in table["split"].value_counts().items()},
            "patients": {split: int(count) for split, count in patients.items()},
            "labels": {int(label): int(count) for label, count in table["label"].value_counts().items()},
        },
    )
    table.to_parquet(stage.outputs / "slices.parquet", index=False)
    atomic_write(stage.outputs / "series.csv", series_table(scan.series).to_csv(index=False))


if __name__ == "__main__":
    run_stage(main, Params)
