"""Stage `pretrain`: CoCoSoDa on the training pairs."""

from __future__ import annotations

from code_search.settings import Params
from core.stage import Stage, run_stage


def main(params: Params, stage: Stage) -> None:
    """Train the encoder by momentum contrast; a killed run goes on from its last checkpoint."""
    from code_search.learn.train import pretrain
    from code_search.prepared import load_prepared, starting_encoder
    from code_search.tables import load_split
    from core.data.digest import digest_of
    from core.files import read_json, write_json

    prepared = load_prepared(stage.outputs / "prepared")
    encoder = starting_encoder(
        prepared, seed=params.seed, precision=params.trainer.encoding, **params.model.architecture
    )
    facts = read_json(stage.outputs / "prepared" / "prepared.json")
    result = pretrain(
        encoder,
        prepared.pairs,
        load_split(stage.outputs / "corpus", "valid"),
        **params.pretrain.model_dump(),
        **params.trainer.model_dump(),
        seed=params.seed,
        threads=params.threads,
        checkpoint_dir=stage.checkpoints,
        fingerprint=digest_of(params.pretrain, params.model, facts["pairs_sha256"]),
    )
    encoder.save(stage.outputs / "pretrained")
    write_json(stage.outputs / "pretrain_history.json", result.history)


if __name__ == "__main__":
    run_stage(main, Params, needs_torch=True)
