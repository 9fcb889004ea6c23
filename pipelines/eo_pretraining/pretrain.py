"""Stage `pretrain`: SoftCon, or one of its baselines, on the training chips without their reference labels."""

from __future__ import annotations

from core.stage import Stage, run_stage
from earth_observation.settings import Params


def main(params: Params, stage: Stage) -> None:
    """Train the encoder; a killed run goes on from its last checkpoint."""
    from core.data.digest import digest_of
    from core.files import read_json, write_json
    from earth_observation.data.store import ChipStore
    from earth_observation.learn.pretrain import pretrain
    from earth_observation.prepared import starting_model

    store, chosen = ChipStore(stage.outputs / "prepared"), params.model
    model = starting_model(
        store,
        product=chosen.product,
        architecture=chosen.architecture,
        crop=params.pretrain.crop,
        seed=params.seed,
        start=chosen.start,
        input_init=chosen.input_init,
        width=params.adapt.width,
    )
    history = []
    if params.pretrain.steps:
        validation = read_json(stage.outputs / "validation.json")
        history = pretrain(
            model.encoder,
            store,
            product=chosen.product,
            **params.pretrain.model_dump(),
            **params.trainer.model_dump(),
            seed=params.seed,
            threads=params.threads,
            checkpoint_dir=stage.checkpoints,
            fingerprint=digest_of(params.pretrain, params.model, params.prepare, validation["data_digest"]),
        ).history
    model.save(stage.outputs / "pretrained", product=chosen.product)
    write_json(stage.outputs / "pretrain_history.json", history)


if __name__ == "__main__":
    run_stage(main, Params, needs_torch=True)
