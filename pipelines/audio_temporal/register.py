"""Stage `register`: the post-trained model becomes a registered one.

Everything that this pipeline writes to MLflow is written here; `registered.json` is marked `persist` in
dvc.yaml, so that DVC never takes it from its run cache instead of running this stage.
"""

from __future__ import annotations

from audio_language.settings import Params
from core.stage import Stage, run_stage

REQUIREMENTS = [
    "numpy",
    "pandas",
    "pydantic",
    "pyyaml",
    "safetensors",
    "soundfile",
    "tokenizers",
    "torch",
    "torchaudio",
    "transformers",
]
LIMITS = [
    "Trained on the data named above; on generated data it knows synthetic sounds and nothing else.",
    "A caption is about one or two sounds; longer stories were not trained or tested.",
    "Order is heard within one window of the model; across windows use the timeline.",
    "Tags are a choice among the labels given: a sound that is none of them still gets one.",
]


def main(params: Params, stage: Stage) -> None:
    """Log the run and register the model."""
    from audio_language import serve
    from core.files import read_json
    from core.tracking import read_result, register, start_run

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
        packages=["core", "audio_language"],
        requirements=REQUIREMENTS,
        signature=serve.signature(),
        input_example=serve.input_example(),
        result=result,
        params=values,
        limits=LIMITS,
        max_request_mib=serve.REQUEST_MIB,
        validation=out / "validation.json",
        output=out / "registered.json",
    )


if __name__ == "__main__":
    run_stage(main, Params)
