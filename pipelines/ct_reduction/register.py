"""Stage `register`: the pretrained encoder and the index of the kept slices become a registered model.

Everything that this pipeline writes to MLflow is written here; `registered.json` is marked `persist` in
dvc.yaml, so that this stage runs whenever an input differs from the last run.
"""

from __future__ import annotations

from core.stage import Stage, run_stage
from medical.ct.settings import Params

REQUIREMENTS = [
    "faiss-cpu",
    "monai",
    "numpy",
    "pandas",
    "pillow",
    "pydantic",
    "pyyaml",
    "safetensors",
    "torch",
]
LIMITS = [
    "Judges near-duplicates by a hash of 64 bits of the whole slice: a small lesion may be the only difference "
    "between two slices that it calls duplicates. See the share of labelled slices that were removed.",
    "Hashes depend on the window and on the orientation; slices must be Hounsfield units, columns to the "
    "patient's left, rows to the back.",
    "The encoder was pretrained without labels and is no diagnostic device.",
]


def main(params: Params, stage: Stage) -> None:
    """Log the run and register the encoder with the index."""
    from core.files import read_json
    from core.tracking import read_result, register, start_run
    from medical.ct import serve

    out = stage.outputs
    result = read_result(out / "metrics.json")
    values = params.model_dump()
    encoder = out / f"pretrained_{params.registry.encoder}"
    with start_run(stage.pipeline, "train", values, data_digest=result.data_digest) as run:
        for name in ("full", "reduced"):
            run.log_history(read_json(out / f"pretrain_{name}.json")["history"], prefix=f"{name}/")
        run.log_figures(out / figure.file for figure in result.figures)
    register(
        stage.pipeline,
        model_code=serve.__file__,
        artifacts={"encoder": encoder, "index": out / "selection" / "index"},
        weights=encoder / "model.safetensors",
        packages=["core", "medical.ct"],
        requirements=REQUIREMENTS,
        signature=serve.signature(),
        input_example=serve.input_example(),
        result=result,
        params=values,
        limits=LIMITS,
        max_request_mib=64.0,
        validation=out / "validation.json",
        output=out / "registered.json",
    )


if __name__ == "__main__":
    run_stage(main, Params)
