"""Stage `prepare`: signals brought to one form and filtered, targets, branches."""

from __future__ import annotations

from core.stage import Stage, run_stage
from medical.ecg.settings import Params


def main(params: Params, stage: Stage) -> None:
    """Write the arrays that all later stages read."""
    from medical.ecg.data.branches import read_branches
    from medical.ecg.data.table import load_items
    from medical.ecg.prepared import prepare
    from medical.ecg.preprocess import Preprocessing

    data = params.data
    shipped = data.source in ("demo", "ptbxl")
    prepare(
        load_items(stage.outputs / "items"),
        stage.outputs / "prepared",
        branches=read_branches(data.branches) if shipped or data.branches else None,
        preprocessing=Preprocessing(**params.signal.model_dump(exclude={"standardise"})),
        standardise=params.signal.standardise,
        min_positives=data.min_positives,
        scheduler=data.scheduler,
    )


if __name__ == "__main__":
    run_stage(main, Params)
