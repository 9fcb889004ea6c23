"""Stage `prepare`: films, ECGs and texts as arrays."""

from __future__ import annotations

from core.stage import Stage, run_stage
from medical.alignment.settings import Params


def main(params: Params, stage: Stage) -> None:
    """Read and preprocess every film and ECG once."""
    from medical.alignment.corpus import load_items
    from medical.alignment.prepared import prepare
    from medical.alignment.preprocess import Preprocessing

    data = params.data
    prepare(
        load_items(stage.outputs / "items"),
        stage.outputs / "prepared",
        preprocessing=Preprocessing(**params.prepare.model_dump()),
        uncertain=data.uncertain,
        mask_same_text=data.mask_same_text,
        bits=data.bits,
        scheduler=data.scheduler,
    )


if __name__ == "__main__":
    run_stage(main, Params)
