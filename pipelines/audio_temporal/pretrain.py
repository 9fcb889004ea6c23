"""Stage `pretrain`: CLAP on single clips and their captions, or local weights as they are."""

from __future__ import annotations

from audio_language.settings import Params
from core.stage import Stage, run_stage


def main(params: Params, stage: Stage) -> None:
    """Train the base; a killed run goes on from its last checkpoint."""
    from audio_language.data.store import open_store
    from audio_language.learn import train_base
    from audio_language.prepared import starting_model
    from core.data.digest import digest_of
    from core.files import read_json, write_json

    store = open_store(stage.outputs / "prepared")
    model = starting_model(store.clips, base=params.model.base, seed=params.seed, **params.model.architecture)
    history = []
    if params.pretrain.steps:
        validation = read_json(stage.outputs / "validation.json")
        history = train_base(
            model.net,
            store,
            model.tokenizer,
            model.front,
            **params.pretrain.model_dump(),
            **params.trainer.model_dump(),
            seed=params.seed,
            threads=params.threads,
            checkpoint_dir=stage.checkpoints,
            fingerprint=digest_of(params.pretrain, params.model, validation["data_digest"]),
        ).history
    model.save(stage.outputs / "pretrained")
    write_json(stage.outputs / "pretrain_history.json", history)


if __name__ == "__main__":
    run_stage(main, Params, needs_torch=True)
