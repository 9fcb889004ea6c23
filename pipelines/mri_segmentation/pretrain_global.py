"""Stage `pretrain_global`: the encoder, by a global loss on all training volumes; no mask is looked at."""

from __future__ import annotations

from core.stage import Stage, run_stage
from medical.mri.settings import Params


def main(params: Params, stage: Stage) -> None:
    """Train the encoder; a killed run goes on from its last checkpoint."""
    from core.data.digest import digest_of
    from core.files import write_json
    from medical.mri.learn.train import fresh_unet, pretrain_global
    from medical.mri.model import Architecture, save_model
    from medical.mri.prepared import load_prepared

    prepared = load_prepared(stage.outputs / "prepared")
    architecture = Architecture.of(prepared.size, prepared.classes, params.model.model_dump())
    net = fresh_unet(architecture, params.seed)
    settings = params.pretrain_global.model_dump() | params.pretrain.model_dump()
    result = pretrain_global(
        net,
        architecture,
        prepared,
        prepared.volumes("train"),
        **settings,
        **params.trainer.model_dump(),
        seed=params.seed,
        threads=params.threads,
        checkpoint_dir=stage.checkpoints,
        fingerprint=digest_of(settings, prepared.digest),
    )
    untrained = fresh_unet(architecture, params.seed)
    save_model(untrained, architecture, stage.outputs / "initial", stage="initial")
    save_model(net, architecture, stage.outputs / "pretrained_global", stage="global")
    write_json(stage.outputs / "pretrain_global_history.json", result.history)


if __name__ == "__main__":
    run_stage(main, Params, needs_torch=True)
