"""Stage `adapt`: fine-tuning on text to code, and the weights of hybrid search, both by validation."""

from __future__ import annotations

from code_search.settings import Params
from core.stage import Stage, run_stage


def main(params: Params, stage: Stage) -> None:
    """Fine-tune the pre-trained encoder, then choose how hybrid search weighs its scores."""
    from code_search.evaluate import Vectors, fit_ranker
    from code_search.learn.train import adapt
    from code_search.model import load_encoder
    from code_search.prepared import load_prepared
    from code_search.tables import load_split
    from code_search.translate import Translation
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
    encoder.ranker, mrr = fit_ranker(
        valid,
        Vectors(encoder),
        translation=Translation.load(stage.outputs / "prepared" / "translation.safetensors"),
        n=params.adapt.fusion_queries,
    )
    encoder.save(stage.outputs / "model")
    weights = {"words": encoder.ranker.words, "all": encoder.ranker.all}
    write_json(stage.outputs / "fusion.json", {"weights": weights, "mrr": mrr})
    write_json(stage.outputs / "adapt_history.json", result.history)


if __name__ == "__main__":
    run_stage(main, Params, needs_torch=True)
