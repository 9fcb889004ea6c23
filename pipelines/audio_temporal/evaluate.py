"""Stage `evaluate`: ZSTE 1 to 5, order accuracy, retrieval and word-order tests, before and after."""

from __future__ import annotations

from audio_language.settings import Params
from core.stage import Stage, run_stage


def main(params: Params, stage: Stage) -> None:
    """Score the base and the post-trained model on pairs of classes that training never joined."""
    from audio_language.data.clip import labels_of
    from audio_language.data.store import open_store
    from audio_language.model.folder import load_model
    from audio_language.report import report
    from audio_language.tasks import draw_items
    from core.files import atomic_directory, read_json
    from core.tracking.result import write_result

    out, settings = stage.outputs, params.evaluate
    store, validation = open_store(out / "prepared"), read_json(out / "validation.json")
    allowed = read_json(out / "pairs.json")["class_pairs"]
    items = draw_items(
        store,
        labels_of(store.clips) if allowed is not None else [],
        pairs=settings.pairs,
        class_pairs=None if allowed is None else [(first, second) for first, second in allowed["test"]],
        seed=settings.seed,
    )
    demo = validation["source"] == "demo"
    with atomic_directory(out / "evaluation") as folder:
        found = report(
            load_model(out / "pretrained"),
            load_model(out / "model"),
            items,
            folder,
            histories={
                "base": read_json(out / "pretrain_history.json"),
                **read_json(out / "adapt_history.json"),
            },
            seed=settings.seed,
            bootstrap=settings.bootstrap,
            demo=demo,
        )
    result = {
        "pipeline": stage.pipeline,
        "title": "Temporal audio-language (TeminAL)",
        "source": validation["source"],
        "demo": demo,
        "data_digest": validation["data_digest"],
        **found,
    }
    write_result(out / "metrics.json", result)


if __name__ == "__main__":
    run_stage(main, Params)
