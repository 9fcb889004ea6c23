"""Stage `register`: the fused model becomes a registered model, with everything it needs to explain itself.

Everything that this pipeline writes to MLflow is written here. `registered.json` is marked `persist` in dvc.yaml,
which keeps this stage out of DVC's run cache. Registering the same content with the same result again makes no
new version.
"""

from __future__ import annotations

from core.stage import Stage, run_stage
from medical.ecg.settings import Params

REQUIREMENTS = ["filelock", "numpy", "pandas", "pydantic", "pyyaml", "safetensors", "scipy", "torch"]
LIMITS = [
    "Not a medical device: for research, and for people who read ECGs themselves.",
    "Answers for the labels that it was trained with; all other findings go unseen.",
    "A highlighted window is where the evidence is centred; the network sees more of the signal than that.",
    "Prototypes are training recordings: whoever gets the model gets their ids, not their signals.",
    "Trained at one sampling rate; other rates are resampled, and the answer says so.",
]


def main(params: Params, stage: Stage) -> None:
    """Log the run and register the model."""
    from core.files import read_json
    from core.tracking import read_result, register, start_run
    from medical.ecg import serve

    out = stage.outputs
    result = read_result(out / "metrics.json")
    values = params.model_dump()
    demo = ["Trained on generated recordings: it knows nothing about patients."] if result.demo else []
    with start_run(stage.pipeline, "train", values, data_digest=result.data_digest) as run:
        for name, history in read_json(out / "branches" / "history.json").items():
            run.log_history(history, prefix=f"joint_{name}/")
        run.log_figures(out / figure.file for figure in result.figures)
        run.log_file(out / "evaluation" / "labels.csv")
        run.log_file(out / "evaluation" / "prototypes.json")
    register(
        stage.pipeline,
        model_code=serve.__file__,
        artifacts={"network": out / "model"},
        weights=out / "model" / "model.safetensors",
        packages=["core", "medical.ecg"],
        requirements=REQUIREMENTS,
        signature=serve.signature(),
        input_example=serve.input_example(),
        result=result,
        params=values,
        limits=[*demo, *LIMITS],
        validation=out / "validation.json",
        output=out / "registered.json",
    )


if __name__ == "__main__":
    run_stage(main, Params)
