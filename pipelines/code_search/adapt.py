"""Stage `adapt`: fine-tuning on text to code, and the weight of the dense part, both by validation."""

from __future__ import annotations

from code_search.settings import Params
from core.stage import Stage, run_stage


def main(params: Params, stage: Stage) -> None:
    """Fine-tune the pre-trained encoder, then choose how hybrid search weighs its scores."""
    from code_search.evaluate import Vectors, fusion_weight
    from code_search.learn.train import adapt
    from code_search.model import load_encoder
    from code_search.prepared import load_prepared
    from code_search.tables import load_split
    from core.data.digest import digest_of
    from core.files import write_json

    prepared = load_prepared(stage.outputs / "prepared")
    valid = load_split(stage.outputs / "corpus", "valid")
    encoder = load_encoder(stage.outputs / "pretrained", precision=params.trainer.encoding)
    settings = params.adapt.model_dump(exclude={"fusion_queries"})
    result = adapt(
        encoder,
        prepared.pairs,
        valid,
        **settings,
        **params.trainer.model_dump(),
        seed=params.seed,
        threads=params.threads,
        checkpoint_dir=stage.checkpoints,
        fingerprint=digest_of(settings, encoder.digest),
    )
    encoder.dense_weight, curve = fusion_weight(valid, Vectors(encoder), params.adapt.fusion_queries)
    encoder.save(stage.outputs / "model")
    fusion = {"dense_weight": encoder.dense_weight, "mrr": {str(w): mrr for w, mrr in curve.items()}}
    write_json(stage.outputs / "fusion.json", fusion)
    write_json(stage.outputs / "adapt_history.json", result.history)


if __name__ == "__main__":
    run_stage(main, Params, needs_torch=True)
