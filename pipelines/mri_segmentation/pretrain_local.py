"""Stage `pretrain_local`: the first decoder blocks, by a local loss; the encoder keeps every bit."""

from __future__ import annotations

from core.stage import Stage, run_stage
from medical.mri.settings import Params


def main(params: Params, stage: Stage) -> None:
    """Train the decoder on top of the frozen encoder; a killed run goes on from its last checkpoint."""
    from core.data.digest import digest_of
    from core.files import write_json
    from medical.mri.learn.train import pretrain_local
    from medical.mri.model import load_model, save_model
    from medical.mri.prepared import load_prepared

    prepared = load_prepared(stage.outputs / "prepared")
    net, architecture, config = load_model(
        stage.outputs / "pretrained_global", size=prepared.size, classes=prepared.classes, stages=["global"]
    )
    settings = params.pretrain_local.model_dump() | params.pretrain.model_dump()
    result = pretrain_local(
        net,
        architecture,
        prepared,
        prepared.volumes("train"),
        **settings,
        **params.trainer.model_dump(),
        seed=params.seed,
        threads=params.threads,
        checkpoint_dir=stage.checkpoints,
        fingerprint=digest_of(settings, prepared.digest, config["weights_sha256"]),
    )
    save_model(net, architecture, stage.outputs / "pretrained", stage="local")
    write_json(stage.outputs / "pretrain_local_history.json", result.history)


if __name__ == "__main__":
    run_stage(main, Params, needs_torch=True)
