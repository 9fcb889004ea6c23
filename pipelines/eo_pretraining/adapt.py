"""Stage `adapt`: heads on few labels; the classes of a chip, land cover of a pixel, change between two dates."""

from __future__ import annotations

from core.stage import Stage, run_stage
from earth_observation.settings import Params


def main(params: Params, stage: Stage) -> None:
    """Put heads on the pretrained encoder."""
    from core.data.digest import digest_of
    from core.files import write_json
    from earth_observation.data.store import ChipStore
    from earth_observation.learn.heads import adapt
    from earth_observation.model import load_model

    settings = params.adapt
    model = load_model(stage.outputs / "pretrained")
    histories = adapt(
        model,
        ChipStore(stage.outputs / "prepared"),
        params.model.product,
        **settings.model_dump(exclude={"width"}),
        **params.trainer.model_dump(),
        seed=params.seed,
        threads=params.threads,
        checkpoint_dir=stage.checkpoints,
        fingerprint=digest_of(settings, params.seed),
    )
    model.save(stage.outputs / "model", product=params.model.product)
    write_json(stage.outputs / "adapt_history.json", histories)


if __name__ == "__main__":
    run_stage(main, Params, needs_torch=True)
