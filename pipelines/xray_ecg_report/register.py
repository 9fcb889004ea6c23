"""Stage `register`: the space with an index of known cases becomes a registered model.

Everything that this pipeline writes to MLflow is written here; see the same stage of the other pipelines for
why `registered.json` is marked `persist` in dvc.yaml.
"""

from __future__ import annotations

from core.stage import Stage, run_stage
from medical.alignment.settings import Params

REQUIREMENTS = [
    "filelock",
    "numpy",
    "pandas",
    "pillow",
    "pydantic",
    "pydicom",
    "pyyaml",
    "safetensors",
    "scipy",
    "tokenizers",
    "torch",
    "transformers",
]
LIMITS = [
    "Answers for whatever it is sent: it cannot tell a film of the chest from another picture.",
    "Zero-shot findings were measured against labels that reports were mined for; reports may leak them.",
    "Nearest cases are named by id only; who may see them is for the server's owner to decide.",
    "Not a medical device: not tested for diagnosis or treatment.",
]


def main(params: Params, stage: Stage) -> None:
    """Log the run, index the training cases, and register both."""
    import tempfile
    from pathlib import Path

    from core.files import read_json
    from core.tracking import read_result, register, start_run
    from medical.alignment import serve
    from medical.alignment.cases import save_cases
    from medical.alignment.model.folder import load_space
    from medical.alignment.prepared import load_prepared

    out = stage.outputs
    result = read_result(out / "metrics.json")
    values = params.model_dump()
    with start_run(stage.pipeline, "train", values, data_digest=result.data_digest) as run:
        run.log_history(read_json(out / "pretrain_history.json"), prefix="pretrain/")
        run.log_figures(out / figure.file for figure in result.figures)
    space = load_space(out / "model")
    with tempfile.TemporaryDirectory(prefix="kindred-cases-") as scratch:
        cases = save_cases(space, load_prepared(out / "prepared"), Path(scratch) / "cases", split="train")
        register(
            stage.pipeline,
            model_code=serve.__file__,
            artifacts={"model": out / "model", "cases": cases},
            weights=out / "model" / "model.safetensors",
            packages=["core", "medical.ecg", "medical.alignment"],
            requirements=REQUIREMENTS,
            signature=serve.signature(),
            input_example=serve.input_example(space),
            result=result,
            params=values,
            limits=LIMITS,
            max_request_mib=serve.REQUEST_MIB,
            validation=out / "validation.json",
            output=out / "registered.json",
        )


if __name__ == "__main__":
    run_stage(main, Params)
