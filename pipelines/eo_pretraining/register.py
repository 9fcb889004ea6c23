"""Stage `register`: the model with its heads becomes a registered one.

Everything that this pipeline writes to MLflow is written here; `registered.json` is marked `persist` in
dvc.yaml, so that DVC never takes it from its run cache instead of running this stage.
"""

from __future__ import annotations

from core.stage import Stage, run_stage
from earth_observation.settings import Params

REQUIREMENTS = ["monai", "numpy", "pandas", "pydantic", "pyyaml", "safetensors", "torch"]
LIMITS = [
    "Trained on the data named above; on generated data it knows generated landscapes and nothing else.",
    "Numbers must be in the unit stated with the request: the offset of Sentinel-2's baseline 04.00 and linear radar "
    "backscatter are converted only where the request says so.",
    "A patch without B10 (L2A) is answered by a model of 13 bands with 0 in its place and a note; it then lies outside "
    "of the training data, and accuracy may drop.",
    "Clouds are not recognised: a cloudy pixel gets a land-cover class like any other.",
    "Another resolution than that of the training data was not tested.",
    "Classes are those of the table in the model; ground that is none of them still gets one.",
]


def main(params: Params, stage: Stage) -> None:
    """Log the run and register the model."""
    from core.files import read_json
    from core.tracking import read_result, register, start_run
    from earth_observation import serve
    from earth_observation.model import load_model

    out = stage.outputs
    result = read_result(out / "metrics.json")
    values = params.model_dump()
    with start_run(stage.pipeline, "train", values, data_digest=result.data_digest) as run:
        run.log_history(read_json(out / "pretrain_history.json"), prefix="pretrain/")
        for name, history in read_json(out / "adapt_history.json").items():
            run.log_history(history, prefix=f"{name}/")
        run.log_figures(out / figure.file for figure in result.figures)
    register(
        stage.pipeline,
        model_code=serve.__file__,
        artifacts={"model": out / "model"},
        weights=out / "model" / "model.safetensors",
        packages=["core", "earth_observation"],
        requirements=REQUIREMENTS,
        signature=serve.signature(),
        input_example=serve.input_example(load_model(out / "model")),
        result=result,
        params=values,
        limits=LIMITS,
        max_request_mib=serve.REQUEST_MIB,
        validation=out / "validation.json",
        output=out / "registered.json",
    )


if __name__ == "__main__":
    run_stage(main, Params)
