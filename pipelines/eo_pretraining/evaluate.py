"""Stage `evaluate`: probes at several shares of labels, the heads on test places, and a map of a whole scene."""

from __future__ import annotations

from core.stage import Stage, run_stage
from earth_observation.settings import Params


def main(params: Params, stage: Stage) -> None:
    """Score the model and map a scene; write metrics.json, figures and GeoTIFFs."""
    from core.files import atomic_directory, read_json
    from core.tracking.result import write_result
    from earth_observation.data.items import load_items
    from earth_observation.data.store import ChipStore
    from earth_observation.model import load_model
    from earth_observation.prepared import mapped_scene, untrained
    from earth_observation.report import evaluate

    out, settings = stage.outputs, params.evaluate
    store, validation = ChipStore(out / "prepared"), read_json(out / "validation.json")
    model = load_model(out / "model")
    demo = validation["source"] == "demo"
    histories = {
        "pretraining": read_json(out / "pretrain_history.json"),
        **read_json(out / "adapt_history.json"),
    }
    with atomic_directory(out / "evaluation") as folder:
        found = evaluate(
            store,
            params.model.product,
            model,
            load_model(out / "pretrained").encoder,
            untrained(model, params.seed),
            folder,
            shares=settings.shares,
            labelled=params.adapt.labelled,
            regularisation=params.adapt.regularisation,
            finetuned=params.adapt.finetune_steps > 0,
            neighbours=settings.neighbours,
            histories=histories,
            bootstrap=settings.bootstrap,
            seed=settings.sample_seed,
            label_seed=params.seed,
            demo=demo,
        )
        if model.decoder is not None:
            items, layout = load_items(out / "data" / "items.json")
            found["figures"] += mapped_scene(
                out / "model",
                items,
                layout,
                params.model.product,
                folder,
                scale=params.data.scale.get(params.model.product, "auto"),
                **params.scene.model_dump(),
            )
    result = {
        "pipeline": stage.pipeline,
        "title": "Earth observation (SoftCon)",
        "source": validation["source"],
        "demo": demo,
        "data_digest": validation["data_digest"],
        **found,
    }
    write_result(out / "metrics.json", result)


if __name__ == "__main__":
    run_stage(main, Params, needs_torch=True)
