"""Stage `register`: the network fine-tuned with the most labels becomes a registered model.

Everything that this pipeline writes to MLflow is written here; see the same stage of the other pipelines for
why `registered.json` is marked `persist` in dvc.yaml.
"""

from __future__ import annotations

from core.stage import Stage, run_stage
from medical.mri.settings import Params

REQUIREMENTS = [
    "filelock",
    "nibabel",
    "numpy",
    "pandas",
    "pydantic",
    "pyyaml",
    "safetensors",
    "scipy",
    "torch",
]
LIMITS = [
    "Segments what the training masks showed, in volumes of the same kind: sequence, plane, orientation and region "
    "of the body; other volumes get a mask too, and nothing warns of it.",
    "Each slice is segmented by itself: structures may break off from one slice to the next.",
    "Not a medical device: not tested for diagnosis or treatment.",
]


def main(params: Params, stage: Stage) -> None:
    """Log the run and register the network with its preprocessing."""
    from core.files import read_json
    from core.tracking import read_result, register, start_run
    from medical.mri import serve
    from medical.mri.runs import RUNS, read_runs, served_run

    out = stage.outputs
    result = read_result(out / "metrics.json")
    runs = read_runs(out / "finetuned" / RUNS)
    chosen = served_run(runs)
    values = params.model_dump()
    with start_run(stage.pipeline, "train", values, data_digest=result.data_digest) as run:
        for name in ("global", "local"):
            run.log_history(read_json(out / f"pretrain_{name}_history.json"), prefix=f"{name}/")
        run.log_history([dict(record) for record in chosen.history], prefix="finetune/")
        run.log_figures(out / figure.file for figure in result.figures)
    extra = ["SimpleITK"] if params.data.bias_correction else []
    register(
        stage.pipeline,
        model_code=serve.__file__,
        artifacts={"network": out / "finetuned" / chosen.name},
        weights=out / "finetuned" / chosen.name / "model.safetensors",
        packages=["core", "medical.mri"],
        requirements=[*REQUIREMENTS, *extra],
        signature=serve.signature(),
        input_example=serve.input_example(),
        result=result,
        params=values,
        limits=LIMITS,
        max_request_mib=serve.MOST_MIB,
        validation=out / "validation.json",
        output=out / "registered.json",
    )


if __name__ == "__main__":
    run_stage(main, Params)
