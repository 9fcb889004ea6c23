"""Stage `adapt`: TeminAL. Stage A, one sound or two; stage B, which came first."""

from __future__ import annotations

from audio_language.settings import Params
from core.stage import Stage, run_stage


def main(params: Params, stage: Stage) -> None:
    """Give the base its temporal head and post-train it on composed clips."""
    from audio_language.adapt import adapt, plan_pairs
    from audio_language.data.store import open_store
    from audio_language.model.folder import load_model
    from audio_language.prepared import with_head
    from core.data.digest import digest_of
    from core.files import write_json

    store, base = open_store(stage.outputs / "prepared"), load_model(stage.outputs / "pretrained")
    head = None if params.model.head is None else params.model.head.model_dump()
    model = with_head(base, head, params.seed)
    plan = plan_pairs(store, params.adapt.pairs, fractions=params.adapt.fractions, seed=params.seed)
    histories = adapt(
        model,
        store,
        plan.train,
        steps={"single": params.adapt.steps_single, "order": params.adapt.steps_order},
        loss=params.adapt.loss,
        rehearsal=params.adapt.rehearsal,
        **params.adapt.training,
        **params.trainer.model_dump(),
        seed=params.seed,
        threads=params.threads,
        checkpoint_dir=stage.checkpoints,
        fingerprint=digest_of(params.adapt, base.digest),
    )
    model.save(stage.outputs / "model")
    write_json(stage.outputs / "adapt_history.json", histories)
    write_json(stage.outputs / "pairs.json", {"class_pairs": plan.class_pairs, "train": plan.train})


if __name__ == "__main__":
    run_stage(main, Params, needs_torch=True)
