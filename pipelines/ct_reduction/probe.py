"""Stage `probe`: what both encoders know of the labels, by a linear probe and by fine-tuning."""

from __future__ import annotations

from core.stage import Stage, run_stage
from medical.ct.settings import Params


def main(params: Params, stage: Stage) -> None:
    """Write the class probabilities of the test patients' slices, for each encoder."""
    import numpy as np
    import pandas as pd

    from core.files import atomic_directory
    from medical.ct.images import load_images
    from medical.ct.model import load_encoder
    from medical.ct.runs import probe_encoder
    from medical.ct.sources import source_root

    table = pd.read_parquet(stage.outputs / "selection" / "slices.parquet")
    images = load_images(
        source_root(params.data, params.seed),
        table,
        window=params.data.window,
        size=params.model.size,
        scheduler=params.data.scheduler,
    )
    with atomic_directory(stage.outputs / "probe") as folder:
        for name in ("full", "reduced"):
            found = probe_encoder(
                load_encoder(stage.outputs / f"pretrained_{name}"),
                table,
                images,
                regularisation=params.finetune.regularisation,
                epochs=params.finetune.epochs,
                training=params.finetune.training,
                seed=params.seed,
                threads=params.threads,
                checkpoint_dir=stage.checkpoints / name,
                **params.trainer.model_dump(),
            )
            np.savez(folder / f"{name}.npz", allow_pickle=False, **found)


if __name__ == "__main__":
    run_stage(main, Params, needs_torch=True)
