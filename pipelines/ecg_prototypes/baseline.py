"""Stage `baseline`: the black box, the same backbones trained together on all labels."""

from __future__ import annotations

from core.stage import Stage, run_stage
from medical.ecg.settings import Params


def main(params: Params, stage: Stage) -> None:
    """Train the black box and keep its logits on the test recordings."""
    import numpy as np

    from core.files import atomic_directory, write_json
    from medical.ecg.learn.stages import train_black_box
    from medical.ecg.learn.supervised import scores
    from medical.ecg.model.branch import Backbone
    from medical.ecg.prepared import load_prepared

    prepared = load_prepared(stage.outputs / "prepared")
    network, result = train_black_box(
        prepared,
        Backbone(**params.model.backbone),
        steps=params.baseline.steps or params.pretrain.steps + params.joint.steps,
        learning_rate=params.baseline.learning_rate,
        learning=params.training.learning,
        seed=params.seed,
        threads=params.threads,
        checkpoint_dir=stage.checkpoints,
        fingerprint=prepared.facts["digest"],
        **params.training.fitting,
    )
    with atomic_directory(stage.outputs / "baseline") as folder:
        np.save(folder / "test_logits.npy", scores(network, prepared.subset("test")))
        write_json(folder / "history.json", {"black box": result.history})


if __name__ == "__main__":
    run_stage(main, Params, needs_torch=True)
