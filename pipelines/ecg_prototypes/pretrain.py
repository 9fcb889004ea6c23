"""Stage `pretrain`: one backbone that all branches start from (contrastive views, then labels)."""

from __future__ import annotations

from core.stage import Stage, run_stage
from medical.ecg.settings import Params


def main(params: Params, stage: Stage) -> None:
    """Train the backbone; a killed run goes on from its last checkpoint."""
    from core.files import atomic_directory, write_json
    from core.tracking.weights import save_weights
    from medical.ecg.learn.stages import pretrain, start_weights
    from medical.ecg.model.branch import Backbone
    from medical.ecg.prepared import load_prepared

    prepared = load_prepared(stage.outputs / "prepared")
    shared, found = pretrain(
        prepared,
        Backbone(**params.model.backbone),
        **params.pretrain.model_dump(),
        learning=params.training.learning,
        seed=params.seed,
        threads=params.threads,
        checkpoint_dir=stage.checkpoints,
        fingerprint=prepared.facts["digest"],
        **params.training.fitting,
    )
    with atomic_directory(stage.outputs / "pretrained") as folder:
        digest = save_weights(
            folder / "model.safetensors", start_weights(shared, extracted=bool(params.pretrain.steps))
        )
        histories = {name: result.history for name, result in found.items()}
        write_json(folder / "history.json", {"weights_sha256": digest, "histories": histories})


if __name__ == "__main__":
    run_stage(main, Params, needs_torch=True)
